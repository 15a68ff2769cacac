"""Who waits for whom at an mmap_lock (kernel/locking/rwsem.c)."""

from __future__ import annotations

from shootdown.arch import get
from shootdown.model.waits import Wait, locks_of, table, waits
from shootdown.trace.text import parse

NUMBERS = get("x86_64").kernel.syscalls
MM, OTHER_MM = 0xFFFF888000AA0000, 0xFFFF888000BB0000
LOCK, OTHER_LOCK = 0xAA00A8, 0xBB00A8
SEM, OTHER_SEM = 0xFFFF888000AA00A8, 0xFFFF888000BB00A8
"""VAs: the linear map begins at 0xffff888000000000, and RAM at 0x1000."""

HEAD = f"""
0 ARMED a=0xffff888000001000 b=0x1000
0 WATCH_INIT id=MMAP_LOCK a={LOCK:#x} c=0 d={MM:#x}
0 WATCH_INIT id=MMAP_LOCK a={OTHER_LOCK:#x} c=0 d={OTHER_MM:#x}
0 WATCH id=MMAP_LOCK a={LOCK:#x} b=0 c=0x100 d={MM:#x} pc=0x10
0 WATCH id=MMAP_LOCK a={LOCK:#x} b=0x100 c=0 d={MM:#x} pc=0x11
0 PROBE id=TASK_SWITCH a=0x100 b=7
0 PROBE_MORE id=TASK_SWITCH a=1
1 PROBE id=TASK_SWITCH a=0x200 b=8
1 PROBE_MORE id=TASK_SWITCH a=1
2 PROBE id=TASK_SWITCH a=0x300 b=9
2 PROBE_MORE id=TASK_SWITCH a=1
"""
"""Without waiters a reader comes at pc 0x10 and goes at pc 0x11: the places are down_read()'s."""
MUNMAP = "{0} PROBE id=SYSCALL a=11 b=0x400000 c=0x2000\n{0} PROBE_MORE id=SYSCALL\n"
FAULT = "{} PROBE id=FAULT a={:#x} b=6\n"
MADVISE = "{0} PROBE id=SYSCALL a=28 b=0x500000 c=0x1000 d=8\n{0} PROBE_MORE id=SYSCALL\n"


def word(cpu: int, old: int, new: int, pc: int = 0x20) -> str:
    return f"{cpu} WATCH id=MMAP_LOCK a={LOCK:#x} b={old:#x} c={new:#x} d={MM:#x} pc={pc:#x}\n"


def slow(cpu: int, how: str, sem: int = SEM, *, end: str = "") -> str:
    """A call of a slow path; ``end``: the word's changes in it, and what else happens meanwhile."""
    name = f"id=rwsem_down_{how}_slowpath a={0x8000 + cpu * 0x1000:#x}"
    return f"{cpu} ENTER {name} b={sem:#x}\n{end}{cpu} EXIT {name} b={sem:#x}\n"


TAKES, LEAVES = word(0, 0, 1), word(0, 1, 0)


def of(text: str) -> list[Wait]:
    return waits(parse(HEAD + text), NUMBERS)


def who(found: list[Wait]) -> list[tuple[int, int | None]]:
    """Tasks: who waits, for whom."""
    return [(wait.waiter.task, wait.holder.task if wait.holder else None) for wait in found]


def test_a_reader_waits_for_a_writer() -> None:
    let_in = word(0, 3, 2) + word(0, 2, 0x102, 0x30) + word(0, 0x102, 0x100, 0x31)
    text = MUNMAP.format(0) + TAKES + FAULT.format(1, 0x401000) + word(1, 1, 0x101, 0x10)
    text += slow(1, "read", end=word(1, 0x101, 3) + let_in)
    events = parse(HEAD + text)
    (wait,) = waits(events, NUMBERS)
    enter = events[events["kind"] == parse("0 ENTER id=gup_fast")["kind"][0]][0]
    assert (wait.seq, wait.end_seq) == (enter["seq"], events["seq"][-1])
    assert (wait.icount, wait.pc) == (enter["icount"], enter["pc"])
    assert (wait.cpu, wait.mm, wait.write) == (1, MM, False)
    assert (wait.waiter.task, wait.waiter.pid, wait.waiter.name) == (0x200, 8, "fault")
    assert wait.holder is not None
    assert (wait.holder.task, wait.holder.pid, wait.holder.name) == (0x100, 7, "munmap")
    assert wait.overlap is True


