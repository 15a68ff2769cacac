"""Kernel entries that take no entry away: what is recorded in them before they do, if ever.

Filters of ``thin``; like those of ``thin_words`` they serve the rule ``flush-deadline``, the only
listener for which functions, mmap_lock and VMAs matter one by one.

A vCPU is *calm* from a RET_USER on, until it records a store that may take an entry away, a switch
of tasks, the downgrade of an mmap_lock, or a gather (struct mmu_gather) that is not finished before
one of these. While it is calm its task owes nothing: RET_USER ends what the task owed, was inside
of and had downgraded (``FlushDeadline.user``), and only a store over an entry makes it owe more,
by the vCPU itself: a task runs on one at a time. Where a trace says otherwise nobody is calm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.stream import Mask
from shootdown.model.vma_map import DEATHS
from shootdown.trace.columns import Fields, any_of, are, counted, spread
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Probe, Watch

_At = npt.NDArray[np.intp]

_WRITER: Final = np.uint64(1)
_DOWNGRADE: Final = np.uint64(0x100 - 1)
"""A writer becomes a reader: include/linux/rwsem.h, kernel/locking/rwsem.c downgrade_write()."""
_NEVER: Final = (1 << 64) - 1
_BEGIN, _FINISH, _FINISHED = range(3)


class Tasks:
    """Follows which task each vCPU runs, from one piece of the trace to the next."""

    def __init__(self) -> None:
        self._now: dict[int, int] = {}

    def twice(self, parts: Mapping[int, Fields]) -> bool:
        """Whether, in this piece, a task is on two vCPUs at once: in a strange trace."""
        every = np.array([*self._runs(parts)], np.uint64).reshape(-1, 3)
        task, start, end = every[np.lexsort((every[:, 1], every[:, 0]))].T
        return bool(np.any((task[1:] == task[:-1]) & (start[1:] < end[:-1])))

    def _runs(self, parts: Mapping[int, Fields]) -> Iterator[tuple[int, int, int]]:
        """Task, and from which number to which it runs; not what ran before the first switch."""
        for cpu in {*parts, *self._now}:
            seqs, tasks = [0], [self._now.get(cpu, 0)]
            if part := parts.get(cpu):
                mine = are(part["kind"], Kind.PROBE) & are(part["id"], Probe.TASK_SWITCH)
                seqs += part["seq"][mine].tolist()
                tasks += part["a"][mine].tolist()
            self._now[cpu] = tasks[-1]
            yield from (run for run in zip(tasks, seqs, [*seqs[1:], _NEVER], strict=True) if run[0])


class Calm:
    """Where one vCPU is calm in one piece of the trace; it begins with nothing known."""

    def __init__(self, part: Fields, asks: Mask) -> None:
        """``asks``: stores that may take an entry away."""
        kind = part["kind"]
        starts = are(kind, Kind.RET_USER)
        switches = are(kind, Kind.PROBE) & are(part["id"], Probe.TASK_SWITCH)
        ends = asks | switches | _downgrades(part)
        turns = np.flatnonzero(starts | ends)
        self._region: Final = counted(starts)
        self.mask: Mask = spread(turns, ~ends[turns], False, len(part))
        """By event whether the vCPU is calm."""
        self._cut_at_open_gathers(part)

    def _cut_at_open_gathers(self, part: Fields) -> None:
        """A gather must be finished while calm, and none begun in between; else calm ends there."""
        at, step = _steps_of_gathers(part, self.mask)
        region = self._region[at]
        good = np.zeros(len(at), np.bool_)
        first = np.flatnonzero(
            (step[:-2] == _BEGIN)
            & (step[1:-1] == _FINISH)
            & (step[2:] == _FINISHED)
            & (region[:-2] == region[2:])
            & (part["b"][at[:-2]] == part["b"][at[1:-1]])
            & (part["a"][at[1:-1]] == part["a"][at[2:]])
        )
        for one in (first, first + 1, first + 2):
            good[one] = True
        bad = np.flatnonzero(~good)
        regions, where = np.unique(region[bad], return_index=True)
        if len(regions):
            last = np.full(int(self._region[-1]) + 1, len(part))
            last[regions] = at[bad[where]]
            self.mask &= np.arange(len(part)) < last[self._region]

    def hushed(self, part: Fields, loud: Mask) -> Mask:
        """Calls of ``loud`` functions of which nobody needs to hear.

        Proof: a calm task owes nothing, so no function's beginning or end is a deadline for it.
        What it has gathered it has finished, and is then as if it never had. A freed VMA is told
        of.
        """
        found = loud & self.mask
        found[found] = ~any_of(part["id"][found], DEATHS)
        return found

    def spoilt(self, events: Mask) -> Mask:
        """All events of the regions in which any of ``events`` is."""
        regions = np.zeros(int(self._region[-1]) + 1 if len(self._region) else 0, np.bool_)
        regions[self._region[events]] = True
        found: Mask = regions[self._region]
        return found

    def quiet_locks(self, part: Fields) -> Mask:
        """Changes of mmap_lock.

        Proof: no release is a deadline for who owes nothing, and he has downgraded no lock whose
        release would have to be told from another reader's. The gathers whose nesting in the hold a
        change ends are themselves finished while calm: those must be left out, too.
        """
        found: Mask = are(part["kind"], Kind.WATCH) & are(part["id"], Watch.MMAP_LOCK) & self.mask
        return found


def _downgrades(part: Fields) -> Mask:
    found: Mask = are(part["kind"], Kind.WATCH) & are(part["id"], Watch.MMAP_LOCK)
    at = np.flatnonzero(found)
    before, after = part["b"][at], part["c"][at]
    found[at] = (after - before == _DOWNGRADE) & (before & _WRITER != 0)
    return found


def _steps_of_gathers(part: Fields, among: Mask) -> tuple[_At, _At]:
    """Where gathers begin, and where calls that finish one begin and end; and which it is."""
    number = part["id"]
    at = np.flatnonzero(are(number, Function.tlb_gather_mmu) | are(number, Function.tlb_finish_mmu))
    at = at[among[at]]
    enters, leaves = are(part["kind"][at], Kind.ENTER), are(part["kind"][at], Kind.EXIT)
    finish = are(number[at], Function.tlb_finish_mmu)
    step = np.full(len(at), -1)
    step[enters & ~finish] = _BEGIN
    step[enters & finish] = _FINISH
    step[leaves & finish] = _FINISHED
    known = step >= 0
    return at[known], step[known]
