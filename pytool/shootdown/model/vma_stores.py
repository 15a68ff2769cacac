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

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from shootdown.model.mmap_writers import Writers, holders
from shootdown.model.vma_locks import EXCLUDE
from shootdown.model.vmas import FIELDS
from shootdown.trace.functions import Function
from shootdown.trace.schema import Flag, Kind, Watch
from shootdown.trace.types import Events

JUDGED: Final = (
    *(Watch.VMA_START, Watch.VMA_END, Watch.VMA_FLAGS, Watch.VMA_PAGE_PROT),
    Watch.MM_TREE,
)
_LOCK: Final = (Watch.VMA_LOCK_SEQ, Watch.VMA_DETACHED, Watch.VMA_REFCNT, Watch.MM_LOCK_SEQ)
_BIRTHS: Final = (Function.vm_area_alloc, Function.vm_area_dup)
_DEATHS: Final = (Function.vm_area_free, Function["__vm_area_free"])
_SEQUENCE: Final = (1 << 32) - 1
"""Sequence numbers are of 32 bits."""


class Store(NamedTuple):
    """One store to a VMA in a tree, or to the root of the tree."""

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


@dataclass(slots=True)
class _Vma:
    mm: int = 0
    start: int = 0
    inside: bool = False
    """Whether it is in the tree, as far as known."""
    dead: bool = False
    lock_seq: int | None = None


class _Record(NamedTuple):
    seq: int
    kind: int
    id: int
    b: int
    c: int
    d: int
    flags: int


def stores(events: Events) -> dict[int, Store]:
    """Every such store of a trace by its number. ``events``: of all kinds, by ``seq``."""
    watch = np.isin(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    words = frozenset(np.unique(events["id"][watch]).tolist())
    watch &= np.isin(events["id"], (*FIELDS, *_LOCK, Watch.MM_TREE))
    born = (events["kind"] == Kind.EXIT) & np.isin(events["id"], _BIRTHS)
    died = (events["kind"] == Kind.ENTER) & np.isin(events["id"], _DEATHS)
    kept = events[watch | born | died]
    columns = [kept[name].tolist() for name in _Record._fields]
    reader = _Reader(Writers(events), words)
    for row, holder in zip(zip(*columns, strict=True), holders(events, kept), strict=True):
        reader.tell(_Record._make(row), holder)
    return reader.found


class _Reader:
    def __init__(self, writers: Writers, words: frozenset[int]) -> None:
        """``words``: those that the trace has."""
        self.found: dict[int, Store] = {}
        self._writers: Final = writers
        self._counted: Final = Watch.VMA_REFCNT in words
        self._from_birth: Final = not words & {Watch.VMA_REFCNT, Watch.VMA_LOCK_SEQ}
        self._vmas: dict[int, _Vma] = {}
        self._mm_seq: dict[int, int] = {}

    def tell(self, record: _Record, holder: int) -> None:
        """One record; ``holder`` made it."""
        if record.kind == Kind.EXIT:
            self._vmas[record.b] = _Vma(inside=self._from_birth)
        elif record.kind == Kind.ENTER:
            self._vmas.setdefault(record.b, _Vma()).dead = True
        elif record.id == Watch.MM_LOCK_SEQ:
            self._mm_seq[record.d] = record.c
        elif record.id != Watch.MM_TREE:
            self._word(record, holder)
        elif record.kind == Kind.WATCH:
            self._judge(record, holder, _Vma(mm=record.d))

    def _word(self, record: _Record, holder: int) -> None:
        vma = self._vmas.setdefault(record.d, _Vma())
        if vma.dead:
            return
        if record.kind == Kind.WATCH and vma.inside and record.id in JUDGED:
            self._judge(record, holder, vma)
        if record.id == Watch.VMA_MM:
            vma.mm = record.c
        elif record.id == Watch.VMA_START:
            vma.start = record.c
        elif record.id == Watch.VMA_LOCK_SEQ:
            vma.lock_seq = record.c
        self._place(vma, record)

    def _place(self, vma: _Vma, record: _Record) -> None:
        """What the record says about whether the VMA is in the tree."""
        if record.id == Watch.VMA_REFCNT:
            # A reader's change that is numbered late is from no 0, and so puts nothing back.
            if record.c & ~EXCLUDE == 0:
                vma.inside = False
            elif record.b & ~EXCLUDE == 0:
                vma.inside = True
        elif self._counted or record.kind == Kind.WATCH_INIT:
            return
        elif record.id == Watch.VMA_LOCK_SEQ:
            vma.inside = True
        elif record.id == Watch.VMA_DETACHED:
            vma.inside = not record.c

    def _judge(self, record: _Record, holder: int, vma: _Vma) -> None:
        sequence = self._mm_seq.get(vma.mm)
        locked = None
        if vma.lock_seq is not None and sequence is not None:
            locked = (vma.lock_seq ^ sequence) & _SEQUENCE == 0
        word = Watch(record.id)
        flags = word is Watch.VMA_FLAGS and bool(record.flags & Flag.ATOMIC)
        self.found[record.seq] = Store(
            word=word,
            mm=vma.mm,
            start=vma.start,
            mmap_locked=self._writers.held(vma.mm, holder, record.seq),
            vma_locked=locked,
            atomic_set=flags and record.b & ~record.c == 0,
        )
