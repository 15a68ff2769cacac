"""Stores to what others read of a VMA, and of the tree of them: which locks they were made under.

A VMA is in its mm's tree, where others can find it, from when ``vm_refcnt`` leaves 0 until it is 0
again (from 6.15 on, include/linux/mmap_lock.h). From 6.4 to 6.14 a newborn VMA is not marked
detached; it is locked to write before it goes into the tree (``vma_start_write``,
include/linux/mm.h), so it is taken to be there from the first store of ``vm_lock_seq`` on, until
``detached`` is set. Before 6.4 no word tells, and it is judged from birth to death.

All these words are stored by whoever holds mmap_lock to write, but for counts by readers, which
never begin or end at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shootdown.model.latest import At, firsts, latest_before
from shootdown.model.mmap_writers import Writers, holders
from shootdown.model.running import Running
from shootdown.model.stream import Mask
from shootdown.model.vma_locks import COUNT, SEQUENCE
from shootdown.model.vma_map import DEATHS
from shootdown.model.vmas import FIELDS
from shootdown.trace.columns import Columns, any_of, are
from shootdown.trace.functions import Function
from shootdown.trace.schema import Flag, Kind, Watch
from shootdown.trace.types import Events

JUDGED: Final = (
    *(Watch.VMA_START, Watch.VMA_END, Watch.VMA_FLAGS, Watch.VMA_PAGE_PROT),
    Watch.MM_TREE,
)
_OF_VMAS: Final = (*FIELDS, Watch.VMA_LOCK_SEQ, Watch.VMA_DETACHED, Watch.VMA_REFCNT)
_OF_MMS: Final = (Watch.MM_LOCK_SEQ, Watch.MM_TREE)
_BIRTHS: Final = (Function.vm_area_alloc, Function.vm_area_dup)
_UNKNOWN: Final = -1

_Words = npt.NDArray[np.uint64]


class Store(NamedTuple):
    """One store to a VMA in a tree, or to the root of the tree."""

    seq: int
    word: Watch
    mm: int
    start: int
    """Where the VMA began before it; 0 for the tree's root."""
    mmap_locked: bool
    """Whether the storing task held mmap_lock of the mm to write."""
    vma_locked: bool | None
    """Whether the VMA was locked to write; None where no word tells."""
    atomic_set: bool
    """Whether it only set flags, atomically."""


@dataclass(frozen=True)
class Stores:
    """Many of them, in the order of ``seq``, field by field."""

    seq: _Words
    word: npt.NDArray[np.uint16]
    mm: _Words
    start: _Words
    mmap_locked: Mask
    vma_locked: npt.NDArray[np.int8]
    """-1 where no word tells."""
    atomic_set: Mask

    def of(self, which: Mask) -> Iterator[Store]:
        """The chosen ones."""
        columns = [getattr(self, name)[which].tolist() for name in Store._fields]
        for seq, word, mm, start, mmap_locked, known, atomic_set in zip(*columns, strict=True):
            locked = None if known == _UNKNOWN else bool(known)
            yield Store(seq, Watch(word), mm, start, mmap_locked, locked, atomic_set)


def stores(events: Events) -> Stores:
    """Every such store of a trace. ``events``: of all kinds, by ``seq``."""
    kind, function = events["kind"], events["id"]
    watch = any_of(kind, (Kind.WATCH, Kind.WATCH_INIT))
    words = frozenset(np.unique(function[watch]).tolist())
    kept = watch & any_of(function, (*_OF_VMAS, *_OF_MMS))
    kept |= are(kind, Kind.EXIT) & any_of(function, _BIRTHS)
    kept |= are(kind, Kind.ENTER) & any_of(function, DEATHS)
    rows = events[kept]
    lives = _Lives(Columns(rows), words)
    mine = np.sort(np.concatenate([lives.judged, _trees(rows)]))
    tree = are(rows["id"][mine], Watch.MM_TREE)
    mm = np.where(tree, rows["d"][mine], lives.mm[mine])
    flags = are(rows["id"][mine], Watch.VMA_FLAGS)
    flags &= rows["flags"][mine] & Flag.ATOMIC != 0
    held = Writers(events).held(mm, holders(Running(events), rows[mine]), rows["seq"][mine])
    return Stores(
        seq=rows["seq"][mine],
        word=rows["id"][mine],
        mm=mm,
        start=np.where(tree, np.uint64(0), lives.start[mine]),
        mmap_locked=held,
        vma_locked=np.where(tree, _UNKNOWN, lives.locked(rows, mine)).astype(np.int8),
        atomic_set=flags & (rows["b"][mine] & ~rows["c"][mine] == 0),
    )


