"""What the fast checker leaves out, and what it must not."""

import numpy as np
import pytest

from shootdown import arch
from shootdown.model import locks
from shootdown.model.lock_tally import LockTally, readers_own, tally
from shootdown.model.stream import whole
from shootdown.model.thin import Thin
from shootdown.model.thin_barriers import needless_barriers
from shootdown.model.thin_calls import quiet_calls
from shootdown.model.thin_returns import Returns
from shootdown.trace.parts import pieces, split
from shootdown.trace.text import parse

SHIFT = np.uint64(14)
TLBI = "0 FLUSH id=TLBI_VA a=0x1000 b=0x2000\n"
DSB, DSB_ST = "0 BARRIER id=DSB a=0xb\n", "0 BARRIER id=DSB a=0xa\n"
DSB_LOCAL = "0 BARRIER id=DSB a=0x7\n"


def dropped(text: str, *, barriers: bool = False) -> list[int]:
    """Places of the lines that are left out."""
    events = parse(text)
    everything = np.ones(len(events), np.bool_)
    found = (
        needless_barriers(events)
        if barriers
        else quiet_calls(events, everything, SHIFT, ~everything)
    )
    return np.flatnonzero(found).tolist()


def enter(function: int, sp: int) -> str:
    return f"0 ENTER id={function} a={0xFFFF0000 + sp:#x}\n"


def leave(function: int, sp: int) -> str:
    return f"0 EXIT id={function} a={0xFFFF0000 + sp:#x}\n"


STORE = "0 PTE_WRITE a=0x13000 b=0x50067 d=0x400000 level=1\n"
INNER = enter(2, 0x80) + leave(2, 0x80)


def test_barriers_without_an_invalidation_among_them():
    assert dropped(DSB * 4, barriers=True) == [1, 2]
    assert dropped(DSB * 2, barriers=True) == []
    assert dropped(DSB_ST + DSB + DSB_ST + DSB + DSB_ST, barriers=True) == [0, 2, 3]
    assert dropped("0 BARRIER id=ISB\n" + "0 BARRIER id=DSB a=9\n", barriers=True) == [0, 1]


def test_barriers_next_to_an_invalidation_stay():
    assert dropped(TLBI + DSB + TLBI + DSB + DSB, barriers=True) == []
    assert dropped(DSB_ST * 2 + TLBI + DSB_ST + DSB + DSB_ST, barriers=True) == [0, 3]


def test_barriers_that_reach_less_do_not_stand_for_others():
    assert dropped(DSB_LOCAL + DSB + DSB_LOCAL, barriers=True) == []
    assert dropped(DSB_LOCAL + DSB + DSB + DSB_LOCAL * 3, barriers=True) == [3, 4]


def test_calls_within_a_call_that_ends_or_before_user_mode():
    assert dropped(enter(1, 0x90) + INNER + leave(1, 0x90) + "0 RET_USER\n") == [0, 1, 2, 3]
    assert dropped(enter(1, 0x90) + INNER + leave(1, 0x90)) == [1, 2]
    assert dropped(INNER + leave(1, 0x90)) == [0, 1]
    assert dropped(INNER + enter(3, 0x80)) == [0, 1]


def test_calls_that_somebody_asks_in_or_behind():
    assert dropped(enter(2, 0x80) + STORE + leave(2, 0x80) + "0 RET_USER\n") == []
    assert dropped(INNER + STORE) == []
    assert dropped(INNER) == []


def test_calls_that_end_nothing_since_what_is_above_them():
    assert dropped(enter(1, 0x90) + INNER + STORE) == [1, 2]
    assert dropped(enter(1, 0x90) + STORE + INNER + STORE) == [2, 3]
    assert dropped(enter(1, 0x90) + leave(1, 0x90) + INNER + STORE) == [2, 3]
    assert dropped("0 RET_USER\n" + INNER + STORE) == [1, 2]
    assert dropped(enter(1, 0x80) + INNER + STORE) == []
    assert dropped(enter(1, 0x80 + (1 << 14)) + INNER + STORE) == []