def test_where_the_wait_began() -> None:
    enter = slow(1, "read").splitlines()[0]
    (wait,) = of(TAKES + enter + " icount=77 pc=0x1234\n")
    assert (wait.icount, wait.pc) == (77, 0x1234)


def test_operations_that_do_not_overlap() -> None:
    text = MUNMAP.format(0) + TAKES + FAULT.format(1, 0x402000) + slow(1, "read")
    assert [wait.overlap for wait in of(text)] == [False]


def test_whether_they_overlap_may_not_be_known() -> None:
    assert [wait.overlap for wait in of(TAKES + slow(1, "read"))] == [None]
    (wait,) = of(slow(1, "read"))
    assert (wait.holder, wait.overlap) == (None, None)


def test_a_writer_waits_for_all_readers() -> None:
    readers = word(0, 0, 0x100, 0x10) + word(1, 0x100, 0x200, 0x10)
    found = of(readers + slow(2, "write"))
    assert who(found) == [(0x300, 0x100), (0x300, 0x200)]
    assert all(wait.write for wait in found)


def test_a_reader_that_has_left_is_not_waited_for() -> None:
    readers = word(0, 0, 0x100, 0x10) + word(1, 0x100, 0x200, 0x10) + word(0, 0x200, 0x100, 0x11)
    assert who(of(readers + slow(2, "write"))) == [(0x300, 0x200)]


def test_a_writer_that_has_left_is_not_waited_for() -> None:
    assert who(of(TAKES + LEAVES + slow(2, "write"))) == [(0x300, None)]


def test_a_writer_that_downgraded_holds_the_lock_still() -> None:
    assert who(of(TAKES + word(0, 1, 0x100) + slow(2, "write"))) == [(0x300, 0x100)]


def test_who_was_let_in_holds_the_lock_until_it_leaves() -> None:
    """rwsem_mark_wake() counts readers in for them: only the end of the wait tells who it was."""
    let_in = word(0, 3, 2) + word(0, 2, 0x102, 0x30) + word(0, 0x102, 0x100, 0x31)
    waited = TAKES + word(1, 1, 0x101, 0x10) + slow(1, "read", end=word(1, 0x101, 3) + let_in)
    assert who(of(waited + slow(2, "write"))) == [(0x200, 0x100), (0x300, 0x200)]
    left = waited + word(1, 0x100, 0, 0x11)
    assert who(of(left + slow(2, "write"))) == [(0x200, 0x100), (0x300, None)]


def test_a_new_writer_is_the_only_holder() -> None:
    """Whoever was thought to hold it has left unseen: a writer gets it only from nobody."""
    text = TAKES + slow(1, "write") + LEAVES + word(2, 0, 1)
    assert who(of(text + slow(0, "write")))[1:] == [(0x100, 0x300)]


def test_who_was_killed_waiting_holds_nothing() -> None:
    killed = slow(1, "write").splitlines()[0] + "\n"
    for error in (-4, -4095):
        text = TAKES + killed + killed.replace("ENTER", "EXIT").replace(f"{SEM:#x}", str(error))
        assert who(of(text + LEAVES + slow(2, "write"))) == [(0x200, 0x100), (0x300, None)]
        assert who(of(text + slow(2, "write"))) == [(0x200, 0x100), (0x300, 0x100)]


def test_what_is_just_no_error_is_a_lock() -> None:
    waited = slow(1, "write").splitlines()[0] + "\n"
    text = waited + waited.replace("ENTER", "EXIT").replace(f"{SEM:#x}", "-4096")
    assert who(of(text + slow(2, "write"))) == [(0x200, None), (0x300, 0x200)]


def test_a_reader_that_steals_does_not_wait() -> None:
    """rwsem_down_read_slowpath(): with no writer, in front of those who wait."""
    queued = word(0, 0, 0x100, 0x10) + word(2, 0x100, 0x102)
    steals = queued + word(1, 0x102, 0x202, 0x10) + slow(1, "read")
    assert of(steals) == []
    # It has stolen this lock, not another one.
    assert who(of(steals + slow(1, "read", OTHER_SEM))) == [(0x200, None)]
    # It holds the lock, and the next time it does not steal.
    assert who(of(steals + slow(2, "write"))) == [(0x300, 0x100), (0x300, 0x200)]
    again = steals + word(1, 0x202, 0x102, 0x11) + slow(1, "read")
    assert who(of(again)) == [(0x200, 0x100)]


