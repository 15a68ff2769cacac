"""For records of many things: what was the last one of a kind, up to each, or up to a number."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.stream import Mask

At = npt.NDArray[np.intp]


def firsts(begins: Mask) -> At:
    """For each record the place of the last one, up to itself, that ``begins`` a stretch."""
    return np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))


def latest(which: Mask, first: At) -> At:
    """For each record the last chosen one up to itself, not before ``first`` of it; -1 for none."""
    at = np.maximum.accumulate(np.where(which, np.arange(len(which)), -1))
    return np.where(at >= first, at, -1)


def latest_before(which: Mask, first: At) -> At:
    """The same without the record itself."""
    at = np.maximum.accumulate(np.where(which, np.arange(len(which)), -1))
    before = np.concatenate([[-1], at[:-1]]).astype(np.intp)[: len(at)]
    return np.where(before >= first, before, -1)


class Places:
    """Finds records by what they are about and their number."""

    def __init__(self, base: npt.NDArray[np.uint64], seq: npt.NDArray[np.uint64]) -> None:
        """The VA of the thing and the number of each record; numbers rise."""
        self._order: Final = np.argsort(base, kind="stable")
        self._seqs: Final = seq[self._order].data
        bases, starts = np.unique(base[self._order], return_index=True)
        spans = zip(starts.tolist(), [*starts[1:].tolist(), len(base)], strict=False)
        self._spans: Final = dict(zip(bases.tolist(), spans, strict=False))
        """By VA where the records of a thing begin and end."""

    def around(self, base: int, seq: int) -> tuple[int | None, int | None]:
        """About the thing at a VA, places of the last record up to ``seq`` and of the next."""
        first, end = self._spans.get(base, (0, 0))
        at = bisect_right(self._seqs, seq, first, end)
        last = int(self._order[at - 1]) if at > first else None
        return last, int(self._order[at]) if at < end else None
