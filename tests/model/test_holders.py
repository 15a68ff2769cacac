"""Who held which lock at one moment."""

from __future__ import annotations

from shootdown.model.holders import Holders, Moment, wanted
from shootdown.trace.text import parse

MM = 0xFFFF888000AA0000
TABLE = 0x13000
VMA = 0xFFFF888000660000
NAMES = """\
0 PROBE id=TASK_SWITCH a=0x100 b=10 c=10 d=0x1 flags=MORE
0 PROBE_MORE id=TASK_SWITCH a=0x61
1 PROBE id=TASK_SWITCH a=0x200 b=20 c=20 d=0x1 flags=MORE
1 PROBE_MORE id=TASK_SWITCH a=0x62
"""


def lock(cpu: int, old: int, new: int) -> str:
    return f"{cpu} WATCH id=MMAP_LOCK a=0xaa00a8 b={old:#x} c={new:#x} d={MM:#x} flags=ATOMIC\n"


def at(text: str, seq: int = 1000) -> list[tuple[str, str, str, int, int]]:
    events = parse(NAMES + f"0 WATCH_INIT id=MMAP_LOCK a=0xaa00a8 d={MM:#x}\n" + text)
    moment = Moment(seq, MM, TABLE, 0x400000)
    found = Holders(events[wanted(events, [moment])]).at(moment)
    return [(one.lock, one.how, one.task, one.cpu, one.since) for one in found]


def test_a_writer() -> None:
    text = lock(1, 0, 1) + lock(1, 1, 0)
    assert at(text, 6) == [("mmap_lock", "write", "b/20", 1, 6)]
    assert at(text, 5) == []
    assert at(text) == []


def test_a_downgraded_writer_reads() -> None:
    assert at(lock(0, 0, 1) + lock(0, 1, 0x100)) == [("mmap_lock", "read", "a/10", 0, 7)]


def test_readers_leave_one_by_one() -> None:
    both = lock(0, 0, 0x100) + lock(1, 0x100, 0x200)
    assert [one[2] for one in at(both)] == ["a/10", "b/20"]
    assert [one[2] for one in at(both + lock(0, 0x200, 0x100))] == ["b/20"]


def test_the_name_that_a_thread_gave_itself() -> None:
    text = "1 MARK id=THREAD a=0x7a\n" + lock(1, 0, 1)
    assert at(text)[0][2] == "z/20"


def test_another_mm_does_not_count() -> None:
    assert at(lock(0, 0, 1).replace("aa0000", "bb0000")) == []


def test_a_page_table_lock() -> None:
    taken = f"1 WATCH id=PTL a=0x9028 b=0 c=1 d={TABLE:#x} size=1 flags=ATOMIC\n"
    given = f"1 WATCH id=PTL a=0x9028 b=1 c=0 d={TABLE:#x} size=1\n"
    assert at(taken + given, 6) == [("page-table lock", "held", "b/20", 1, 6)]
    assert at(taken + given, 7) == []


def test_the_lock_of_the_vma() -> None:
    text = f"""\
0 EXIT id=vm_area_alloc a=0x9000 b={VMA:#x}
0 WATCH_INIT id=VMA_START a=0x660000 c=0x400000 d={VMA:#x}
0 WATCH_INIT id=VMA_END a=0x660008 c=0x408000 d={VMA:#x}
0 WATCH_INIT id=VMA_MM a=0x660010 c={MM:#x} d={VMA:#x}
0 WATCH_INIT id=VMA_REFCNT a=0x660080 c=1 d={VMA:#x} size=4
0 WATCH_INIT id=VMA_LOCK_SEQ a=0x660044 c=0xffffffff d={VMA:#x} size=4
1 WATCH id=VMA_REFCNT a=0x660080 b=1 c=2 d={VMA:#x} size=4 flags=ATOMIC
0 WATCH id=VMA_LOCK_SEQ a=0x660044 b=0xffffffff c=5 d={VMA:#x} size=4
0 WATCH id=MM_LOCK_SEQ a=0xaa00e0 b=5 c=6 d={MM:#x} size=4
"""
    assert at(text, 13) == [
        ("VMA lock", "write", "a/10", 0, 13),
        ("VMA lock", "read", "b/20", 1, 12),
    ]
    assert at(text, 14) == [("VMA lock", "read", "b/20", 1, 12)]
