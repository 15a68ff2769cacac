"""A kernel's symbols: names and addresses, looked up both ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shootdown.errors import InfraError

_OF_NO_USE: Final = (
    "$",  # code and data on arm64
    ".L",
    "__crc_",
    "__kstrtab",
    "__efistub_",
    "__kvm_nvhe_$",
    "__kvm_nvhe_.L",
)
"""What names begin with that a kernel's own table leaves out (scripts/mksysmap)."""


_LINE: Final = re.compile(rb"^([0-9a-f]{16}) ([A-Za-z?]) (\S+)$", re.MULTILINE)
"""A symbol of System.map or /proc/kallsyms; a module's has the module's name behind it."""
_BOUND: Final = re.compile(r"^__(start|stop|end)_|_(start|end)$")
_UNDEFINED: Final = b"UNw"


def read_map(text: bytes, what: str) -> SymbolTable | None:
    """The symbols of a System.map, or of the /proc/kallsyms of a kernel without KASLR.

    ``what`` names it in errors. None when there are none in it, as in Debian's. Raises InfraError
    when the addresses are hidden.
    """
    found = [
        (name.decode("ascii", "replace"), int(va, 16))
        for va, kind, name in _LINE.findall(text)
        if kind not in _UNDEFINED
    ]
    if found and not any(va for _, va in found):
        raise InfraError(f"{what} hides the addresses; read /proc/kallsyms as root.")
    return listed(found)


def listed(found: Iterable[tuple[str, int]]) -> SymbolTable | None:
    """A table of names and VAs, as a kernel would have it for itself; None when it is empty.

    What the assembler or the linker made for itself is left out. Names at one address are in the
    kernel's order: those that only bound something last, fewer underscores first, then by the
    alphabet (scripts/kallsyms.c).
    """
    kept = [(name, va) for name, va in found if name and not name.startswith(_OF_NO_USE)]
    kept.sort(key=lambda pair: _rank(pair[0]))
    vas = np.array([va for _, va in kept], np.uint64)
    return SymbolTable([name for name, _ in kept], vas) if kept else None


def _rank(name: str) -> tuple[bool, int, str]:
    return _BOUND.search(name) is not None, len(name) - len(name.lstrip("_")), name


class SymbolTable(Mapping[str, int]):
    """Kernel symbols in ascending order of address; as a mapping, name -> VA.

    Static functions share names; the mapping gives the lowest address of a name, and
    ``all_of`` gives every one.
    """

    def __init__(self, names: Sequence[str], vas: NDArray[np.uint64]) -> None:
        """``names[i]`` sits at the VA ``vas[i]``; any order."""
        order = np.argsort(vas, kind="stable")
        self.vas: NDArray[np.uint64] = vas[order]
        self.names: list[str] = [names[i] for i in order.tolist()]

    @cached_property
    def _first(self) -> dict[str, int]:
        # Filled from the top down, so that the lowest address of a name stays.
        return dict(zip(reversed(self.names), reversed(self.vas.tolist()), strict=True))

    def __getitem__(self, name: str) -> int:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def va(self, name: str) -> int:
        """VA of the symbol. Raises InfraError when the kernel has none of that name."""
        try:
            return self._first[name]
        except KeyError:
            raise InfraError(
                f"The kernel has no symbol '{name}'; "
                "use one built with CONFIG_KALLSYMS and CONFIG_KALLSYMS_ALL."
            ) from None

    def all_of(self, name: str) -> list[int]:
        """Every VA that carries the name, ascending."""
        if name not in self._first:
            return []
        return [va for n, va in zip(self.names, self.vas.tolist(), strict=True) if n == name]

    def extent(self, name: str) -> tuple[int, int]:
        """First VA of the symbol (inclusive) and VA of the next one (exclusive)."""
        va = self.va(name)
        return va, self.next_after(va)

    def next_after(self, va: int) -> int:
        """The lowest symbol VA above ``va``; ``va`` itself at the end of the table."""
        index = int(np.searchsorted(self.vas, np.uint64(va), side="right"))
        return int(self.vas[index]) if index < len(self.vas) else va

    def at(self, va: int) -> tuple[str, int]:
        """Name of the last symbol at or below ``va`` and the bytes past it.

        Of aliases at one address the first that the kernel lists is taken. Below the first symbol
        the answer is ``("", va)``.
        """
        above = int(np.searchsorted(self.vas, np.uint64(va), side="right"))
        if above == 0:
            return "", va
        start = self.vas[above - 1]
        first = int(np.searchsorted(self.vas, start, side="left"))
        return self.names[first], va - int(start)

    def with_more(self, more: Mapping[str, int]) -> SymbolTable:
        """The same table with symbols added."""
        if not more:
            return self
        vas = np.array(list(more.values()), dtype=np.uint64)
        return SymbolTable([*self.names, *more], np.concatenate([self.vas, vas]))
