"""Lock words: what each change means (kernel/locking/rwsem.c), and their order."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.model.chain import Step, chain
from shootdown.model.locks import Locks, Move, transitions
from shootdown.trace.schema import DTYPE, Kind, Watch

R, W, WAITERS, HANDOFF = 0x100, 1, 2, 4

# Places in the code, as the steps below name them.
DOWN_READ, UP_READ, SLOW, WAKE, WAKE2, WRITE = 1, 2, 3, 4, 5, 6


def history(*steps: tuple[int, int, int], start: int = 0) -> np.ndarray:
    """Events of one word from (cpu, pc, delta)."""
    events = np.zeros(len(steps), DTYPE)
    value = start
    for number, (event, (cpu, pc, delta)) in enumerate(zip(events, steps, strict=True), 1):
        event["seq"], event["cpu"], event["pc"] = number, cpu, pc
        event["kind"], event["id"] = Kind.WATCH, Watch.MMAP_LOCK
        event["a"], event["d"] = 0xA8, 0xAA0000
        event["b"], event["c"] = value, value + delta
        value += delta
    return events


# Uncontended use, which tells a reader's own places from those of the slow paths.
KNOWN = ((0, DOWN_READ, R), (0, UP_READ, -R))


def moves(*steps: tuple[int, int, int]) -> list[Move]:
    locks = transitions(history(*KNOWN, *steps))
    assert locks.breaks == 0
    return [t.move for t in locks.transitions[len(KNOWN) :]]


def test_writer():
    assert moves((0, WRITE, W), (0, WRITE, -W)) == [Move.WRITE_ACQUIRE, Move.WRITE_RELEASE]


def test_downgrade():
    steps = (0, WRITE, W), (0, WRITE, R - W), (0, UP_READ, -R)
    assert moves(*steps) == [Move.WRITE_ACQUIRE, Move.DOWNGRADE, Move.READ_RELEASE]


@pytest.mark.parametrize("cleared", [WAITERS, HANDOFF, WAITERS | HANDOFF])
def test_writer_that_waited_clears_flags(cleared):
    # rwsem_try_write_lock(): the last waiter clears WAITERS, the one handed to clears HANDOFF
    flag = [(1, SLOW, bit) for bit in (WAITERS, HANDOFF) if cleared & bit]
    assert moves(*flag, (1, WRITE, W - cleared))[-1] is Move.WRITE_ACQUIRE


def test_writer_beside_readers_is_strange():
    assert moves((0, DOWN_READ, R), (1, WRITE, W))[-1] is Move.STRANGE


def test_reader_queues_behind_a_writer_and_is_let_in():
    steps = (
        (0, WRITE, W),
        (1, DOWN_READ, R),  # tries
        (1, SLOW, WAITERS - R),  # queues, the first to do so
        (0, WRITE, -W),
        (0, WAKE, R),  # rwsem_mark_wake(): counts the first reader in
        (0, WAKE2, -WAITERS),  # and no one is left
        (1, UP_READ, -R),
    )
    assert moves(*steps) == [
        Move.WRITE_ACQUIRE,
        Move.TENTATIVE,
        Move.BACK_OUT,
        Move.WRITE_RELEASE,
        Move.READ_GRANT,
        Move.CALM,
        Move.READ_RELEASE,
    ]


def test_second_reader_in_the_queue_backs_out_without_a_flag():
    steps = (
        (0, WRITE, W),
        (1, DOWN_READ, R),
        (1, SLOW, WAITERS - R),
        (2, DOWN_READ, R),
        (2, SLOW, -R),
        (0, WRITE, -W),
        (0, WAKE, R),
        (0, WAKE2, R - WAITERS),  # one more
    )
    locks = transitions(history(*KNOWN, *steps))
    assert [t.readers for t in locks.transitions if t.move is Move.READ_GRANT] == [1, 1]
    assert locks.counts()[Move.BACK_OUT] == 2
    assert locks.acquisitions() == (1, 3)  # with the one of KNOWN


def test_downgrade_lets_all_readers_in_at_once():
    steps = (
        (0, WRITE, W),
        (1, DOWN_READ, R),
        (1, SLOW, WAITERS - R),
        (0, WRITE, R - W),
        (0, WAKE2, 3 * R - WAITERS),
    )
    grant = transitions(history(*KNOWN, *steps)).transitions[-1]
    assert (grant.move, grant.readers) == (Move.READ_GRANT, 3)


def test_reader_steals_in_front_of_a_waiting_writer():
    steps = (0, DOWN_READ, R), (1, SLOW, WAITERS), (2, DOWN_READ, R), (2, UP_READ, -R)
    assert moves(*steps) == [
        Move.READ_ACQUIRE,
        Move.WAIT,
        Move.READ_STEAL,
        Move.READ_RELEASE,
    ]


@pytest.mark.parametrize("lost", [-R, HANDOFF - R])
def test_waker_loses_to_a_writer(lost):
    steps = (0, WRITE, W), (1, SLOW, WAITERS), (2, WAKE, R), (2, WAKE, lost)
    assert moves(*steps)[-2:] == [Move.PROBE, Move.PROBE_LOST]


def test_nonsense_is_strange():
    assert moves((0, WRITE, 0x37))[-1] is Move.STRANGE


def test_initialisation():
    events = history((0, WRITE, -0x5A5A), start=0x5A5A)
    assert [t.move for t in transitions(events).transitions] == [Move.INIT]


def test_word_that_is_watched_anew_starts_another_history():
    first, second = history((0, WRITE, W)), history((0, WRITE, W))
    init = history((0, WRITE, 0))
    init["kind"] = Kind.WATCH_INIT
    init["seq"], second["seq"] = 2, 3
    assert transitions(np.concatenate([first, init, second])).breaks == 0
    assert transitions(np.concatenate([first, second])).breaks == 1


def test_words_are_apart():
    other = history((0, WRITE, W))
    other["a"] = 0xB8
    locks = transitions(np.concatenate([history((0, WRITE, W)), other]))
    assert (locks.words, locks.breaks, locks.acquisitions()) == (2, 0, (2, 0))


def test_release_numbered_after_the_next_acquire():
    events = history((0, WRITE, W), (0, WRITE, -W), (1, WRITE, W), (1, WRITE, -W))
    events = events[[0, 2, 1, 3]]
    events["seq"] = range(1, 5)
    locks = transitions(events)
    assert locks.breaks == 0
    assert [t.cpu for t in locks.transitions] == [0, 0, 1, 1]


def test_lost_event_breaks_the_chain_once():
    steps = history(*([(0, WRITE, W), (0, WRITE, -W)] * 3))
    assert transitions(np.delete(steps, 2)).breaks == 1


def blind(events: np.ndarray, *places: int) -> np.ndarray:
    """What these events found is not known."""
    for place in places:
        events[place]["b"] = events[place]["c"]
    return events


def test_flag_that_does_not_know_what_it_found():
    steps = (0, DOWN_READ, R), (1, SLOW, WAITERS), (0, UP_READ, -R), (1, SLOW, -WAITERS)
    events = blind(history(*KNOWN, *steps), 3, 5)
    locks = transitions(events)
    assert locks.breaks == 0
    assert [t.move for t in locks.transitions[-3:]] == [Move.WAIT, Move.READ_RELEASE, Move.CALM]
    assert [t.old for t in locks.transitions[-3:]] == [R, R | WAITERS, WAITERS]


def test_flag_numbered_late_that_does_not_know_what_it_found():
    steps = (0, DOWN_READ, R), (2, DOWN_READ, R), (1, SLOW, WAITERS), (0, UP_READ, -R)
    events = blind(history(*KNOWN, *steps), 4)
    events = events[[0, 1, 2, 3, 5, 4]]
    events["seq"] = range(1, 7)
    locks = transitions(events)
    assert locks.breaks == 0
    assert [t.move for t in locks.transitions[-2:]] == [Move.WAIT, Move.READ_RELEASE]


def test_flag_that_was_set_already_is_no_transition():
    events = blind(history(*KNOWN, (0, SLOW, WAITERS), (1, SLOW, 0), (0, SLOW, -WAITERS)), 3)
    assert [t.move for t in transitions(events).transitions[2:]] == [Move.WAIT, Move.CALM]


def test_only_flags_may_be_unknown():
    events = blind(history(*KNOWN, (0, WRITE, W), (0, WRITE, -W)), 2)
    assert transitions(events).breaks > 0


def test_no_lock_events():
    assert transitions(np.zeros(0, DTYPE)) == Locks((), 0, 0)


@given(st.data())
def test_chain_repairs_late_numbers(data):
    """Readers and writers on three CPUs; numbers are drawn late, in program order."""
    cpus, value, true = [0] * 3, 0, []
    for at in range(data.draw(st.integers(1, 60), label="steps")):
        cpu = data.draw(st.integers(0, 2))
        if cpus[cpu]:
            delta, cpus[cpu] = -cpus[cpu], 0
        elif data.draw(st.booleans()):  # a flag goes on or off, whatever it was
            new = value | WAITERS if data.draw(st.booleans()) else value & ~WAITERS
            true.append(Step(0, at, cpu, 0, 0, new, new, Kind.WATCH))
            value = new
            continue
        elif value & W:
            continue  # would wait
        else:
            delta = W if not value & ~WAITERS and data.draw(st.booleans()) else R
            cpus[cpu] = delta
        true.append(Step(0, at, cpu, 0, 0, value, value + delta, Kind.WATCH))
        value += delta
    drawn = [place + data.draw(st.integers(0, 4)) for place in range(len(true))]
    for cpu in range(3):  # a CPU draws its next number after this one
        mine = [i for i, step in enumerate(true) if step.cpu == cpu]
        for before, after in pairwise(mine):
            drawn[after] = max(drawn[after], drawn[before] + 1)
    order = sorted(range(len(true)), key=lambda i: (drawn[i], true[i].cpu, i))
    numbered = [true[i]._replace(seq=number) for number, i in enumerate(order, 1)]
    ordered, breaks = chain(numbered, unknown=WAITERS)
    assert breaks == 0
    assert sorted(step.seq for step in ordered) == [step.seq for step in numbered]
    assert all(b.old == a.new for a, b in pairwise(ordered))
    for cpu in range(3):
        mine = [step.seq for step in ordered if step.cpu == cpu]
        assert mine == sorted(mine)
