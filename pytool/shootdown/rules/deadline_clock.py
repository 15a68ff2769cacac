"""Tells which moments that may be a deadline pass with an event.

A key says whose moment it is and which: of a task, of a CPU, of a call on a stack, of a gather
(struct mmu_gather, known by its address on the task's stack), of the mm of an mmap_lock.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.model.stream import Event
from shootdown.model.tasks import Task, Tasks
from shootdown.model.vma_map import DEATHS, WORDS, Vma, VmaMap
from shootdown.rules.deadline_rows import Moment
from shootdown.trace.functions import Function
from shootdown.trace.schema import Flag, Kind, Watch

LOCKS: Final = (Watch.PTL, Watch.MM_PAGE_TABLE_LOCK)
HEARD: Final = (
    *(Watch.MMAP_LOCK, *LOCKS, Watch.MM_TREE, *WORDS),
    *(Watch.VMA_REFCNT, Watch.VMA_LOCK_SEQ),
)
"""Words that the clock goes by."""
WRITES_OUT: Final = (Function.pageout, Function.swap_writeout, Function.shmem_writeout)
"""What reclaim writes dirty pages with: mm/vmscan.c pageout(), or what 7.2's calls for it."""
WRITER: Final = 1
_READER: Final = 0x100
_WORD: Final = (1 << 64) - 1
EXCLUDE_READERS: Final = 1 << 30
"""include/linux/mm_types.h: VM_REFCNT_EXCLUDE_READERS_FLAG; not part of the count."""

Passed = tuple[Moment, Hashable]


@dataclass(slots=True)
class Gather:
    """A struct mmu_gather that a task has begun with."""

    tlb: int
    mm: int
    nested: bool = True
    """Whether a hold of mmap_lock that ends now began before the gather did."""


class Clock:
    """Follows the locks, gathers and VMAs of a trace, event by event."""

    def __init__(self, tasks: Tasks) -> None:
        self.vmas: Final = VmaMap()
        self.locks_seen = False
        """Whether the trace tells of page-table locks."""
        self.vmas_seen = False
        """Whether it tells of VMAs."""
        self._tasks: Final = tasks
        self._gathers: Final[dict[Task, list[Gather]]] = {}
        self._finishing: Final[dict[Task, dict[int, int]]] = {}
        """Of a task's tlb_finish_mmu under way with a stack pointer: which gather it finishes."""
        self._downgraded: Final[dict[Task, set[int]]] = {}

    def gather(self, task: Task, mm: int) -> Gather | None:
        """The innermost gather for the mm that the task has begun and not finished."""
        for one in reversed(self._gathers.get(task, ())):
            if one.mm == mm:
                return one
        return None

    def back_in_user_mode(self, task: Task) -> None:
        """The task is inside of nothing any more."""
        self._gathers.pop(task, None)
        self._finishing.pop(task, None)
        self._downgraded.pop(task, None)

    def called(self, event: Event) -> Iterator[Passed]:
        """ENTER of a function."""
        task = self._tasks.cpu(event.cpu).task
        if event.id == Function.tlb_gather_mmu:
            mine = self._gathers.setdefault(task, [])
            mine[:] = [one for one in mine if one.tlb != event.b]
            mine.append(Gather(event.b, event.c))
        elif event.id == Function.tlb_finish_mmu:
            self._finishing.setdefault(task, {})[event.a] = event.b
        elif event.id in DEATHS:
            self.vmas.died(event.b)
        elif event.id in WRITES_OUT:
            yield Moment.WRITEOUT, ("dirty", task)
        elif event.id == Function.vma_mas_store and (vma := self.vmas.of(event.b)) is not None:
            yield Moment.STORED, ("stored", task, vma.mm)

    def left(self, event: Event) -> Iterator[Passed]:
        """EXIT of a function."""
        task = self._tasks.cpu(event.cpu).task
        match event.id:
            case Function.tlb_finish_mmu:
                finishing = self._finishing.get(task, {})
                yield from self._finished(task, finishing.pop(event.a, 0))
            case Function.try_to_unmap_flush:
                yield Moment.BATCH, ("batch", task)
            case Function.try_to_unmap_flush_dirty if not event.flags & Flag.TAIL:
                yield Moment.BATCH, ("dirty", task)
            case Function.free_pgtables:
                yield Moment.UNLINK, ("unlink", task)
        yield Moment.RETURN, ("return", task, event.id, event.a)

    def _finished(self, task: Task, tlb: int) -> Iterator[Passed]:
        mine = self._gathers.get(task, [])
        left = [one for one in mine if one.tlb != tlb]
        if len(left) == len(mine):  # tlb_gather_mmu_fullmm() began it
            yield Moment.GATHER, ("exit", task)
            return
        mine[:] = left
        yield Moment.GATHER, ("gather", task, tlb)

    def watched(self, event: Event) -> Iterator[Passed]:
        """A word was written, or is watched from here on."""
        word = event.id
        if word in LOCKS:
            self.locks_seen = True
            if event.kind == Kind.WATCH:
                yield Moment.PTL, ("taken" if event.c else "ptl", event.cpu)
        elif word == Watch.MMAP_LOCK:
            if event.kind == Kind.WATCH:
                yield from self._mmap_lock(event)
        else:
            self.vmas_seen = True
            if event.kind == Kind.WATCH:
                yield from self._stored(event)
            if word in WORDS:
                self.vmas.tell(event)

    def _mmap_lock(self, event: Event) -> Iterator[Passed]:
        task, mm = self._tasks.cpu(event.cpu).task, event.d
        step = event.c - event.b & _WORD
        downgraded = self._downgraded.setdefault(task, set())
        released = step == -WRITER & _WORD and event.b & WRITER
        if step == -_READER & _WORD:
            released = mm in downgraded
            yield from self._end_of_hold(task, mm)
        downgraded.discard(mm)
        if released:
            yield from self._end_of_hold(task, mm)
            yield Moment.UNLOCK, ("unlock", task, mm)
        elif step == _READER - WRITER and event.b & WRITER:
            downgraded.add(mm)
            return
        for gather in self._gathers.get(task, ()):
            if gather.mm == mm:
                gather.nested = False

    def _end_of_hold(self, task: Task, mm: int) -> Iterator[Passed]:
        for gather in self._gathers.get(task, ()):
            if gather.mm == mm and gather.nested:
                yield Moment.UNLOCK, ("nested", task, gather.tlb)

    def _stored(self, event: Event) -> Iterator[Passed]:
        """Whether the store lets others find a new VMA, or one where none was."""
        task, mm = self._tasks.cpu(event.cpu).task, event.d
        if event.id != Watch.MM_TREE:
            vma = self.vmas.of(event.d)
            if vma is None or not _reaches(vma, event):
                return
            mm = vma.mm
        yield Moment.STORED, ("stored", task, mm)


def _reaches(vma: Vma, event: Event) -> bool:
    """Whether the VMA is in the tree anew, or in it and reaches elsewhere, by a store to a word."""
    match event.id:
        case Watch.VMA_REFCNT if event.b & ~EXCLUDE_READERS or not event.c & ~EXCLUDE_READERS:
            return False
        case Watch.VMA_REFCNT | Watch.VMA_LOCK_SEQ:
            was, vma.inside = vma.inside, True
            return not was or event.id == Watch.VMA_REFCNT
        case Watch.VMA_START | Watch.VMA_END:
            return vma.inside
    return False
