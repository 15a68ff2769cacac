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


def test_before_a_task_is_known_its_cpu_is_named() -> None:
    assert at("3 WATCH" + lock(0, 0, 1)[7:])[0][2] == "CPU 3"


def test_a_task_has_the_name_it_was_called_last() -> None:
    renamed = "1 PROBE id=TASK_SWITCH a=0x200 b=20 flags=MORE\n1 PROBE_MORE id=TASK_SWITCH a=0x63\n"
    assert at(renamed + lock(1, 0, 1))[0][2] == "c/20"
    # What it called itself is not what the kernel calls it.
    assert at("1 MARK id=THREAD a=0x7a\n" + renamed + lock(1, 0, 1))[0][2] == "z/20"


def test_what_one_thread_called_itself_is_not_the_next_ones_name() -> None:
    """The task_struct serves another task, with another number."""
    other = "1 PROBE id=TASK_SWITCH a=0x200 b=21 flags=MORE\n1 PROBE_MORE id=TASK_SWITCH a=0x63\n"
    assert at("1 MARK id=THREAD a=0x7a\n" + other + lock(1, 0, 1))[0][2] == "c/21"


def test_what_nobody_runs_has_no_name() -> None:
    assert at("3 MARK id=THREAD a=0x7a\n" + lock(1, 0, 1))[0][2] == "b/20"


QUEUED = lock(0, 0, 1) + lock(1, 1, 0x101) + lock(1, 0x101, 3)
"""A writer, and a reader that queues behind it."""


def test_readers_that_were_woken_up_have_no_name() -> None:
    woken = QUEUED + lock(0, 3, 2) + lock(0, 2, 0x200)
    slept = ("mmap_lock", "read", "a task that was woken up with it", 0, 10)
    assert at(woken) == [slept, slept]
    # One of them leaves: whoever it is, it was not known by name.
    assert at(woken + lock(1, 0x200, 0x100)) == [slept]
    assert at(woken + lock(1, 0x200, 0x100) + lock(1, 0x100, 0)) == []


def test_a_reader_leaves_for_itself_rather_than_for_a_sleeper() -> None:
    text = QUEUED + lock(0, 3, 2) + lock(0, 2, 0x100) + lock(1, 0x100, 0x200)
    assert [one[2][0] for one in at(text + lock(1, 0x200, 0x100))] == ["a"]
    assert [one[3] for one in at(text + lock(1, 0x200, 0x100))] == [0]


def test_a_reader_leaves_for_a_sleeper_rather_than_for_another() -> None:
    text = lock(0, 0, 0x100) + lock(0, 0x100, 0x102) + lock(2, 0x102, 0x200)
    assert [one[2] for one in at(text + lock(1, 0x200, 0x100))] == ["a/10"]


def test_somebody_else_may_give_a_readers_lock_back() -> None:
    assert at(lock(0, 0, 0x100) + lock(1, 0x100, 0)) == []


def test_a_writer_comes_when_all_readers_have_gone() -> None:
    """A reader whose release another vCPU has not recorded yet is gone all the same."""
    text = lock(0, 0, 0x100) + lock(0, 0x100, 0x200) + lock(0, 0x200, 0x100) + lock(0, 0x100, 0)
    assert at(text + lock(1, 0, 1)) == [("mmap_lock", "write", "b/20", 1, 10)]


def test_two_page_table_locks() -> None:
    text = f"0 WATCH id=PTL a=0x9028 b=0 c=1 d={TABLE:#x} size=1\n"
    text += f"0 WATCH id=MM_PAGE_TABLE_LOCK a=0xaa0010 b=0 c=1 d={MM:#x} size=1\n"
    text += "1 WATCH id=PTL a=0x9068 b=0 c=1 d=0x14000 size=1\n"
    assert at(text) == [
        ("page-table lock", "held", "a/10", 0, 6),
        ("page_table_lock", "held", "a/10", 0, 7),
    ]
    gone = f"0 TABLE_UNLINK b={TABLE:#x} level=1\n"
    assert [one[0] for one in at(text + gone)] == ["page_table_lock"]


