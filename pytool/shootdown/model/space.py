"""The user half of the page tables, followed event by event, as far as the TLB model needs them.

``pagetables.Shadow`` rebuilds all tables from arrays of events, for the audit; the model asks other
things, after every single store: which address space a slot
belongs to, what an address translates to now, what hangs below a table pointer, and how many leaves
map a page. A table that two roots share (hugetlb PMD sharing) counts for the root it was first
reached from. With PTI an address space has two roots, and goes by the kernel's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.arch.mmu import Mmu
from shootdown.model.pagetables import PAGE_SHIFT, PAGE_SIZE, SLOTS, index_of, span_of
from shootdown.model.smallroots import SmallRoots, slots_of
from shootdown.model.stream import Event
from shootdown.trace.schema import Kind

_SLOT_SHIFT: Final = 3
"""Binary logarithm of an entry's bytes."""
_NEAR: Final = 21
"""Binary logarithm of what a level 1 table maps."""
_STORES: Final = (int(Kind.PTE_WRITE), int(Kind.TABLE_SLOT))


@dataclass(slots=True)
class Leaf:
    """A valid entry that maps memory: its slot's PA, first VA, level and raw value."""

    slot: int
    va: int
    level: int
    entry: int


class _Table:
    def __init__(self, pa: int, root: int, va: int, level: int, size: int = SLOTS) -> None:
        self.pa: Final = pa
        self.root: Final = root
        self.va: Final = va
        self.level: Final = level
        self.size: Final = size
        """How many slots it has."""
        self.slots: Final[dict[int, int]] = {}
        """Non-zero entries by index."""
        self.shared = False
        """Whether it was linked at another place, too, as mm/hugetlb.c huge_pmd_share() does. Its
        entries are then of several addresses and address spaces, and of none that ``va`` and
        ``root`` would name; so nothing is said of them until the page is a table anew."""


