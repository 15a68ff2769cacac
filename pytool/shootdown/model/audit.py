"""Whether the tables rebuilt from a trace are those in the guest's memory.

The walk starts at given roots and follows memory, never the trace's own list of tables,
so a table that the trace does not know is found as well. The guest must stand still.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from shootdown.arch.mmu import Mmu
from shootdown.errors import ShootdownError
from shootdown.model.pagetables import PAGE_SIZE, SLOTS, Shadow, Table, span_of
from shootdown.trace.types import Slots

_DETAILS: Final = 20


class Memory(Protocol):
    """Physical memory of the guest."""

    def table(self, pa: int) -> Slots:
        """The 512 words of the page at ``pa``. Raises ShootdownError outside RAM."""
        ...


@dataclass(frozen=True)
class Root:
    """A root table to walk from."""

    pa: int
    levels: int
    kind: str
    """"kernel", "user" or "loaded"."""
    label: str
    """Whose it is, for reports."""
    slots: int = SLOTS
    """How many entries it has."""


@dataclass
class AuditReport:
    """What was compared, and what did not agree."""

    tables_checked: int = 0
    """Tables compared; each once, however often it is reached, and no unknown one."""
    entries_checked: int = 0
    """Slots compared."""
    nonzero_checked: int = 0
    """Slots compared that were not zero in memory."""
    mismatches: int = 0
    """Slots that differ beyond what the page walker may change on its own."""
    unknown_tables: int = 0
    """Tables reached that the trace does not know, or that lie outside RAM."""
    details: list[str] = field(default_factory=list)
    """The first differences in words."""

    @property
    def agrees(self) -> bool:
        """Whether something was compared and everything agreed."""
        return self.nonzero_checked > 0 and not self.mismatches and not self.unknown_tables


def slots_at(memory: Memory, pa: int, count: int = SLOTS) -> Slots:
    """The slots of the table at ``pa``, which may lie within a page. Raises as ``Memory`` does.

    A CPU takes a table to be aligned to its size, and so does this.
    """
    pa &= -8 * count
    first = pa % PAGE_SIZE // 8
    return memory.table(pa & -PAGE_SIZE)[first : first + count]


def audit(shadow: Shadow, memory: Memory, roots: Iterable[Root], mmu: Mmu) -> AuditReport:
    """Compare every table reachable from ``roots`` in memory with the shadow, slot by slot.

    A table outside RAM counts as unknown. Give the kernel's root first, so that what all
    share is described as the kernel's.
    """
    walk = _Audit(shadow, memory, mmu)
    for root in roots:
        walk.reach(root.pa, root.levels, 0, root)
    return walk.report


class _Audit:
    def __init__(self, shadow: Shadow, memory: Memory, mmu: Mmu) -> None:
        self.shadow = shadow
        self.memory = memory
        self.mmu = mmu
        self.report = AuditReport()
        self.reached: set[tuple[int, int]] = set()

    def reach(self, pa: int, level: int, va: int, root: Root) -> None:
        """Check the table at ``pa``, which maps from ``va`` below ``root``, and all below it."""
        if (pa, level) in self.reached:
            return
        self.reached.add((pa, level))
        count = root.slots if level == root.levels else SLOTS
        try:
            slots = slots_at(self.memory, pa, count)
        except ShootdownError as error:
            self._unknown(pa, level, va, root, str(error))
            return
        self._known(pa, level, va, root, slots)
        if level == 1:
            return
        for index in np.flatnonzero(slots).tolist():
            entry = int(slots[index])
            if self.mmu.table(entry, level):
                below = va + index * span_of(level)
                self.reach(self.mmu.target(entry, level), level - 1, below, root)

    def _known(self, pa: int, level: int, va: int, root: Root, slots: Slots) -> None:
        table = self.shadow.tables.get(pa)
        if table is None:
            self._unknown(pa, level, va, root, "the trace does not know it")
        elif table.level != level:
            self._unknown(pa, level, va, root, f"the trace has it at level {table.level}")
        elif len(table.slots) != len(slots):
            self._unknown(pa, level, va, root, f"the trace has it with {len(table.slots)} slots")
        else:
            self._compare(table, va, root, slots)

    def _compare(self, table: Table, va: int, root: Root, slots: Slots) -> None:
        report, level = self.report, table.level
        report.tables_checked += 1
        report.entries_checked += len(slots)
        report.nonzero_checked += int(np.count_nonzero(slots))
        for index in np.flatnonzero(slots != table.slots).tolist():
            held, found = int(table.slots[index]), int(slots[index])
            if (held ^ found) & ~self.mmu.hardware_bits(held, level):
                report.mismatches += 1
                where = _where(table.pa, level, va + index * span_of(level), root)
                self._detail(
                    f"slot {index} of the {where}: memory has "
                    f"{self.mmu.describe(found, level)}; the trace {self.mmu.describe(held, level)}"
                )

    def _unknown(self, pa: int, level: int, va: int, root: Root, why: str) -> None:
        self.report.unknown_tables += 1
        self._detail(f"the {_where(pa, level, va, root)}: {why}")

    def _detail(self, text: str) -> None:
        if len(self.report.details) < _DETAILS:
            self.report.details.append(text)


def _where(pa: int, level: int, va: int, root: Root) -> str:
    # The upper half of an x86 user root is reached from the kernel's root first.
    if root.kind == "kernel":
        va |= -root.slots * span_of(root.levels) % (1 << 64)
    return f"level {level} table at PA {pa:#x} (VA {va:#x}, {root.kind} root of {root.label})"
