"""For records of many things, sorted by thing: what was the last one of a kind, up to each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
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
