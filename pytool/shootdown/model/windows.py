"""How long a CPU might still see what an operation had taken away.

A window opens with the store that supersedes a leaf, for each CPU that may hold a copy, and closes
with the invalidation's effect there. Its length is in guest instructions of all vCPUs (``icount``).
Windows on the CPU that did the store are counted apart: they close by program order.

What became of a window:

* *closed*: the copy was gone before the system call returned.
* *outlived*: it was not, and user code could use it.
* *deferred*: user code could not use the copy when the window opened, or not when the call
  returned (E3, E4, E5). Such a window may last for as long as a CPU idles; its length is left out.
* *reused*: besides any of these, the old frame got a new use while the copy could be used: it
  became a page table, or a leaf at another address began to map it although nothing else had
  mapped it. The latter is also what a page-cache page does that is mapped again elsewhere, without
  ever having been free; moves by the same call (mremap) are left out. Frames in use through other
  leaves, or through large pages, are not followed.

What no system call promises, such as reclaim (E8), cannot outlive one.

A window is *aliased* from the moment another page becomes live at the address while the copy can
be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from shootdown.model.entries import Call, Stale, Superseded
from shootdown.model.listener import Listener
from shootdown.model.machine import Machine
from shootdown.model.pagetables import PAGE_SIZE, span_of
from shootdown.model.space import Leaf
from shootdown.model.stream import Event
from shootdown.model.syscalls import operation


@dataclass(slots=True)
class Windows:
    """What was measured for one operation, of windows on other CPUs; lengths in instructions."""

    operation: str
    replacements: int = 0
    """Live translations that were removed, replaced or narrowed."""
    lengths: list[int] = field(default_factory=list)
    """Of windows that have ended and were not deferred."""
    aliased: list[int] = field(default_factory=list)
    """Lengths of the aliased parts, where there were any, deferred windows left out."""
    closed: int = 0
    deferred: int = 0
    outlived: int = 0
    reused: int = 0
    unfinished: int = 0
    """Still open when the trace ended."""
    own: int = 0
    """Windows on the CPU that did the store."""

    @property
    def count(self) -> int:
        """All windows on other CPUs."""
        return self.closed + self.outlived + self.deferred

    def percentile(self, percent: int) -> int:
        """The smallest length that at least ``percent`` of the windows do not exceed; 0 of none."""
        if not self.lengths:
            return 0
        rank = -(-len(self.lengths) * percent // 100)
        return sorted(self.lengths)[max(rank, 1) - 1]

    @property
    def longest(self) -> int:
        """The longest window, 0 when there is none."""
        return max(self.lengths, default=0)


class _Began:
    """What began in a call that has not returned."""

    def __init__(self, call: Call) -> None:
        self.call: Final = call
        self.stales: Final[list[Stale]] = []
        self.open = 0
        """How many of their windows have not closed; with the last one all is forgotten."""


@dataclass(slots=True, eq=False)
class _Open:
    operation: str
    sole: bool
    """Nothing else mapped the frame when the leaf was superseded."""
    usable: bool
    """When it opened and, once the call has returned, also then."""
    began: _Began | None = None
    returned: bool = False
    reused: bool = False
    aliased_from: int | None = None


class WindowMeter(Listener):
    """Measures on a machine; ``windows`` has the outcome by operation.

    ``work`` names what the kernel was at where no system call promises anything; empty: that has no
    window.
    """

    def __init__(self, machine: Machine, work: Callable[[Superseded], str]) -> None:
        self._machine: Final = machine
        self._work: Final = work
        self._open: dict[Stale, _Open] = {}
        self._of_call: dict[Call, _Began] = {}
        """Of calls that have not returned, if they ever do."""
        self._own: dict[str, _Open] = {}
        """By operation, what all windows on the CPU of the store share: they are counted only."""
        self._frames: dict[int, list[Stale]] = {}
        self.windows: Final[dict[str, Windows]] = {}

    def superseded(self, what: Superseded, stales: Sequence[Stale]) -> None:
        """Windows open."""
        promised = operation(what.call)
        name = promised or self._work(what)
        if not name or what.is_table:
            return
        self._of(name).replacements += 1
        sole = what.level == 1 and self._machine.space.mapped.get(what.target, 0) <= 1
        own: _Open | None = self._own.get(name)
        if own is None:
            own = self._own[name] = _Open(name, sole=False, usable=False)
        stale: Stale
        for stale in stales:
            if stale.cpu == what.cpu:
                self._open[stale] = own
                continue
            began = self._began(what.call, stale) if what.call is not None and promised else None
            self._open[stale] = _Open(name, sole, self._can_use(stale), began)
            if sole:
                self._frames.setdefault(what.target, []).append(stale)

    def restored(self, what: Superseded, stales: Sequence[Stale], event: Event) -> None:
        """Nothing was replaced after all."""
        opened = [window for stale in stales if (window := self._forget(stale))]
        if opened:
            self._of(opened[0].operation).replacements -= 1

    def ended(self, stales: Sequence[Stale], event: Event) -> None:
        """Windows close."""
        if self._open:
            for stale in stales:
                self._close(stale, event)

    def _close(self, stale: Stale, event: Event) -> None:
        window = self._forget(stale)
        if window is None:
            return
        total = self._of(window.operation)
        if stale.cpu == stale.what.cpu:
            total.own += 1
            return
        self._classify(total, window)
        if window.usable:
            total.lengths.append(event.icount - stale.what.icount)
            if window.aliased_from is not None:
                total.aliased.append(event.icount - window.aliased_from)

    def returned(self, call: Call, event: Event) -> None:
        """Windows of the call that are open now have outlived it."""
        began: _Began | None = self._of_call.pop(call, None)
        if began is None:
            return
        for stale in began.stales:
            window: _Open | None = self._open.get(stale)
            if window is not None:
                window.began, window.returned = None, True
                window.usable &= self._can_use(stale)

    def installed(self, root: int, leaf: Leaf, event: Event) -> None:
        """Another page may be live at an address now, or an old frame may have a new use."""
        if not self._open:
            return
        target = self._machine.mmu.target(leaf.entry, leaf.level)
        end = leaf.va + span_of(leaf.level)
        for stale in self._machine.records.overlapping(root, leaf.va, end):
            window = self._open.get(stale)
            if window and window.aliased_from is None and self._can_use(stale):
                va = max(stale.what.va, leaf.va)
                if stale.what.page(va) != (target + va - leaf.va) & -PAGE_SIZE:
                    window.aliased_from = event.icount
        call = self._machine.tasks.cpu(event.cpu).task.call
        for stale in self._frames.get(target, ()) if leaf.level == 1 else ():
            moved = call is not None and stale.what.call is call
            if not moved and (stale.what.root, stale.what.va) != (root, leaf.va):
                self._reuse(stale)

    def linked(self, table: int, event: Event) -> None:
        """An old frame may have become a page table."""
        for stale in self._frames.get(table, ()):
            self._reuse(stale)

    def forgotten(self, root: int) -> None:
        """Copies of a dead address space are no windows any more."""
        for stale in [stale for stale in self._open if stale.what.root == root]:
            self._forget(stale)

    def finish(self) -> None:
        """The trace has ended: what is open is counted, by what became of it so far."""
        for stale, window in self._open.items():
            if stale.cpu != stale.what.cpu:
                total = self._of(window.operation)
                total.unfinished += 1
                self._classify(total, window)

    def _began(self, call: Call, stale: Stale) -> _Began:
        found: _Began | None = self._of_call.get(call)
        if found is None:
            found = self._of_call[call] = _Began(call)
        found.stales.append(stale)
        found.open += 1
        return found

    def _of(self, name: str) -> Windows:
        found = self.windows.get(name)
        if found is None:
            found = self.windows[name] = Windows(name)
        return found

    def _forget(self, stale: Stale) -> _Open | None:
        window: _Open | None = self._open.pop(stale, None)
        if window is not None and window.began is not None:
            window.began.open -= 1
            if not window.began.open:
                del self._of_call[window.began.call]
        if window is not None and window.sole:
            mine = self._frames[stale.what.target]
            mine.remove(stale)
            if not mine:
                del self._frames[stale.what.target]
        return window

    def _reuse(self, stale: Stale) -> None:
        narrowed = stale.what.reason == "permission"  # the frame stays where it is
        if not narrowed and self._can_use(stale):
            self._open[stale].reused = True

    def _can_use(self, stale: Stale) -> bool:
        return self._machine.can_use(stale.cpu, stale.tag)

    @staticmethod
    def _classify(total: Windows, window: _Open) -> None:
        if not window.usable:
            total.deferred += 1
        elif window.returned:
            total.outlived += 1
        else:
            total.closed += 1
        if window.reused:
            total.reused += 1
