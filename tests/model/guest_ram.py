"""A guest's physical memory for tests: pages by PA, and page tables built into it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from shootdown.arch.mmu import Mmu
from shootdown.errors import InfraError
from shootdown.model.pagetables import index_of
from shootdown.trace.schema import DTYPE, Kind
from shootdown.trace.types import Events, Slots

TABLE_BITS = {"x86_64": 0x67, "arm64": 0x3}
PAGE_BITS = {"x86_64": 0x63, "arm64": 0x703}


@dataclass
class Ram:
    """Pages that exist, by PA; reading any other is outside RAM."""

    arch: str
    mmu: Mmu
    pages: dict[int, Slots] = field(default_factory=dict)
    next_free: int = 0x100000

    def table(self, pa: int) -> Slots:
        if pa not in self.pages:
            raise InfraError(f"PA {pa:#x} is outside RAM")
        return self.pages[pa]

    def page(self) -> int:
        pa = self.next_free
        self.next_free += 0x1000
        self.pages[pa] = np.zeros(512, np.uint64)
        return pa

    def map(self, root: int, va: int, pa: int, *, levels: int = 4) -> None:
        """Map one 4 KiB page; tables on the way are made."""
        table = root
        for level in range(levels, 1, -1):
            slot = index_of(va, level)
            if not self.pages[table][slot]:
                self.pages[table][slot] = self.page() | TABLE_BITS[self.arch]
            table = self.mmu.target(int(self.pages[table][slot]), level)
        self.pages[table][index_of(va, 1)] = pa | PAGE_BITS[self.arch]

    def store(self, pa: int, value: int) -> None:
        self.pages[pa & -4096][pa % 4096 // 8] = value

    def events(self, root: int, *, levels: int = 4) -> Events:
        """What a recorder writes that learns ``root`` as memory is now."""
        rows: list[tuple[Kind, int, int, int, int, int]] = []

        def learn(pa: int, level: int, va: int) -> None:
            kind = Kind.ROOT_LEARN if level == levels else Kind.TABLE_LINK
            rows.append((kind, 0, pa, va, root, level))
            for i in np.flatnonzero(self.pages[pa]).tolist():
                rows.append((Kind.TABLE_SLOT, pa + 8 * i, 0, int(self.pages[pa][i]), 0, level))
            for i in np.flatnonzero(self.pages[pa]).tolist():
                entry = int(self.pages[pa][i])
                if self.mmu.table(entry, level):
                    span = 1 << (12 + 9 * (level - 1))
                    learn(self.mmu.target(entry, level), level - 1, va + i * span)

        learn(root, levels, 0)
        events = np.zeros(len(rows), DTYPE)
        events["seq"] = np.arange(1, len(rows) + 1)
        for i, (kind, a, b, c, d, level) in enumerate(rows):
            events[i]["kind"], events[i]["level"] = kind, level
            events[i]["a"], events[i]["b"], events[i]["c"], events[i]["d"] = a, b, c, d
        return events
