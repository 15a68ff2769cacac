"""What the two rules about freed frames share: which stale copies lead to a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from shootdown.model.entries import Stale, Superseded
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.pagetables import PAGE_SHIFT, span_of
from shootdown.model.stream import Event
from shootdown.model.syscalls import operation
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.trace.functions import NAMES
from shootdown.trace.schema import Kind

_LARGEST = 1 << 10
"""Frames of the largest block that the allocator has (MAX_PAGE_ORDER is 10 with pages of 4 KiB)."""
_WIDEST = 1 << 9
"""Frames of a block that are looked up one by one; larger ones are compared by their bounds."""


class FreedFrames(Rule):
    """Keeps the living stale copies by the frames that they lead to."""

    needs: ClassVar = (Kind.PTE_WRITE, Kind.ROOT_LOAD, Kind.RET_USER, Kind.PAGE_FREED)
    deaf: ClassVar = HOOKS
    tables: ClassVar[bool]
    """Whether the frames are those of page tables, else those of user memory."""

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._small: dict[int, dict[Stale, None]] = {}
        self._wide: list[Stale] = []
        self._shared: set[int] = set()
        """Frames that another CPU's TLB may have led to when their entry was taken away."""

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without the life of frames nobody knows when one was freed."""
        if Kind.PAGE_FREED not in scene.kinds:
            return "the trace does not tell when frames are freed: record it with --events pages"
        return super().idle(scene)

    def usable(self, stale: Stale) -> bool:
        """Whether it would do harm if the frame were somebody else's now."""
        raise NotImplementedError

    def use_of(self, page: int) -> tuple[int, int, int] | None:
        """An entry in memory that leads to the frame at a PA; None when there is none.

        PA of the root above it, first VA that it translates, and the raw entry (0: not known).
        """
        raise NotImplementedError

    def superseded(self, what: Superseded, stales: Sequence[Stale]) -> None:
        """Note the copies, under the frames they lead to."""
        if what.is_table is not self.tables:
            return
        for stale in stales:
            self._keep(stale)
        if what.shared:
            self._shared.update(_frames(what))

    def restored(self, what: Superseded, stales: Sequence[Stale], event: Event) -> None:
        """The entry is good again."""
        for stale in stales:
            self._drop(stale)

    def ended(self, stales: Sequence[Stale], event: Event) -> None:
        """The copies are gone."""
        for stale in stales:
            self._drop(stale)

    def forgotten(self, root: int) -> None:
        """The address space is gone, and its copies with it."""
        gone = [s for stales in self._small.values() for s in stales if s.what.root == root]
        for stale in gone:
            self._drop(stale)
        self._wide = [stale for stale in self._wide if stale.what.root != root]

    def freed(self, event: Event) -> None:
        """Whether anything still leads to the frames that are freed."""
        first, end = event.a >> PAGE_SHIFT, (event.a >> PAGE_SHIFT) + max(event.b, 1)
        for frame in range(first, min(end, first + _LARGEST)):
            use = self.use_of(frame << PAGE_SHIFT)
            if use is not None:
                self._report_use(frame << PAGE_SHIFT, *use, event)
                break
        if not (self._small or self._shared or self._wide):
            return
        if self._take_shared(first, end):
            self.exercised()
        left = [stale for stale in self._leading_to(first, end) if self.usable(stale)]
        if left:
            self._report(left, event)

    def _report(self, left: Sequence[Stale], event: Event) -> None:
        stale = min(left, key=lambda one: (one.what.seq, one.cpu))
        what = stale.what
        cpus = sorted({one.cpu for one in left})
        kind = "page table" if self.tables else "page"
        self.found(
            "may",
            what,
            operation=operation(what.call) or "background",
            cpus=cpus,
            seq=[what.seq, event.seq],
            summary=(
                f"the {kind} at PA {event.a:#x} was freed by {NAMES.get(event.id, event.id)}() on "
                f"CPU {event.cpu}, and CPU {', '.join(map(str, cpus))} may still reach it through "
                f"VA {what.va:#x}"
            ),
            missing=self.machine.tlb.remedy(stale),
            count=len(left),
        )

    def _report_use(self, page: int, root: int, va: int, entry: int, event: Event) -> None:
        self.exercised()
        call = self.machine.tasks.cpu(event.cpu).task.call
        kind = "page table" if self.tables else "page"
        self.found_at(
            event,
            operation=operation(call) or "background",
            mm=self.machine.mm(root),
            va=va,
            seq=[event.seq],
            summary=(
                f"the {kind} at PA {page:#x} was freed by {NAMES.get(event.id, event.id)}() on "
                f"CPU {event.cpu} while the entry of VA {va:#x} led to it"
            ),
            missing="the store that takes the entry away",
            before=entry,
            after=entry,
            kind="witness",
        )

    def _take_shared(self, first: int, end: int) -> bool:
        if end - first > _WIDEST:
            mine = {frame for frame in self._shared if first <= frame < end}
        else:
            mine = self._shared.intersection(range(first, end))
        self._shared -= mine
        return bool(mine)

    def _leading_to(self, first: int, end: int) -> Iterator[Stale]:
        if end - first > _WIDEST:
            frames: Iterable[int] = [frame for frame in self._small if first <= frame < end]
        else:
            frames = range(first, end)
        for frame in frames:
            yield from self._small.get(frame, ())
        for stale in self._wide:
            start = stale.what.target >> PAGE_SHIFT
            if start < end and first < start + (span_of(stale.what.level) >> PAGE_SHIFT):
                yield stale

    def _keep(self, stale: Stale) -> None:
        if self._is_wide(stale):
            self._wide.append(stale)
        else:
            self._small.setdefault(stale.what.target >> PAGE_SHIFT, {})[stale] = None

    def _drop(self, stale: Stale) -> None:
        if stale.what.is_table is not self.tables:
            return
        if self._is_wide(stale):
            if stale in self._wide:
                self._wide.remove(stale)
            return
        frame = stale.what.target >> PAGE_SHIFT
        kept = self._small.get(frame)
        if kept is not None:
            kept.pop(stale, None)
            if not kept:
                del self._small[frame]

    def _is_wide(self, stale: Stale) -> bool:
        return not self.tables and stale.what.level > 1


def _frames(what: Superseded) -> range:
    frames = 1 if what.is_table else span_of(what.level) >> PAGE_SHIFT
    first = what.target >> PAGE_SHIFT
    return range(first, first + min(frames, _WIDEST))