def vma(**words: int) -> str:
    """A VMA that is locked to write, with words that differ from what they should be."""
    start, end, mm = (
        words.get(name, value)
        for name, value in (("start", 0x400000), ("end", 0x401000), ("mm", MM))
    )
    return f"""\
0 EXIT id=vm_area_alloc a=0x9000 b={VMA:#x}
0 WATCH_INIT id=VMA_START a=0x660000 c={start:#x} d={VMA:#x}
0 WATCH_INIT id=VMA_END a=0x660008 c={end:#x} d={VMA:#x}
0 WATCH_INIT id=VMA_MM a=0x660010 c={mm:#x} d={VMA:#x}
0 WATCH_INIT id=VMA_REFCNT a=0x660080 c={words.get("count", 1)} d={VMA:#x} size=4
0 WATCH id=VMA_LOCK_SEQ a=0x660044 b=0xffffffff c=5 d={VMA:#x} size=4
"""


def test_which_vma_it_is() -> None:
    assert [one[0] for one in at(vma())] == ["VMA lock"]
    assert [one[0] for one in at(vma(start=0x3FF000))] == ["VMA lock"]
    assert at(vma(start=0x401000, end=0x402000)) == []
    assert at(vma(start=0x3FF000, end=0x400000)) == []
    assert at(vma(mm=MM + 0x1000)) == []
    assert at(vma(count=0)) == []
    dead = f"0 ENTER id=vm_area_free a=0x9000 b={VMA:#x}\n"
    assert at(vma() + dead) == []
    assert at(vma() + dead + dead.replace("vm_area_free", "vm_area_free_rcu_cb")) == []
    assert at(vma(), 5) == []


def test_the_vma_is_as_it_was_at_the_moment() -> None:
    grown = f"0 WATCH id=VMA_START a=0x660000 b=0x401000 c=0x400000 d={VMA:#x}\n"
    text = vma(start=0x401000, end=0x402000)
    assert at(text + grown, 11) == []
    assert [one[0] for one in at(text + grown, 12)] == ["VMA lock"]


def test_readers_of_a_vma() -> None:
    count = f"1 WATCH id=VMA_REFCNT a=0x660080 b={{}} c={{}} d={VMA:#x} size=4\n"
    text = vma().replace("0 WATCH id=VMA_LOCK_SEQ", "0 WATCH_INIT id=VMA_LOCK_SEQ")
    assert at(text + count.format(1, 2)) == [("VMA lock", "read", "b/20", 1, 12)]
    assert at(text + count.format(1, 2) + count.format(2, 1)) == []


def test_a_semaphore_of_a_vma() -> None:
    count = f"1 WATCH id=VMA_LOCK a=0x660090 b={{}} c={{}} d={VMA:#x} flags=ATOMIC\n"
    text = vma().replace("0 WATCH id=VMA_LOCK_SEQ", "0 WATCH_INIT id=VMA_LOCK_SEQ")
    assert at(text + count.format(0, 0x100)) == [("VMA lock", "read", "b/20", 1, 12)]
    assert at(text + count.format(0, 0x100) + count.format(0x100, 0)) == []


def test_what_is_wanted() -> None:
    """The words of the moments' mms and tables, all VMAs, and what names tasks; nothing later."""
    lines = f"""\
0 WATCH id=MMAP_LOCK d={MM:#x}
0 WATCH_INIT id=MM_LOCK_SEQ d={MM:#x}
0 WATCH id=MM_PAGE_TABLE_LOCK d={MM:#x}
0 WATCH id=MMAP_LOCK d=0x1
0 WATCH id=PTL d={TABLE:#x}
0 WATCH id=PTL d=0x1
0 WATCH id=VMA_START d=0x1
0 WATCH id=VMA_REFCNT d=0x1
0 WATCH id=MM_PGD d={MM:#x}
0 PROBE id=TASK_SWITCH
0 PROBE_MORE id=TASK_SWITCH
0 PROBE id=SYSCALL
0 MARK id=THREAD
0 MARK id=BEGIN
0 ENTER id=vm_area_free
0 EXIT id=vm_area_dup
0 ENTER id=do_mmap
0 TABLE_UNLINK b={TABLE:#x}
0 ROOT_FORGET b={TABLE:#x}
0 TABLE_UNLINK b=0x1
0 PTE_WRITE d={MM:#x}
0 WATCH id=MMAP_LOCK d={MM:#x}
"""
    events = parse(lines)
    moments = [Moment(5, 0x2, TABLE, 0), Moment(21, MM, 0x2, 0)]
    found = events["seq"][wanted(events, moments)].tolist()
    assert found == [1, 2, 3, 5, 7, 8, 10, 11, 13, 15, 16, 18, 19]