def _trees(rows: Events) -> At:
    found = are(rows["kind"], Kind.WATCH) & are(rows["id"], Watch.MM_TREE)
    return np.flatnonzero(found)


class _Lives:
    """What each VMA was before each of ``rows``, by place among them."""

    def __init__(self, rows: Columns, words: frozenset[int]) -> None:
        """``words``: those that the trace has."""
        kind, id, value = rows["kind"], rows["id"], rows["c"]
        birth, death = are(kind, Kind.EXIT), are(kind, Kind.ENTER)
        vma = np.where(birth | death, rows["b"], rows["d"])
        about = np.flatnonzero(birth | death | any_of(id, _OF_VMAS))
        order = about[np.argsort(vma[about], kind="stable")]
        birth, death, vma = birth[order], death[order], vma[order]
        id, kind = id[order], kind[order]
        begins = birth | (np.diff(vma, prepend=vma[:1] + np.uint64(1)) != 0)
        first = self._first = firsts(begins)
        alive = latest_before(death, first) < 0
        told = alive & ~birth & ~death
        counted = Watch.VMA_REFCNT in words
        old, new = rows["b"][order], value[order]
        sets, inside = _counts(id, old, new) if counted else _marks(id, kind, new)
        at = latest_before(told & sets, first)
        from_birth = not words & {Watch.VMA_REFCNT, Watch.VMA_LOCK_SEQ}
        here = np.where(at >= 0, inside[at], birth[first] & from_birth)
        judged = told & here & are(kind, Kind.WATCH) & any_of(id, JUDGED[:-1])
        self.judged: Final[At] = order[judged]
        """The stores to VMAs in a tree."""
        length = len(rows)
        self.mm: Final = self._before(told & are(id, Watch.VMA_MM), value, order, length)[0]
        self.start: Final = self._before(told & are(id, Watch.VMA_START), value, order, length)[0]
        self._lock = self._before(told & are(id, Watch.VMA_LOCK_SEQ), value, order, length)

    def _before(self, which: Mask, value: _Words, order: At, length: int) -> tuple[_Words, Mask]:
        """For each place the value of the last such record of that VMA, and if there is one."""
        at = latest_before(which, self._first)
        found, known = np.zeros(length, np.uint64), np.zeros(length, np.bool_)
        found[order] = np.where(at >= 0, value[order[at]], np.uint64(0))
        known[order] = at >= 0
        return found, known

    def locked(self, rows: Events, mine: At) -> npt.NDArray[np.int8]:
        """Whether the VMA of each place was locked to write; -1 where that is not known."""
        value, known = self._lock
        sequences = np.flatnonzero(are(rows["id"], Watch.MM_LOCK_SEQ))
        mms, number = np.unique(rows["d"][sequences], return_inverse=True)
        keys = number.astype(np.int64) * len(rows) + sequences
        order = np.argsort(keys)
        place = np.searchsorted(mms, self.mm[mine])
        there = (place < len(mms)) & known[mine]
        there[there] = mms[place[there]] == self.mm[mine][there]
        at = np.searchsorted(keys[order], place.astype(np.int64) * len(rows) + mine) - 1
        there &= at >= 0
        there[there] = number[order[at[there]]] == place[there]
        found = np.full(len(mine), _UNKNOWN, np.int8)
        now = rows["c"][sequences[order[at[there]]]]
        found[there] = (value[mine][there] ^ now) & np.uint64(SEQUENCE) == 0
        return found


def _counts(id: npt.NDArray[Any], old: _Words, new: _Words) -> tuple[Mask, Mask]:
    """Which counts say whether a VMA is in the tree, and what.

    A reader's change that is numbered late is from no 0, and so puts nothing back.
    """
    counts = are(id, Watch.VMA_REFCNT)
    out = new & COUNT == 0
    return counts & (out | (old & COUNT == 0)), ~out


def _marks(id: npt.NDArray[Any], kind: npt.NDArray[Any], new: _Words) -> tuple[Mask, Mask]:
    """The same of the words that kernels without such a count have."""
    locks = are(id, Watch.VMA_LOCK_SEQ)
    sets = (locks | are(id, Watch.VMA_DETACHED)) & are(kind, Kind.WATCH)
    return sets, locks | (new == 0)
