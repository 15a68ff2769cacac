"""Life of page frames: freed to the allocator and allocated again (event group ``pages``).

The trace tells of frames that user memory or a page table was in. Each of them is freed once and
allocated once, in turn. A free is numbered before the frame can be had by anybody, an allocation
after it was had and before it is used, so numbers are in their true order.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.arch.mmu import Mmu
from shootdown.model.pagetables import PAGE_SIZE, span_of
from shootdown.trace.columns import any_of, are
from shootdown.trace.schema import Kind, Use
from shootdown.trace.types import Events

NEVER: Final = np.iinfo(np.uint64).max
"""Number of an allocation that was not seen."""

LIFE: Final = np.dtype(
    [
        ("freed", "<u8"),
        ("icount", "<u8"),
        ("pc", "<u8"),
        ("allocated", "<u8"),
        ("allocated_icount", "<u8"),
        ("pa", "<u8"),
        ("freed_by", "<u2"),
        ("allocated_by", "<u2"),
        ("use", "u1"),
        ("cpu", "u1"),
        ("allocated_cpu", "u1"),
        ("frames", "<u4"),
    ]
)
"""One free of one frame: ``pa`` of the frame; ``freed_by`` and ``allocated_by`` are Functions,
``use`` bits of Use of the block it was freed in, ``frames`` the size of that block. ``allocated``
is NEVER while the frame stays free."""

Lives = npt.NDArray[np.void]
_GIGANTIC: Final = 3
"""The level at which an entry maps 1 GiB."""
_KINDS: Final = (Kind.PAGE_FREED, Kind.PAGE_ALLOCATED)


def read(events: Events) -> Lives:
    """Every free of a frame that was in use, in the order of ``freed``."""
    rows = _frames(events[any_of(events["kind"], _KINDS)])
    rows = rows[np.lexsort((rows["seq"], rows["a"]))]
    frees = np.flatnonzero(are(rows["kind"], Kind.PAGE_FREED))
    after = np.minimum(frees + 1, max(len(rows) - 1, 0))
    again = (after > frees) & (rows["a"][after] == rows["a"][frees])
    again &= are(rows["kind"][after], Kind.PAGE_ALLOCATED)
    lives = np.zeros(len(frees), LIFE)
    for name, source in (("freed", "seq"), ("icount", "icount"), ("pc", "pc"), ("pa", "a")):
        lives[name] = rows[source][frees]
    for name, source in (("freed_by", "id"), ("cpu", "cpu"), ("use", "c"), ("frames", "b")):
        lives[name] = rows[source][frees]
    lives["allocated"] = np.where(again, rows["seq"][after], NEVER)
    for name, source in (("icount", "icount"), ("by", "id"), ("cpu", "cpu")):
        lives[f"allocated_{name}"] = np.where(again, rows[source][after], 0)
    return lives[np.argsort(lives["freed"], kind="stable")]


def unpaired(events: Events, mmu: Mmu) -> list[int]:
    """Numbers of events that say that one before them was missed.

    An allocation of a frame that was in use and not freed, and a free of one that is free already;
    only of single frames, and not behind a block of which only some frames were in use: it is not
    said which. Nor the first allocation of a frame that was only ever part of a 1 GiB page: while
    the kernel boots, mm/debug_vm_pgtable.c maps all memory around its text. None in a trace in
    which every free was seen, and every allocation of a frame that is freed again.
    """
    rows = _frames(events[any_of(events["kind"], _KINDS)])
    rows = rows[np.lexsort((rows["seq"], rows["a"]))]
    freed = are(rows["kind"], Kind.PAGE_FREED)
    after_free = np.zeros(len(rows), np.bool_)
    after_free[1:] = (rows["a"][1:] == rows["a"][:-1]) & freed[:-1]
    known = np.ones(len(rows), np.bool_)
    known[1:] = (rows["a"][1:] != rows["a"][:-1]) | (rows["b"] == rows["d"])[:-1]
    wrong = (rows["b"] == 1) & known & (after_free == freed)
    first = np.ones(len(rows), np.bool_)
    first[1:] = rows["a"][1:] != rows["a"][:-1]
    lone = np.flatnonzero(wrong & first & ~freed & (rows["c"] == Use.LEAF))
    wrong[lone[_only_gigantic(events, rows[lone], mmu)]] = False
    missed: list[int] = rows["seq"][wrong].tolist()
    return sorted(missed)


def _only_gigantic(events: Events, rows: Events, mmu: Mmu) -> npt.NDArray[np.bool_]:
    """Whether the frame of a record was mapped before as part of a 1 GiB page, and never else."""
    user = events["d"] >> np.uint64(63) == 0
    stores = events[are(events["kind"], Kind.PTE_WRITE) & user]
    firsts, ends = _targets(stores, mmu)
    found = np.zeros(len(rows), np.bool_)
    for at, (pa, seq) in enumerate(zip(rows["a"], rows["seq"], strict=True)):
        levels = stores["level"][(firsts <= pa) & (pa < ends) & (stores["seq"] < seq)]
        found[at] = len(levels) and np.all(levels == _GIGANTIC)
    return found


def _frames(records: Events) -> Events:
    """One record for each frame of each block."""
    counts = np.minimum(records["b"], 1 << 20).astype(np.intp)
    rows = np.repeat(records, counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    rows["a"] += (np.arange(len(rows)) - first).astype(np.uint64) * np.uint64(PAGE_SIZE)
    return rows


def mapped_while_free(events: Events, lives: Lives, mmu: Mmu) -> list[int]:
    """Numbers of stores that made a user leaf valid for a frame that was free then.

    None in a trace in which every allocation was seen, of a kernel that maps no free memory.
    """
    user = events["d"] >> np.uint64(63) == 0
    stores = events[are(events["kind"], Kind.PTE_WRITE) & user & (events["c"] != events["b"])]
    firsts, ends = _targets(stores, mmu)
    kept = firsts != ends
    stores, firsts, ends = stores[kept], firsts[kept], ends[kept]
    rows = lives[np.lexsort((lives["freed"], lives["pa"]))]
    found: list[int] = []
    lows = np.searchsorted(rows["pa"], firsts)
    highs = np.searchsorted(rows["pa"], ends)
    for at in np.flatnonzero(lows < highs).tolist():
        frames, seq = rows[lows[at] : highs[at]], stores["seq"][at]
        if np.any((frames["freed"] < seq) & (seq < frames["allocated"])):
            found.append(int(seq))
    return found


def mapped(events: Events, mmu: Mmu) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """PAs of frames that stores made a user slot of level 1 map, and the stores' numbers."""
    user = events["d"] >> np.uint64(63) == 0
    stores = events[are(events["kind"], Kind.PTE_WRITE) & user & (events["level"] == 1)]
    firsts, ends = _targets(stores, mmu)
    return firsts[firsts != ends], stores["seq"][firsts != ends]


def _targets(stores: Events, mmu: Mmu) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """First PA and end PA (exclusive) that each store's new entry maps; equal when none."""
    pairs = np.stack([stores["c"], stores["level"].astype(np.uint64)], axis=1)
    unique, which = np.unique(pairs, axis=0, return_inverse=True)
    ranges = np.zeros((len(unique), 2), np.uint64)
    for at, (entry, level) in enumerate(unique.tolist()):
        if 0 < level < 4 and mmu.leaf(entry, level):
            first = mmu.target(entry, level)
            ranges[at] = first, first + span_of(level)
    chosen = ranges[which.reshape(-1)]
    return chosen[:, 0], chosen[:, 1]
