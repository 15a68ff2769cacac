"""What the trace shows of each phase of the counting guest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shootdown import arch as arches
from shootdown.arch.mmu import Mmu
from shootdown.model import stream
from shootdown.model.counting.figures import Figures
from shootdown.model.counting.flushes import Flushes, Reader
from shootdown.model.counting.flushes_arm64 import Arm64Flushes
from shootdown.model.counting.flushes_x86 import X86Flushes
from shootdown.model.locks import Locks, Move, transitions
from shootdown.model.pagetables import PAGE_SIZE
from shootdown.model.space import Space
from shootdown.model.stream import Event, Trace
from shootdown.model.tasks import Task, Tasks, text
from shootdown.trace.schema import Kind, Mark, Probe, RootReg

FLUSHES: Final[Mapping[str, Flushes]] = {"x86_64": X86Flushes(), "arm64": Arm64Flushes()}
"""By architecture."""

_MOVES: Final = {
    Move.WRITE_ACQUIRE: "write_acquired",
    Move.WRITE_RELEASE: "write_released",
    Move.READ_ACQUIRE: "read_acquired",
    Move.READ_RELEASE: "read_released",
    Move.DOWNGRADE: "downgraded",
}
_USER_ROOTS: Final = (RootReg.CR3, RootReg.TTBR0)
_KERNEL_HALF: Final = 1 << 63


class Layout(NamedTuple):
    """Where the workload works: VAs, and numbers of 4 KiB pages; as its note says."""

    source: int
    pages: int
    target: int
    moved: int


@dataclass(frozen=True)
class Stray:
    """A fault outside of what the phase works on: a page that a fork had made shared, mostly."""

    user: bool
    """Whether user mode took it."""
    outcome: str
    """What became of the slot: "copied", "widened" or "added"; empty when nothing did."""

    @property
    def refused(self) -> bool:
        """Whether the kernel's own access failed: it does something else then, or tries again."""
        return not self.user and not self.outcome


@dataclass(frozen=True)
class Phase:
    """One phase of one iteration; the first iteration, 0, only warms up."""

    name: str
    iteration: int
    pages: int
    figures: Figures
    strays: tuple[Stray, ...]


def phases(trace: Trace) -> list[Phase]:
    """Every whole phase in the trace, in order. Raises UsageError for an unknown architecture."""
    events = trace.events()
    counter = _Counter(trace.arch)
    for event in stream.stream(events, counter.handlers):
        counter.handlers[event.kind](event)
    locks = transitions(events)
    return [phase.close(locks) for phase in counter.done]


@dataclass
class _Stay:
    """The thread runs on ``cpu`` from number ``start`` to number ``end``."""

    cpu: int
    start: int
    end: int = 1 << 64


@dataclass
class _Fault:
    va: int
    user: bool
    stores: list[tuple[bool, bool, bool]] = field(default_factory=list)
    """Of each store to the slot: whether it was valid, is valid, and maps the same page."""

    def stray(self) -> Stray:
        """What the stores to the slot come to."""
        if not self.stores:
            return Stray(self.user, "")
        was, same = self.stores[0][0], all(same for _, _, same in self.stores)
        return Stray(self.user, "added" if not was else "widened" if same else "copied")


class _Phase:
    """A phase that is being read."""

    def __init__(self, name: str, iteration: int, pages: int, task: Task, root: int) -> None:
        self.name, self.iteration, self.pages = name, iteration, pages
        self.task, self.root = task, root
        self.counts: Counter[str] = Counter()
        self.flushes: Reader = Reader()
        self.before: list[int | None] = []
        self.stays: list[_Stay] = []
        self.faults: list[_Fault] = []
        self.strays: list[_Fault] = []
        self.works_on: set[int] = set()
        """VAs of the pages it works on."""

    def close(self, locks: Locks) -> Phase:
        """The phase's figures, with those of the locks."""
        for move in locks.transitions:
            if any(s.cpu == move.cpu and s.start < move.seq < s.end for s in self.stays):
                self.counts[_MOVES.get(move.move, "other_moves")] += move.move is not Move.INIT
        flushes = self.flushes
        for name in ("requests", "instructions", "pages", "whole", "published", "completed"):
            self.counts[name] = getattr(flushes, name)
        self.counts["covered"] = len(flushes.covered & self.works_on)
        strays = tuple(fault.stray() for fault in self.strays)
        self.counts["refused"] = sum(stray.refused for stray in strays)
        return Phase(self.name, self.iteration, self.pages, Figures(**self.counts), strays)