def test_what_ends_less_does_not_stand_for_a_call():
    assert dropped(INNER + leave(1, 0x80)) == []
    assert dropped(INNER + leave(1, 0x70)) == []
    assert dropped(INNER + enter(3, 0x70)) == []
    assert dropped(INNER + leave(1, 0x80 + (1 << 14))) == []


def test_a_call_is_one_function_at_one_stack_pointer():
    assert dropped(enter(2, 0x80) + leave(3, 0x80) + "0 RET_USER\n") == []
    assert dropped(enter(2, 0x80) + leave(2, 0x88) + "0 RET_USER\n") == []


def returns(text: str, architecture: str = "x86_64") -> list[int]:
    """Places of the lines that are left out for a return to user mode."""
    events = parse(text)
    quiet = Returns(arch.get(architecture))
    quiet.begin(whole(events))
    return np.flatnonzero(quiet.quiet(events, np.ones(len(events), np.bool_))).tolist()


BACK = "0 RET_USER\n"
GETPID = "0 PROBE id=SYSCALL a=39\n0 PROBE_MORE id=SYSCALL\n"
MUNMAP = "0 PROBE id=SYSCALL a=11\n0 PROBE_MORE id=SYSCALL\n"
FAULT = "0 PROBE id=FAULT a=0x400000\n0 PTE_WRITE a=0x13000 c=0x50067 d=0x400000 level=1\n"


def test_returns_after_faults_and_calls_that_do_nothing():
    assert returns(BACK + FAULT + BACK + BACK) == [3, 4]
    assert returns(BACK + GETPID + DSB + BACK) == [1, 2, 4]
    assert returns(BACK + FAULT + GETPID + BACK) == [3, 4, 5]
    assert returns(BACK + TLBI + BACK) == [2]


def test_returns_that_end_something_stay():
    assert returns(FAULT + BACK) == []
    assert returns(GETPID + BACK) == []
    assert returns(BACK + MUNMAP + BACK) == []
    assert returns(BACK + GETPID.splitlines()[0] + "\n" + BACK) == []
    assert returns(BACK + GETPID + FAULT + BACK) == []
    assert returns(BACK + GETPID + TLBI + BACK) == []
    assert returns(BACK + STORE + BACK) == []
    assert returns(BACK + enter(1, 0x90) + BACK) == []


def test_returns_of_a_cpu_that_is_lazy_stay():
    lazy, busy = "0 WATCH id=IS_LAZY c=1\n", "0 WATCH id=IS_LAZY c=0\n"
    switching = "0 WATCH id=LOADED_MM c=1\n"
    assert returns(BACK + lazy + BACK + BACK) == []
    assert returns(BACK + lazy + busy + BACK + BACK) == [4]
    assert returns(BACK + switching + BACK + BACK) == []


def test_returns_of_a_cpu_that_others_call_lazy_stay():
    quiet = Returns(arch.get("x86_64"))
    said = parse(BACK * 3 + "1 WATCH id=IS_LAZY c=1 d=0\n")
    later = parse(BACK * 3 + "0 WATCH id=IS_LAZY c=0\n0 WATCH id=LOADED_MM c=0x10\n" + BACK * 2)
    kept = []
    for events in (said, later):
        quiet.begin(whole(events))
        part = events[events["cpu"] == 0]
        kept.append(np.flatnonzero(quiet.quiet(part, np.ones(len(part), np.bool_))).tolist())
    assert kept == [[], [6]]


def word(cpu: int, old: int, new: int, pc: int = 0x1000) -> str:
    return f"{cpu} WATCH id=MMAP_LOCK a=0x9000 b={old:#x} c={new:#x} d=0x900 pc={pc:#x}\n"


