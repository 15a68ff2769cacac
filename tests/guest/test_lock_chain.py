"""The history of a lock word stays a chain when numbers are drawn late, and its moves balance."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from shootdown.model.locks import Locks, Move, transitions
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

from .conftest import Record, Recording

pytestmark = pytest.mark.guest

DELAY_US = 300
ENOUGH = 50
"""Transitions out of place in a run of the workload: a hundred and more, mostly."""


@pytest.fixture(scope="session", params=["x86_64", "arm64"])
def arch(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session", params=["multi", "single"])
def delayed(request: pytest.FixtureRequest, arch: str, recording: Record) -> Recording:
    """One thread unmaps while others fault, and each number is drawn up to DELAY_US late."""
    return recording(
        arch=arch,
        thread=request.param,
        workloads="munmap",
        iterations=60,
        smp=3,
        test_delay_us=DELAY_US,
    )


@pytest.fixture(scope="session")
def locks(delayed: Recording) -> Locks:
    return transitions(delayed.events)


def out_of_place(events: Events) -> int:
    """Changes of a lock word that, by the numbers, do not find what the one before left."""
    kinds = np.isin(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    mine = events[kinds & (events["id"] == Watch.MMAP_LOCK)]
    count = 0
    for word in np.unique(mine["a"]):
        one = mine[mine["a"] == word]
        after = one[1:]
        follows = (after["kind"] == Kind.WATCH_INIT) | (one["c"][:-1] == after["b"])
        blind = after["b"] == after["c"]  # does not know what it found
        count += int((~follows & ~blind).sum())
    return count


def test_numbers_were_really_drawn_late(delayed: Recording) -> None:
    count = out_of_place(delayed.events)
    if delayed.experiment.thread == "single":
        # One thread runs all vCPUs: it sleeps with all of them, and the order is total.
        assert count == 0
    else:
        assert count >= ENOUGH


def test_every_word_is_one_chain(delayed: Recording, locks: Locks) -> None:
    assert locks.breaks == 0
    events = delayed.events
    mine = events[(events["kind"] == Kind.WATCH) & (events["id"] == Watch.MMAP_LOCK)]
    known = int((mine["b"] != mine["c"]).sum())  # the others may have found what they left
    assert known <= len(locks.transitions) <= len(mine)
    values: dict[int, int] = {}
    for move in locks.transitions:
        assert values.get(move.lock, move.old) == move.old
        values[move.lock] = move.new


def test_each_vcpus_own_order_is_kept(locks: Locks) -> None:
    last: dict[tuple[int, int], int] = {}
    for move in locks.transitions:
        assert last.get((move.lock, move.cpu), 0) < move.seq
        last[move.lock, move.cpu] = move.seq


def test_moves_balance(locks: Locks) -> None:
    """Nobody holds a lock in the end, so what was taken was given back, in every way."""
    by_lock: dict[int, Counter[Move]] = defaultdict(Counter)
    granted: Counter[int] = Counter()
    final: dict[int, int] = {}
    for move in locks.transitions:
        by_lock[move.lock][move.move] += 1
        granted[move.lock] += move.readers
        final[move.lock] = move.new
    assert set(final.values()) == {0}
    for lock, moves in by_lock.items():
        assert moves[Move.STRANGE] == 0
        assert moves[Move.WRITE_ACQUIRE] == moves[Move.WRITE_RELEASE] + moves[Move.DOWNGRADE]
        taken = moves[Move.READ_ACQUIRE] + moves[Move.READ_STEAL] + granted[lock]
        assert taken + moves[Move.DOWNGRADE] == moves[Move.READ_RELEASE]
        assert moves[Move.TENTATIVE] == moves[Move.BACK_OUT]
        assert moves[Move.PROBE] == moves[Move.PROBE_LOST]


def test_the_lock_was_contended(delayed: Recording, locks: Locks) -> None:
    """Or the tests above would say little."""
    moves = locks.counts()
    assert moves[Move.DOWNGRADE] >= 60  # each munmap
    if delayed.experiment.thread == "multi":
        # One thread that runs all vCPUs in turns may never leave one inside a short section.
        assert moves[Move.BACK_OUT] > 0
        assert moves[Move.READ_GRANT] > 0