def test_nobody_waits_for_itself() -> None:
    assert who(of(TAKES + slow(0, "write"))) == [(0x100, None)]


def test_locks_are_told_apart() -> None:
    other = f"0 WATCH id=MMAP_LOCK a={OTHER_LOCK:#x} b=0 c=1 d={OTHER_MM:#x}\n"
    (wait,) = of(other + slow(1, "read"))
    assert (wait.holder, wait.mm) == (None, MM)
    (wait,) = of(other + slow(1, "read", OTHER_SEM))
    assert wait.holder is not None
    assert wait.mm == OTHER_MM


def test_other_semaphores_are_no_matter() -> None:
    assert of(TAKES + slow(1, "read", 0xFFFF888000CC0000)) == []


def test_a_wait_that_the_trace_ends_in() -> None:
    (wait,) = of(TAKES + slow(1, "read").splitlines()[0])
    assert (wait.end_seq, wait.waiter.task) == (0, 0x200)
    assert wait.holder is not None


def test_a_call_that_the_trace_begins_in() -> None:
    assert of(TAKES + slow(1, "read").splitlines()[1]) == []


def test_a_wait_that_was_over_is_over_once() -> None:
    assert len(of(TAKES + slow(1, "read") + slow(1, "read").splitlines()[1])) == 1


def test_in_the_order_of_their_beginnings() -> None:
    inner = slow(1, "read")
    found = of(TAKES + slow(2, "write", end=inner))
    assert who(found) == [(0x300, 0x100), (0x200, 0x100)]


def test_waits_of_two_cpus_end_apart() -> None:
    (outer, inner) = of(TAKES + slow(2, "write", end=slow(1, "read")))
    assert outer.seq < inner.seq < inner.end_seq < outer.end_seq


def test_locks_by_their_address() -> None:
    assert locks_of(parse(HEAD)) == {SEM: MM, OTHER_SEM: OTHER_MM}
    assert locks_of(parse(HEAD.replace("MMAP_LOCK", "PTL"))) == {}
    assert locks_of(parse("0 BARRIER id=DSB")) == {}


def test_a_lock_that_is_first_seen_when_it_changes_is_not_known() -> None:
    assert locks_of(parse(HEAD.replace("WATCH_INIT", "WATCH"))) == {}


def test_an_address_below_the_linear_map_wraps() -> None:
    text = f"0 ARMED a=0x1000 b=0x3000\n0 WATCH_INIT id=MMAP_LOCK a=0x1000 d={MM:#x}"
    assert locks_of(parse(text)) == {(1 << 64) - 0x1000: MM}


def test_table() -> None:
    text = MUNMAP.format(0) + TAKES + FAULT.format(1, 0x401000) + slow(1, "read")
    moved = "2 PROBE id=SYSCALL a=25 b=0x600000 c=0x1000 d=0x1000\n"
    moved += "2 PROBE_MORE id=SYSCALL a=3 b=0x500000\n" + slow(2, "write") + slow(1, "write")
    rows = table(of(text + moved + LEAVES + MADVISE.format(0) + slow(0, "write", OTHER_SEM)))
    first = dict(zip(rows.dtype.names or (), rows[0], strict=True))
    assert (first["cpu"], first["mm"], first["write"]) == (1, MM, False)
    assert first["seq"] < first["end_seq"]
    assert first["overlap"] == "yes"
    waiter = [first[f"waiter_{name}"] for name in ("task", "pid", "does", "start", "end")]
    assert waiter == [0x200, 8, "fault", 0x401000, 0x402000]
    holder = [first[f"holder_{name}"] for name in ("task", "pid", "does", "start", "end")]
    assert holder == [0x100, 7, "munmap", 0x400000, 0x402000]
    assert rows["overlap"].tolist()[1] == "no"
    assert (rows["waiter_start"][1], rows["waiter_end"][1]) == (0x500000, 0x601000)
    nobody = [rows[f"holder_{name}"][-1] for name in ("task", "pid", "does", "start", "end")]
    assert nobody == [0, 0, "", 0, 0]
    assert (rows["waiter_does"][-1], rows["overlap"][-1]) == ("madvise", "unknown")


def test_a_side_that_does_nothing_has_no_range() -> None:
    (row,) = table(of(TAKES + slow(1, "read")))
    assert (row["waiter_does"], row["waiter_start"], row["waiter_end"]) == ("", 0, 0)


def test_no_waits() -> None:
    assert len(table(of(""))) == 0
