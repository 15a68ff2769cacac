"""The page tables of the guest, rebuilt from the event stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.arch.mmu import Mmu
from shootdown.model.smallroots import SmallRoots, slots_of
from shootdown.trace.columns import any_of
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events, Slots

SLOTS: Final = 512
PAGE_SHIFT: Final = 12
PAGE_SIZE: Final = 1 << PAGE_SHIFT
_DETAILS: Final = 10
_CONTENT: Final = (Kind.TABLE_SLOT, Kind.PTE_WRITE)
_STRUCTURE: Final = (Kind.ROOT_LEARN, Kind.ROOT_FORGET, Kind.TABLE_LINK, Kind.TABLE_UNLINK)


def index_of(va: int, level: int) -> int:
    """Index (0..511) of the slot that maps ``va`` in a table of ``level``."""
    return va >> (PAGE_SHIFT + 9 * (level - 1)) & (SLOTS - 1)


def span_of(level: int) -> int:
    """Bytes of VA that one slot of a table of ``level`` maps."""
    return 1 << (PAGE_SHIFT + 9 * (level - 1))


@dataclass
class Table:
    """One page table: a page, or less of a root (``smallroots``)."""

    pa: int
    level: int
    va_base: int
    """VA that slot 0 maps from; of a table with several parents, below the first of them."""
    root: int
    """PA of the root it was first reached from. For a root its own PA; for the root that user mode
    runs on with PTI, the PA of the kernel's root of the pair."""
    slots: Slots = field(default_factory=lambda: np.zeros(SLOTS, np.uint64), repr=False)


@dataclass(frozen=True)
class Walk:
    """Where the walk for a VA ended."""

    entry: int
    """The last entry read."""
    level: int
    """The level of the table it was read from."""
    pa: int | None
    """PA that the VA translates to; None when nothing is mapped there."""
    known: bool = True
    """False when the walk needed a table that the stream never spoke of."""


