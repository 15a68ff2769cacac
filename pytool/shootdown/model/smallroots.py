"""Root tables smaller than a page: which table a slot is in, where a frame holds several.

On arm64 with 52-bit addresses a root has 16 entries, 128 bytes, and comes out of a slab cache
(``PGD_SIZE``, arch/arm64/mm/pgd.c); every other table fills a page.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from shootdown.trace.types import Slots

_PAGE: Final = 4096
_FULL: Final = 512
_SMALL: Final = 16
_BYTES: Final = 8 * _SMALL


def slots_of(claimed: int) -> int:
    """How many slots a root has, from what ROOT_LEARN claims; it is 16 or 512, whatever is said."""
    return _SMALL if claimed == _SMALL else _FULL


class SmallRoots:
    """The small roots that are known, by their frames."""

    def __init__(self) -> None:
        self._frames: dict[int, int] = {}

    def add(self, pa: int, slots: int) -> None:
        """A root of so many slots is at ``pa`` now; one that fills a page is none of these."""
        if slots == _SMALL:
            frame = pa & -_PAGE
            self._frames[frame] = self._frames.get(frame, 0) + 1

    def remove(self, pa: int, slots: int) -> None:
        """It is there no more."""
        frame = pa & -_PAGE
        left = self._frames.get(frame, 0) - 1
        if slots == _SMALL and left <= 0:
            self._frames.pop(frame, None)
        elif slots == _SMALL:
            self._frames[frame] = left

    def table_of(self, slot: int) -> int:
        """PA of the table that the slot at a PA would be in."""
        frame = slot & -_PAGE
        return slot & -_BYTES if frame in self._frames else frame

    def tables_of(self, slots: Slots) -> Slots:
        """``table_of`` for many."""
        found = slots & np.uint64(-_PAGE % (1 << 64))
        if self._frames:
            small = np.isin(found, np.fromiter(self._frames, np.uint64))
            found[small] = slots[small] & np.uint64(-_BYTES % (1 << 64))
        return found