READ = word(0, 0, 0x100) + word(0, 0x100, 0, 0x1010)
WRITE = word(1, 0, 1, 0x1020) + word(1, 1, 0, 0x1030)
WAIT = word(0, 0, 1) + word(1, 1, 3, 0x50) + word(0, 3, 2, 0x60) + word(1, 2, 1, 0x70)
WAIT += word(1, 1, 0, 0x60)
STEAL = word(0, 0, 2, 0x50) + word(1, 2, 0x102) + word(1, 0x102, 2, 0x1010) + word(0, 2, 0)
LATE = word(1, 0x100, 0x200) + word(0, 0, 0x100) + word(1, 0x200, 0x100) + word(0, 0x100, 0)


def assert_counts(text: str) -> None:
    events = parse(text)
    expected = tally(locks.transitions(events))
    for size in (2, 5, 50, 1 << 18):
        counter = LockTally(readers_own(events))
        for parts in pieces(split(events), size):
            counter.feed(parts)
        assert counter.finish() == expected


def test_locks_are_counted_as_they_are_decoded():
    assert_counts(READ * 60 + WRITE * 60 + WAIT + READ * 60 + STEAL + WRITE * 80)
    assert_counts(READ * 60 + LATE + WRITE * 80)
    assert_counts(READ + word(0, 0, 0x7) + READ * 90)
    assert_counts(READ + word(0, 0x300, 0x200))


VALUES = (0, 1, 0x100, 0x101, 0x200, 0x201, 0x301)
"""Free, a writer, readers, and what no lock word should hold."""


@pytest.mark.parametrize("old", VALUES)
@pytest.mark.parametrize("new", VALUES)
def test_every_step_is_counted_as_it_is_decoded(old: int, new: int) -> None:
    """With a calm history on both sides, so that it is told by its values alone where it can be."""
    assert_counts(READ + word(0, 0, old) + word(1, old, new) + word(0, new, 0) + READ * 70)


def test_a_word_that_is_watched_anew_begins_anew():
    anew = "0 WATCH_INIT id=MMAP_LOCK a=0x9000 c=0 d=0x901\n"
    assert_counts(READ + word(0, 0, 1) + anew + READ * 70 + anew + anew + WRITE)


PTL = "0 WATCH id=PTL a=0x9028 b={} c={} d=0x2000\n"


def thinned(text: str, functions: tuple[int, ...] = (), wanted: str = "") -> list[int]:
    """Places of the lines that all filters together leave out; of ``wanted`` kinds when given."""
    events = parse(text)
    chosen = np.ones(len(events), np.bool_)
    if wanted:
        chosen = events["kind"] == parse(wanted)["kind"][0]
    thin = Thin(arch.get("arm64"), 14, functions)
    thin.begin(whole(events))
    return np.flatnonzero(chosen & ~thin(0, events, chosen.copy())).tolist()


def test_all_filters_together():
    barriers, locked = DSB * 4, PTL.format(0, 1) + PTL.format(1, 0)
    calls = INNER + leave(1, 0x90)
    assert thinned(barriers) == [1, 2]
    assert thinned(locked) == [1]
    assert thinned(calls) == [0, 1]
    assert thinned(BACK * 3) == [1, 2]
    assert thinned(barriers + locked + calls + BACK * 3) == [1, 2, 5, 6, 7, 10, 11]


def test_what_was_not_wanted_is_not_left_out_by_a_filter():
    assert thinned(INNER + leave(1, 0x90), wanted="0 RET_USER") == []


def test_functions_that_listeners_hear_of_stay():
    calls = INNER + leave(1, 0x90)
    assert thinned(calls, functions=(2,)) == []
    assert thinned(calls, functions=(1,)) == [0, 1]
    # A BARRIER has no function, whatever its number.
    assert thinned(DSB * 4, functions=tuple(range(64))) == [1, 2]


def test_calls_of_other_stack_sizes():
    events = parse(INNER + leave(1, 0x80 + (1 << 14)))
    for log2, left in ((14, 3), (15, 1)):
        thin = Thin(arch.get("arm64"), log2)
        thin.begin(whole(events))
        assert np.count_nonzero(thin(0, events, np.ones(3, np.bool_))) == left
