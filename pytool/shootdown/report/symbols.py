"""Addresses of kernel text, by name."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

FAR: Final = 1 << 20
"""Bytes; no function is longer, so an address further behind its symbol belongs to none."""


class Symbols:
    """Nearest-symbol lookup.

    >>> Symbols({"do_mmap": 0x1000}).place(0x1010)
    'do_mmap+0x10'
    """

    def __init__(self, addresses: Mapping[str, int]) -> None:
        """``addresses`` maps a symbol's name to its VA."""
        # Aliases share an address: the shortest name, then the first, is the one people use.
        ordered = sorted((va, -len(name), name) for name, va in addresses.items())
        self._vas = [va for va, _, _ in ordered]
        self._names = [name for _, _, name in ordered]

    def function(self, pc: int) -> str:
        """Name of the symbol at or below the VA ``pc``, or the address itself."""
        return self._split(pc)[0]

    def place(self, pc: int) -> str:
        """``symbol+0xOFFSET`` for the VA ``pc``, or the address itself."""
        name, offset = self._split(pc)
        return name if offset is None else f"{name}+{offset:#x}"

    def _split(self, pc: int) -> tuple[str, int | None]:
        index = bisect_right(self._vas, pc) - 1
        if index < 0 or pc - self._vas[index] > FAR:
            return f"{pc:#x}", None
        return self._names[index], pc - self._vas[index]
