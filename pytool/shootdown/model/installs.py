"""What a fault's stores are about: the handle_mm_fault() they are in, and its VMA at that moment.

Whoever changes a VMA draws the numbers of his stores before he gives its lock back, and a fault
draws those of its own before it does: where the locks are kept, a fault's store is numbered on the
right side of every change of the VMA. Only the end of a write lock may be numbered too late: a
fault may see the new ``mm_lock_seq`` before its store has a number. What counts for that end is the
number its CPU drew before.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shootdown.model.faults import Attempt
from shootdown.model.history import History
from shootdown.model.mmap_writers import holders
from shootdown.model.running import Running
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

KINDS: Final = (
    *(Kind.WATCH, Kind.WATCH_INIT, Kind.PTE_WRITE, Kind.PROBE, Kind.ENTER, Kind.EXIT),
    Kind.RET_USER,
)
"""All that is looked at; other events make no difference."""
_DEPTH: Final = 8
"""Attempts of one task that may be under way within each other, at most."""
_SEQUENCE: Final = (1 << 32) - 1


def within(history: History) -> dict[int, Attempt]:
    """For every store to a user slot during an attempt, by number, the innermost attempt.

    Attempts whose end was not seen have none.
    """
    events = history.events
    by_task: dict[int, list[Attempt]] = {}
    for attempt in history.faults.attempts:
        by_task.setdefault(attempt.task, []).append(attempt)
    user = events["d"] >> np.uint64(63) == 0
    mine = events[(events["kind"] == Kind.PTE_WRITE) & user]
    tasks = Running(events).tasks(mine["cpu"], mine["seq"])
    found: dict[int, Attempt] = {}
    for task in np.unique(tasks).tolist():
        known = by_task.get(task, [])
        starts = [attempt.seq for attempt in known]
        for seq in mine["seq"][tasks == task].tolist():
            at = bisect_right(starts, seq)
            for attempt in reversed(known[max(at - _DEPTH, 0) : at]):
                if attempt.end > seq:
                    found[seq] = attempt
                    break
    return found


class _Locked(NamedTuple):
    seq: int
    value: int
    holder: int


class _Ended(NamedTuple):
    seq: int
    value: int
    before: int
    """Number that the CPU drew before."""


class Vmas:
    """Every VMA of a trace at every moment."""

    def __init__(self, history: History) -> None:
        """``history``: of ``KINDS`` at least."""
        events = history.events[np.isin(history.events["kind"], KINDS)]
        self.at: Final = history.lives.at
        """What a VMA was at a moment; see ``vmas.Lives.at``."""
        watch = np.isin(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
        locks = events[watch & (events["id"] == Watch.VMA_LOCK_SEQ)]
        rows = zip(locks[["seq", "d", "c"]].tolist(), holders(events, locks), strict=True)
        self._locks: Final[dict[int, list[_Locked]]] = {}
        for (seq, base, value), holder in rows:
            self._locks.setdefault(base, []).append(_Locked(seq, value, holder))
        at = np.flatnonzero(watch & (events["id"] == Watch.MM_LOCK_SEQ))
        ends = events[at]
        before = _previous(events)[at].tolist()
        self._ends: Final[dict[int, list[_Ended]]] = {}
        for (seq, mm, value), last in zip(ends[["seq", "d", "c"]].tolist(), before, strict=True):
            self._ends.setdefault(mm, []).append(_Ended(seq, value, last))

    def writer(self, base: int, mm: int, seq: int) -> int:
        """Who (of ``holders``) has the VMA locked to write at ``seq`` for sure; 0 for nobody."""
        locks, ends = self._locks.get(base, []), self._ends.get(mm, [])
        mine = bisect_right(locks, seq, key=lambda lock: lock.seq)
        at = bisect_right(ends, seq, key=lambda end: end.seq)
        if not mine or not at:
            return 0
        lock = locks[mine - 1]
        over = at < len(ends) and ends[at].before < seq
        same = (lock.value ^ ends[at - 1].value) & _SEQUENCE == 0
        return lock.holder if same and not over else 0


def _previous(events: Events) -> npt.NDArray[np.uint64]:
    """For every event the number of the same vCPU's event before it, 0 for the first."""
    found = np.zeros(len(events), np.uint64)
    for cpu in np.unique(events["cpu"]):
        at = np.flatnonzero(events["cpu"] == cpu)
        found[at[1:]] = events["seq"][at[:-1]]
    return found
