"""Functions of which the compiler has put a copy into one of their callers.

The symbol is there, and calls that others make are seen, but not what the copy does. Which calls a
kernel must have is known from its source (``groups.base.Group.calls``); whether it has them, from
its text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from shootdown.kernel import exits
from shootdown.kernel.image import KernelImage
from shootdown.kernel.scan_text import CALLS, JUMPS
from shootdown.kernel.symbols import SymbolTable


class Call(NamedTuple):
    """A call in the kernel's source that has to be seen."""

    of: tuple[str, ...]
    """Functions, one of which is called, as kernels differ."""
    by: tuple[str, ...]
    """Functions that the call may have ended up in, the innermost first."""


def find(image: KernelImage, symbols: SymbolTable, wanted: Iterable[Call]) -> dict[str, str]:
    """Functions that were put into a caller, and which; several are separated by commas.

    A call of functions, or by functions, none of which the kernel has, says nothing. Raises
    InfraError when the image does not hold its text.
    """
    stems = exits.by_stem(symbols)
    found: dict[str, str] = {}
    for call in wanted:
        names = [name for name in call.of if name in stems]
        host = next((host for host in call.by if host in stems), "")
        targets = [symbols[full] for name in names for full in stems[name]]
        if names and host and not _goes_to(image, symbols, stems[host], targets):
            found[names[0]] = ", ".join(filter(None, (found.get(names[0]), host)))
    return found


def _goes_to(
    image: KernelImage, symbols: SymbolTable, hosts: Iterable[str], targets: list[int]
) -> bool:
    """Whether a function, or what the compiler moved out of its line, calls one or ends in it."""
    parts = [part for host in hosts for part in (host, f"{host}.cold") if part in symbols]
    for start, end in map(symbols.extent, parts):
        data = image.read(start, end - start)
        for ways in (CALLS, JUMPS):
            if np.isin(ways[image.arch](data, start)[1], np.array(targets, np.uint64)).any():
                return True
    return False
