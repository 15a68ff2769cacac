"""What has to be known of a whole trace before the model is fed with its first event.

It is gathered from pieces in any order; what is kept does not grow with the trace.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shootdown.model import lock_tally
from shootdown.model.callstack import STACK_LOG2
from shootdown.model.pagetables import PAGE_SHIFT
from shootdown.trace.columns import are
from shootdown.trace.schema import FlushOp, Kind, Mark, RootReg
from shootdown.trace.types import Events

_SIGN: Final = np.uint64(63)
_FLUSHES: Final = {int(op): op.name.lower() for op in FlushOp}
_WIDE: Final = 1 << 14
_DECLARED: Final = 1 << 20
"""Pages of a range, and of all, that count as declared; guests may declare what they like."""


@dataclass
class Overview:
    """Gathered by ``add``."""

    pages: set[int] = field(default_factory=set)
    """Numbers of the pages (VA >> 12) that are watched: with user accesses, or declared to be."""
    stack_log2: int = STACK_LOG2
    """Binary logarithm of a kernel stack's bytes."""
    mismatches: int = 0
    """Events of AUDIT_MISMATCH."""
    own: frozenset[tuple[int, int]] = frozenset()
    """Places that take or leave an mmap_lock as a reader (``locks.decode``)."""
    writers: Counter[int] = field(default_factory=Counter)
    """Stores to user tables by the VA of the instruction, as it was linked."""
    flushes: Counter[str] = field(default_factory=Counter)
    """Invalidations by kind: ``FlushOp`` in small letters, or ``cr3_load``."""
    _declared: int = 0

    def add(self, part: Events) -> None:
        """Look at some events of one vCPU."""
        kind = np.ascontiguousarray(part["kind"])
        marks = part[are(kind, Kind.MARK)]
        self._declare(marks[are(marks["id"], Mark.RANGE)])
        accesses = part["a"][are(kind, Kind.OBS)]
        self.pages.update(np.unique(accesses >> np.uint64(PAGE_SHIFT)).tolist())
        for said in part["size"][are(kind, Kind.ARMED)].tolist():
            self.stack_log2 = said or STACK_LOG2
        self.mismatches += int(np.count_nonzero(are(kind, Kind.AUDIT_MISMATCH)))
        self.own |= lock_tally.readers_own(part)
        self._count(part, kind)

    def _count(self, part: Events, kind: npt.NDArray[np.uint16]) -> None:
        stores = np.flatnonzero(are(kind, Kind.PTE_WRITE))
        stores = stores[part["d"][stores] >> _SIGN == 0]
        self.writers.update(_counted(part["pc"][stores]))
        for op, count in _counted(part["id"][are(kind, Kind.FLUSH)]).items():
            self.flushes[_FLUSHES.get(op, str(op))] += count
        loads = part[are(kind, Kind.ROOT_LOAD)]
        flushing = are(loads["id"], RootReg.CR3) & (loads["a"] >> _SIGN == 0)
        self.flushes.update({"cr3_load": int(np.count_nonzero(flushing))})

    def _declare(self, marks: Events) -> None:
        for start, size in marks[["b", "c"]].tolist():
            first, end = start >> PAGE_SHIFT, (start + size - 1 >> PAGE_SHIFT) + 1
            self._declared += max(end - first, 0)
            if end - first <= _WIDE and self._declared <= _DECLARED:
                self.pages.update(range(first, end))


def _counted(values: npt.NDArray[Any]) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