class _Counter:
    """Reads the events of a trace; ``done`` are the phases that ended."""

    def __init__(self, arch: str) -> None:
        found = arches.get(arch)
        self.done: list[_Phase] = []
        self.handlers: Final[dict[int, Callable[[Event], None]]] = {
            Kind.ROOT_LEARN: self._table,
            Kind.ROOT_FORGET: self._table,
            Kind.TABLE_LINK: self._table,
            Kind.TABLE_SLOT: self._table,
            Kind.TABLE_UNLINK: self._table,
            Kind.PTE_WRITE: self._store,
            Kind.FLUSH: self._flush,
            Kind.BARRIER: self._flush,
            Kind.ROOT_LOAD: self._root_load,
            Kind.PROBE: self._probe,
            Kind.PROBE_MORE: self._more,
            Kind.MARK: self._mark,
        }
        self._mmu: Final[Mmu] = found.mmu
        self._flushes: Final = FLUSHES[arch]
        self._tasks: Final = Tasks(found.kernel.syscalls)
        self._space: Final = Space(self._mmu)
        self._roots: dict[int, int] = {}
        self._layout: Layout | None = None
        self._iteration = 0
        self._open: _Phase | None = None

    # Where the thread is.

    def _running(self, cpu: int) -> _Phase | None:
        """The open phase, when its thread is what the CPU runs."""
        phase = self._open
        return phase if phase and self._tasks.cpu(cpu).task is phase.task else None

    def _probe(self, event: Event) -> None:
        if event.id == Probe.FAULT:
            self._fault(event)
            return
        left = self._running(event.cpu)
        self._tasks.probe(event, self._roots.get(event.cpu, 0))
        came = self._running(event.cpu)
        if left and not came:
            left.stays[-1].end = event.seq
        elif came and not left:
            came.stays.append(_Stay(event.cpu, event.seq))

    def _more(self, event: Event) -> None:
        self._tasks.probe_more(event)

    def _root_load(self, event: Event) -> None:
        phase = self._running(event.cpu)
        if phase:
            switching = self._tasks.cpu(event.cpu).in_switch
            phase.flushes.see(event, switching=switching)
        self._tasks.root_load(event)
        if event.id in _USER_ROOTS:
            self._roots[event.cpu] = event.b

    # What it does.

    def _table(self, event: Event) -> None:
        self._space.apply(event)

    def _flush(self, event: Event) -> None:
        phase = self._running(event.cpu)
        if phase:
            phase.flushes.see(event, switching=False)

    def _store(self, event: Event) -> None:
        phase = self._running(event.cpu)
        root = self._space.root_of(event.a)
        self._space.apply(event)
        if not phase:
            return
        if root == phase.root:
            phase.flushes.store()
        if event.level == 1:
            self._leaf(phase, event, own=root == phase.root)

    def _leaf(self, phase: _Phase, event: Event, *, own: bool) -> None:
        mmu = self._mmu
        was, now = mmu.leaf(event.b, 1), mmu.leaf(event.c, 1)
        same = was and now and mmu.target(event.b, 1) == mmu.target(event.c, 1)
        if event.d in phase.works_on:
            phase.counts[_store_name(was, now, same, own)] += 1
        elif own and phase.faults and phase.faults[-1].va == event.d:
            phase.faults[-1].stores.append((was, now, same))

    def _fault(self, event: Event) -> None:
        phase = self._running(event.cpu)
        if not phase or event.a & _KERNEL_HALF:
            return
        fault = _Fault(event.a & -PAGE_SIZE, self._flushes.user_fault(event.b))
        phase.counts["faults"] += 1
        phase.faults.append(fault)
        if fault.va not in phase.works_on:
            phase.strays.append(fault)

    # Marks.

    def _mark(self, event: Event) -> None:
        self._tasks.mark(event)
        if event.id == Mark.NOTE:
            self._layout = Layout(event.a, event.b, event.c, event.d)
        elif event.id == Mark.ITER:
            self._iteration = event.a
        elif event.id == Mark.BEGIN and self._layout:
            self._begin(event, self._layout)
        elif event.id == Mark.END and self._open and self._layout:
            self._end(event, self._open, self._layout)

    def _begin(self, event: Event, layout: Layout) -> None:
        task, root = self._tasks.cpu(event.cpu).task, self._roots.get(event.cpu, 0)
        phase = _Phase(text(event.a, event.b), self._iteration, event.c, task, root)
        phase.flushes = self._flushes.reader()
        phase.stays.append(_Stay(event.cpu, event.seq))
        phase.works_on = set(_pages(layout.source, phase.pages))
        phase.works_on |= set(_pages(layout.target, layout.moved))
        phase.before = self._mapped(root, layout.source, phase.pages)
        phase.counts["present_before"] = _present(phase.before)
        self._open = phase

    def _end(self, event: Event, phase: _Phase, layout: Layout) -> None:
        if text(event.a, event.b) != phase.name:
            return
        after = self._mapped(phase.root, layout.source, phase.pages)
        target = self._mapped(phase.root, layout.target, layout.moved)
        phase.counts["present_after"] = _present(after)
        phase.counts["target_present"] = _present(target)
        phase.counts["pfn_changed"] = sum(
            old is not None and new is not None and old != new
            for old, new in zip(phase.before, after, strict=True)
        )
        phase.stays[-1].end = event.seq
        self.done.append(phase)
        self._open = None

    def _mapped(self, root: int, start: int, pages: int) -> list[int | None]:
        return [self._space.translate(root, va) for va in _pages(start, pages)]


def _store_name(was: bool, now: bool, same: bool, own: bool) -> str:
    """The figure that a store to a slot of the phase counts for."""
    if not own:
        return "copied" if now else "removed"
    if was and now:
        return "changed" if same else "replaced"
    return "added" if now else "removed"


def _present(pages: list[int | None]) -> int:
    return sum(page is not None for page in pages)


def _pages(start: int, pages: int) -> range:
    """The VAs of the pages."""
    return range(start, start + pages * PAGE_SIZE, PAGE_SIZE)