class Shadow:
    """All tables that are reachable, as of the last event applied.

    Accessed and dirty bits are as of the last *store* to a slot: the walker sets them in
    memory with no event (``Mmu.hardware_bits``).

    ``inconsistencies`` counts what does not fit what went before: a PTE_WRITE whose old
    value is not the slot's, hardware bits aside, or events about a table that is not
    known. The first few are in ``details``, in words.
    """

    def __init__(self, mmu: Mmu) -> None:
        self.mmu = mmu
        self.tables: dict[int, Table] = {}
        """By PA."""
        self.roots: dict[int, Table] = {}
        """The tables that are roots, by PA; a subset of ``tables``."""
        self.loaded: dict[tuple[int, int], int] = {}
        """PA of the root each vCPU has loaded, by vCPU and RootReg."""
        self.kernel_root: int | None = None
        """PA, once ARMED was seen."""
        self.user_levels: int = mmu.levels
        self.kernel_levels: int = mmu.levels
        self.root_slots: int = SLOTS
        """Slots of a root table."""
        self._small = SmallRoots()
        self.inconsistencies = 0
        self.details: list[str] = []

    def apply(self, events: Events) -> None:
        """Take in some events, in the order of ``seq``; other kinds are passed over.

        Call it again for the next piece of the stream. Between two events that change
        which tables exist, all writes are taken in as one array.
        """
        self._registers(events)
        relevant = events[any_of(events["kind"], _CONTENT + _STRUCTURE)]
        start = 0
        for cut in np.flatnonzero(any_of(relevant["kind"], _STRUCTURE)).tolist():
            self._write(relevant[start:cut])
            self._restructure(relevant[cut])
            start = cut + 1
        self._write(relevant[start:])

    def walk(self, root: int, va: int) -> Walk:
        """Translate ``va`` from the root table at PA ``root``, as the CPU would."""
        table = self.tables.get(root)
        if table is None:
            return Walk(0, self.mmu.levels, None, known=False)
        while True:
            level = table.level
            entry = int(table.slots[index_of(va, level) % len(table.slots)])
            if self.mmu.leaf(entry, level):
                return Walk(entry, level, self.mmu.target(entry, level) + va % span_of(level))
            if not self.mmu.table(entry, level):
                return Walk(entry, level, None)
            lower = self.tables.get(self.mmu.target(entry, level))
            if lower is None or lower.level != level - 1:
                return Walk(entry, level, None, known=False)
            table = lower

    def _registers(self, events: Events) -> None:
        for event in events[events["kind"] == Kind.ARMED]:
            self.kernel_root = int(event["c"])
            self.user_levels, self.kernel_levels = int(event["d"]), int(event["level"])
            self.mmu = self.mmu.for_levels(self.user_levels)
        loads = events[events["kind"] == Kind.ROOT_LOAD]
        keys = zip(loads["cpu"].tolist(), loads["id"].tolist(), strict=True)
        self.loaded.update(zip(keys, loads["b"].tolist(), strict=True))

    def _restructure(self, event: np.void) -> None:
        kind, pa = int(event["kind"]), int(event["b"])
        if kind in (Kind.ROOT_LEARN, Kind.TABLE_LINK):
            is_root = kind == Kind.ROOT_LEARN
            root = int(event["d"]) or pa
            if pa in self.tables:
                self._complain(event, f"table {pa:#x} became reachable twice")
            slots = slots_of(int(event["id"])) if is_root else SLOTS
            zeros = np.zeros(slots, np.uint64)
            table = Table(pa, int(event["level"]), int(event["c"]), root, zeros)
            self.tables[pa] = table
            self._small.add(pa, slots)
            if is_root:
                self.roots[pa] = table
                self.root_slots = slots
            return
        gone = self.tables.pop(pa, None)
        if gone is None:
            self._complain(event, f"table {pa:#x} was given up and never known")
        else:
            self._small.remove(pa, len(gone.slots))
        self.roots.pop(pa, None)

    def _write(self, events: Events) -> None:
        """Events that set slots. Grouped by slot, each must find what the one before left."""
        if not len(events):
            return
        slot = events["a"]
        order = np.argsort(slot, kind="stable")
        ordered = events[order]
        first = np.concatenate([[True], ordered["a"][1:] != ordered["a"][:-1]])
        last = np.concatenate([first[1:], [True]])
        before, known = self._current(ordered["a"])
        before[~first] = ordered["c"][:-1][~first[1:]]
        wrong = (ordered["kind"] == Kind.PTE_WRITE) & (before != ordered["b"])
        self._check(ordered, before, known, wrong)
        self._store(ordered["a"][last & known], ordered["c"][last & known])

    def _current(self, slots: npt.NDArray[np.uint64]) -> tuple[Slots, npt.NDArray[np.bool_]]:
        """The value of each slot (by PA, ascending), and whether its table is known."""
        values = np.zeros(len(slots), np.uint64)
        known = np.zeros(len(slots), np.bool_)
        for pa, start, end in self._by_table(slots):
            if table := self.tables.get(pa):
                values[start:end] = table.slots[_index(slots[start:end], pa)]
                known[start:end] = True
        return values, known

    def _store(self, slots: npt.NDArray[np.uint64], values: Slots) -> None:
        for pa, start, end in self._by_table(slots):
            self.tables[pa].slots[_index(slots[start:end], pa)] = values[start:end]

    def _by_table(self, slots: npt.NDArray[np.uint64]) -> list[tuple[int, int, int]]:
        """Ascending slot PAs cut by table: its PA, first and end (exclusive) position."""
        if not len(slots):
            return []
        tables = self._small.tables_of(slots)
        cuts = np.flatnonzero(tables[1:] != tables[:-1]) + 1
        starts = [0, *cuts.tolist()]
        ends = [*cuts.tolist(), len(slots)]
        return [(int(tables[s]), s, end) for s, end in zip(starts, ends, strict=True)]

    def _check(
        self,
        events: Events,
        before: Slots,
        known: npt.NDArray[np.bool_],
        wrong: npt.NDArray[np.bool_],
    ) -> None:
        suspects = np.flatnonzero(wrong | ~known)
        for i in suspects[np.argsort(events["seq"][suspects], kind="stable")].tolist():
            event, held = events[i], int(before[i])
            if not known[i]:
                self._complain(event, "its table is not known")
                continue
            differ = held ^ int(event["b"])
            if differ & ~self.mmu.hardware_bits(held, int(event["level"])):
                self._complain(
                    event, f"the slot held {held:#x} and the write replaced {int(event['b']):#x}"
                )

    def _complain(self, event: np.void, what: str) -> None:
        self.inconsistencies += 1
        if len(self.details) < _DETAILS:
            kind = Kind(int(event["kind"])).name
            self.details.append(
                f"event {int(event['seq'])} ({kind}, slot PA {int(event['a']):#x}, "
                f"level {int(event['level'])}): {what}"
            )


def _index(slots: npt.NDArray[np.uint64], table: int) -> npt.NDArray[np.intp]:
    return ((slots - np.uint64(table)) >> np.uint64(3)).astype(np.intp)


def observed_pages(events: Events) -> list[int]:
    """Numbers of the pages (VA >> 12) that the trace has user accesses for, ascending."""
    accesses = events["a"][events["kind"] == Kind.OBS]
    pages: list[int] = np.unique(accesses >> np.uint64(PAGE_SHIFT)).tolist()
    return pages
