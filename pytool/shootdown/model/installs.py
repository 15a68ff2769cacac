"""What a fault's stores are about: the handle_mm_fault() they are in, and its VMA at that moment.

Whoever changes a VMA draws the numbers of his stores before he gives its lock back, and a fault
draws those of its own before it does: where the locks are kept, a fault's store is numbered on the
right side of every change of the VMA. Only the end of a write lock may be numbered too late: a
fault may see the new ``mm_lock_seq`` before its store has a number. What counts for that end is the
number its CPU drew before.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.faults import Attempt
from shootdown.model.history import History
from shootdown.model.latest import Places
from shootdown.model.mmap_writers import holders
from shootdown.model.running import Running
from shootdown.model.vma_locks import SEQUENCE
from shootdown.trace.columns import any_of, are
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

KINDS: Final = (
    *(Kind.WATCH, Kind.WATCH_INIT, Kind.PTE_WRITE, Kind.PROBE, Kind.ENTER, Kind.EXIT),
    Kind.RET_USER,
)
"""All that is looked at; other events make no difference."""
_DEPTH: Final = 8
"""Attempts of one task that may be under way within each other, at most."""


def within(history: History) -> dict[int, Attempt]:
    """For every store to a user slot during an attempt, by number, the innermost attempt.

    Attempts whose end was not seen have none.
    """
    events = history.events
    by_task: dict[int, list[Attempt]] = {}
    for attempt in history.faults.attempts:
        by_task.setdefault(attempt.task, []).append(attempt)
    user = events["d"] >> np.uint64(63) == 0
    mine = events[are(events["kind"], Kind.PTE_WRITE) & user]
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


class Vmas:
    """Every VMA of a trace at every moment."""

    def __init__(self, history: History) -> None:
        """``history``: of ``KINDS`` at least."""
        events = history.events
        self.at: Final = history.vmas.at
        """What a VMA was at a moment; see ``vmas.Steps.at``."""
        watch = any_of(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
        locks = np.flatnonzero(watch & are(events["id"], Watch.VMA_LOCK_SEQ))
        ends = np.flatnonzero(watch & are(events["id"], Watch.MM_LOCK_SEQ))
        self._locks: Final = events[locks]
        self._ends: Final = events[ends]
        self._lock_places: Final = Places(self._locks["d"], self._locks["seq"])
        self._end_places: Final = Places(self._ends["d"], self._ends["seq"])
        self._running: Final = Running(events)
        self._before: Final = _previous(events)[ends]
        """For every end the number that its CPU drew before."""

    def writer(self, base: int, mm: int, seq: int) -> int:
        """Who (of ``holders``) has the VMA locked to write at ``seq`` for sure; 0 for nobody."""
        mine, _ = self._lock_places.around(base, seq)
        last, further = self._end_places.around(mm, seq)
        if mine is None or last is None:
            return 0
        lock, end = self._locks[mine : mine + 1], self._ends[last]
        over = further is not None and self._before[further] < seq
        same = (int(lock["c"][0]) ^ int(end["c"])) & SEQUENCE == 0
        return int(holders(self._running, lock)[0]) if same and not over else 0


def _previous(events: Events) -> npt.NDArray[np.uint64]:
    """For every event the number of the same vCPU's event of ``KINDS`` before it, 0 for none."""
    found = np.zeros(len(events), np.uint64)
    ours, cpus, seq = any_of(events["kind"], KINDS), events["cpu"], events["seq"]
    for cpu in np.unique(cpus):
        at = np.flatnonzero(ours & (cpus == cpu))
        found[at[1:]] = seq[at[:-1]]
    return found
