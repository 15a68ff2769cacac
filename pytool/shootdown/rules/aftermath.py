"""What calls that have returned took away, to recognise an access that still uses it.

Only pages that the trace has accesses for are remembered. A memory ends when the same translation
comes back, or its address space goes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shootdown.model.entries import Call, Superseded
from shootdown.model.machine import Machine
from shootdown.model.pagetables import PAGE_SHIFT, PAGE_SIZE, span_of
from shootdown.model.space import Leaf
from shootdown.model.stream import Event
from shootdown.trace.schema import Flag, Kind

_STORE: Final = int(Flag.STORE)


@dataclass(slots=True, eq=False)
class Gone:
    """A translation that ``call``, which has returned, took away."""

    what: Superseded
    call: Call
    operation: str


class _Page:
    """What is gone from one page of one address space, by the PA it had; the latest counts."""

    def __init__(self) -> None:
        self.elsewhere: Final[dict[int, Gone]] = {}
        """The page is not at this PA any more."""
        self.read_only: Final[dict[int, Gone]] = {}
        """The page is still at this PA, and may not be written any more."""


class Aftermath:
    """Remembers what is gone, of the pages that the trace has accesses for."""

    def __init__(self, machine: Machine) -> None:
        self._machine: Final = machine
        self._memory: dict[int, dict[int, _Page]] = {}

    def returned(self, call: Call, operation: str, taken: Iterable[Superseded]) -> None:
        """Remember what a successful call answers for and what is still away now."""
        what: Superseded
        for what in taken:
            for number in () if what.is_table else self._observed(what.va, what.end):
                va = number << PAGE_SHIFT
                pa, now = what.page(va), self._machine.space.walk(what.root, va)
                if now is None or self._machine.space.page(now, va) != pa:
                    self._page(what.root, number).elsewhere[pa] = Gone(what, call, operation)
                elif self._lost_write(what, now):
                    self._page(what.root, number).read_only[pa] = Gone(what, call, operation)

    def installed(self, root: int, leaf: Leaf) -> None:
        """Forget what the leaf makes good again."""
        memory = self._memory.get(root)
        if not memory:
            return
        first, count = leaf.va >> PAGE_SHIFT, span_of(leaf.level) >> PAGE_SHIFT
        if count == 1 and first not in memory:
            return
        mmu, target = self._machine.mmu, self._machine.mmu.target(leaf.entry, leaf.level)
        for number in [first] if count == 1 else [n for n in memory if 0 <= n - first < count]:
            page: _Page | None = memory.get(number)
            if page is not None:
                pa = target + (number << PAGE_SHIFT) - leaf.va
                page.elsewhere.pop(pa, None)
                if mmu.writable(leaf.entry, leaf.level):
                    page.read_only.pop(pa, None)
                if not page.elsewhere and not page.read_only:
                    del memory[number]

    def linked(self, event: Event) -> None:
        """Forget what a table may have brought back with it (TABLE_LINK)."""
        memory = self._memory.get(event.d)
        if memory:
            for number in self._observed(event.c, event.c + span_of(event.level + 1)):
                memory.pop(number, None)

    def remembers(self, page: int) -> bool:
        """Whether something is gone from the page (VA >> 12) of any address space."""
        for memory in self._memory.values():  # noqa: SIM110 (asked at every access: no generator)
            if page in memory:
                return True
        return False

    def forgotten(self, root: int) -> None:
        """Forget an address space."""
        self._memory.pop(root, None)

    def use(self, event: Event) -> Gone | None:
        """The translation that is gone and that the access (OBS) proves its CPU to have used.

        The number of an access is drawn after it, so it is evidence only when the CPU's record
        before it is younger than the return of the call. And a store that makes the translation
        good again may be numbered late: no other vCPU may have a store to an entry for the address
        as its next record. Nor is an access evidence while the address leads to a table that was
        linked and is being read: the translation may have come back with it.
        """
        root, pa = self._machine.tlb.root(event.cpu), event.b & -PAGE_SIZE
        page = self._memory.get(root, {}).get(event.a >> PAGE_SHIFT)
        if page is None:
            return None
        gone = page.elsewhere.get(pa)
        if gone is not None and self._machine.space.translate(root, event.a) == pa:
            gone = None
        if gone is None and event.flags & _STORE:
            gone = page.read_only.get(pa)
        if gone is None or event.prev <= gone.call.end or self._in_doubt(event):
            return None
        return gone

    def _page(self, root: int, number: int) -> _Page:
        memory = self._memory.setdefault(root, {})
        found: _Page | None = memory.get(number)
        if found is None:
            found = memory[number] = _Page()
        return found

    def _lost_write(self, what: Superseded, now: Leaf) -> bool:
        mmu = self._machine.mmu
        return mmu.writable(what.old, what.level) and not mmu.writable(now.entry, now.level)

    def _in_doubt(self, event: Event) -> bool:
        root = self._machine.tlb.root(event.cpu)
        return self._machine.space.unread(root, event.a) or any(
            record.kind == Kind.PTE_WRITE and record.d <= event.a < record.d + span_of(record.level)
            for record in self._machine.sequel.next_of_others(event.cpu, event.seq)
        )

    def _observed(self, start: int, end: int) -> list[int]:
        """Numbers of the pages that matter in ``start``..``end`` (VA, exclusive)."""
        pages = self._machine.pages
        first = bisect_left(pages, start >> PAGE_SHIFT)
        if first == len(pages) or pages[first] << PAGE_SHIFT >= end:
            return []
        last = end + PAGE_SIZE - 1 >> PAGE_SHIFT
        if first + 1 == len(pages) or pages[first + 1] >= last:
            return [pages[first]]
        return pages[first : bisect_left(pages, last, first)]