class Space:
    """The user page tables as of the last event applied."""

    def __init__(self, mmu: Mmu) -> None:
        self.mmu = mmu
        self._tables: dict[int, _Table] = {}
        self._small = SmallRoots()
        self._near: dict[tuple[int, int], _Table] = {}
        """By root and 2 MiB the level 1 table, while no table changed above it."""
        self.mapped: Final[dict[int, int]] = {}
        """How many level 1 leaves map the page at a PA, where any does."""

    def reads_by(self, mmu: Mmu) -> None:
        """From here on this says what entries mean."""
        self.mmu = mmu
        self._near.clear()

    def apply(self, event: Event) -> None:
        """Follow a ROOT_LEARN, TABLE_LINK, TABLE_SLOT, TABLE_UNLINK, ROOT_FORGET or PTE_WRITE."""
        if event.kind in _STORES:
            self.store(event)
            return
        self._near.clear()
        match event.kind:
            case Kind.ROOT_LEARN:
                root = event.d or event.b
                table = _Table(event.b, root, 0, event.level, slots_of(event.id))
                self._tables[event.b] = table
                self._small.add(event.b, table.size)
            case Kind.TABLE_LINK:
                self._tables[event.b] = _Table(event.b, event.d, event.c, event.level)
            case Kind.TABLE_UNLINK | Kind.ROOT_FORGET:
                self._forget(event.b)

    def store(self, event: Event) -> None:
        """Follow a PTE_WRITE or TABLE_SLOT."""
        slot, new = event.a, event.c
        table: _Table | None = self._tables.get(self._small.table_of(slot))
        if table is None:
            return
        index = slot - table.pa >> _SLOT_SHIFT
        old = table.slots.pop(index, 0)
        if new:
            table.slots[index] = new
        if table.level != 1:
            self._near.clear()
            below = self._below(new, table.level)
            if below is not None and (below.root, below.va) != (table.root, event.d):
                below.shared = True
            return
        if old:
            self._count(old, -1)
        if new:
            self._count(new, 1)

    def root_of(self, slot: int) -> int:
        """PA of the root table above the slot at a PA, 0 when that is not known."""
        table: _Table | None = self._tables.get(self._small.table_of(slot))
        return table.root if table is not None and not table.shared else 0

    def walk(self, root: int, va: int) -> Leaf | None:
        """The leaf that translates ``va`` below ``root`` now; None when there is none."""
        near: _Table | None = self._near.get((root, va >> _NEAR))
        if near is not None:
            index = va >> PAGE_SHIFT & SLOTS - 1
            entry = near.slots.get(index)
            if entry is None or not self.mmu.leaf(entry, 1):
                return None
            return Leaf(near.pa + (index << _SLOT_SHIFT), va & -PAGE_SIZE, 1, entry)
        table: _Table | None = self._tables.get(root)
        while table is not None:
            level = table.level
            if level == 1:
                self._near[root, va >> _NEAR] = table
            index = index_of(va, level)
            entry = table.slots.get(index)
            if entry is None:
                return None
            if self.mmu.leaf(entry, level):
                slot = table.pa + (index << _SLOT_SHIFT)
                return Leaf(slot, va & -span_of(level), level, entry)
            table = self._below(entry, level)
        return None

    def translate(self, root: int, va: int) -> int | None:
        """PA of the page that ``va`` is in now; None when it is not mapped."""
        leaf = self.walk(root, va)
        return None if leaf is None else self.page(leaf, va)

    def mapping(self, page: int) -> tuple[int, Leaf] | None:
        """A level 1 leaf that maps the page at a PA, and the PA of the root above; None without.

        Looks at every slot of every table: for reports only.
        """
        for table in self._tables.values() if page in self.mapped else ():
            for index, entry in table.slots.items() if table.level == 1 else ():
                if self.mmu.leaf(entry, 1) and self.mmu.target(entry, 1) == page:
                    va = table.va + (index << PAGE_SHIFT)
                    return table.root, Leaf(table.pa + (index << _SLOT_SHIFT), va, 1, entry)
        return None

    def linked(self, pa: int) -> tuple[int, int] | None:
        """PA of the root, and first VA, of the table at a PA that a slot points to; else None."""
        table = self._tables.get(pa)
        return None if table is None or table.level >= self.mmu.levels else (table.root, table.va)

    def page(self, leaf: Leaf, va: int) -> int:
        """PA of the page that ``va`` has through a leaf that translates it."""
        return (self.mmu.target(leaf.entry, leaf.level) + (va - leaf.va)) & -PAGE_SIZE

    def unread(self, root: int, va: int) -> bool:
        """Whether ``va`` leads to a table of which the trace has not told yet.

        The plugin reads a table after the store that links it, and other vCPUs use it meanwhile.
        """
        table: _Table | None = self._tables.get(root)
        while table is not None:
            entry, level = table.slots.get(index_of(va, table.level), 0), table.level
            table = self._below(entry, level)
            if table is None:
                return self.mmu.table(entry, level)
        return False

    def leaves(self, entry: int, level: int) -> Iterator[Leaf]:
        """Every valid leaf below the table that ``entry``, in a table of ``level``, points to."""
        table = self._below(entry, level)
        if table is None or table.shared:
            return
        for index, below in table.slots.items():
            if self.mmu.leaf(below, table.level):
                va = table.va + index * span_of(table.level)
                yield Leaf(table.pa + (index << _SLOT_SHIFT), va, table.level, below)
            else:
                yield from self.leaves(below, table.level)

    def _below(self, entry: int, level: int) -> _Table | None:
        """The table that an entry of ``level`` points to, when it is known."""
        if not self.mmu.table(entry, level):
            return None
        table: _Table | None = self._tables.get(self.mmu.target(entry, level))
        return table if table is not None and table.level == level - 1 else None

    def _forget(self, pa: int) -> None:
        table: _Table | None = self._tables.pop(pa, None)
        if table is not None:
            self._small.remove(pa, table.size)
            for entry in table.slots.values() if table.level == 1 else ():
                self._count(entry, -1)

    def _count(self, entry: int, by: int) -> None:
        """An entry of level 1 came (+1) or went (-1)."""
        if self.mmu.leaf(entry, 1):
            page = self.mmu.target(entry, 1)
            mapped = self.mapped
            count = mapped.get(page, 0) + by
            if count:
                mapped[page] = count
            else:
                del mapped[page]
