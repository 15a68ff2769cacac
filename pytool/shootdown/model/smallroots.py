"""Root tables smaller than a page: which table a slot is in, where a frame holds several.

On arm64 with 52-bit addresses a root has 16 entries, 128 bytes, and comes out of a slab cache
(``PGD_SIZE``, arch/arm64/mm/pgd.c); every other table fills a page.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from shootdown.trace.types import Slots

_PAGE: Final = 4096
_SLOTS: Final = 512


class SmallRoots:
    """The small roots that are known, by their frames. All of them have one size."""

    def __init__(self) -> None:
        self._bytes = _PAGE
        self._frames: Counter[int] = Counter()

    def add(self, pa: int, slots: int) -> None:
        """A root of so many slots is at ``pa`` now; one that fills a page is none of these."""
        if slots < _SLOTS:
            self._bytes = 8 * slots
            self._frames[pa & -_PAGE] += 1

    def remove(self, pa: int, slots: int) -> None:
        """It is there no more."""
        frame = pa & -_PAGE
        if slots < _SLOTS and self._frames[frame] > 0:
            self._frames[frame] -= 1
            if not self._frames[frame]:
                del self._frames[frame]

    def table_of(self, slot: int) -> int:
        """PA of the table that the slot at a PA would be in."""
        frame = slot & -_PAGE
        return slot & -self._bytes if frame in self._frames else frame

    def tables_of(self, slots: Slots) -> Slots:
        """``table_of`` for many."""
        found = slots & np.uint64(-_PAGE % (1 << 64))
        if self._frames:
            small = np.isin(found, np.fromiter(self._frames, np.uint64))
            found[small] = slots[small] & np.uint64(-self._bytes % (1 << 64))
        return found
