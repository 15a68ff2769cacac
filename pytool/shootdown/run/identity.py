"""Whether the kernel that ran is the one whose symbols and types are used.

Read from the stopped guest's memory, at the addresses that the symbols give: what the kernel says
of itself (``linux_banner``), its notes, which hold the build-id and are written by the linker, and
pages of its text. The kernel patches its own text while it boots (alternatives, ftrace, static
keys, retpolines), so of that only most bytes have to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from shootdown.errors import InconclusiveError, InfraError
from shootdown.kernel.facts import KernelFacts
from shootdown.model.tasks_walk import KernelSpace
from shootdown.vm.memory import GuestMemory

_PAGE: Final = 4096
_PAGES: Final = 64
"""Pages of text that are compared."""
_SAME: Final = 0.75
"""Share of text bytes that agree: of the same kernel 19 in 20, of another at most one in four."""


Read = Callable[[int, int], bytes | None]
"""Bytes of the running kernel by VA, as it was linked, and their number; None where there are none.
"""


def check(
    memory: GuestMemory, spaces: Iterable[KernelSpace], facts: KernelFacts, *, slide: int = 0
) -> KernelSpace:
    """The first of ``spaces`` that shows the kernel of ``facts``; InfraError when none does.

    ``spaces`` read ``memory`` through tables of which some map the kernel. ``slide``: bytes that
    KASLR has added to every address. What the symbols do not name is not looked at.
    """
    differs = "nothing is mapped where its text should be"
    for space in spaces:
        read = _at_va(memory, space, slide)
        if read(facts.va("_stext"), 8) is not None:
            differs = difference(read, facts)
            if not differs:
                return space
    raise InfraError(
        f"the guest runs another kernel than {facts.path}: {differs}; "
        f"give the image that boots, with its own symbols (these are of: {facts.symbols_from})"
    )


def difference(read: Read, facts: KernelFacts) -> str:
    """What differs between the running kernel and the image; empty when nothing does."""
    for what, start, end in _exact(facts):
        if read(start, end - start) != facts.image.read(start, end - start):
            return f"{what} at {start:#x} differs"
    share = _text_share(read, facts)
    return "" if share >= _SAME else f"{1 - share:.0%} of its text differs"


def at_pa(memory: GuestMemory, distance: int) -> Read:
    """Reads a kernel that lies ``distance`` bytes from its VAs to its PAs, in one piece."""

    def read(va: int, size: int) -> bytes | None:
        try:
            return memory.read(va + distance, size)
        except InfraError:
            return None

    return read


def _at_va(memory: GuestMemory, space: KernelSpace, slide: int) -> Read:
    """Reads a kernel through its own page tables."""

    def read(va: int, size: int) -> bytes | None:
        found = b""
        while len(found) < size:
            at = va + slide + len(found)
            piece = min(size - len(found), _PAGE - at % _PAGE)
            try:
                found += memory.read(space.translate(at), piece)
            except (InconclusiveError, InfraError):
                return None
        return found

    return read


def _exact(facts: KernelFacts) -> list[tuple[str, int, int]]:
    """Name, first VA and end of what never changes."""
    symbols = facts.symbols
    parts = []
    if banner := symbols.get("linux_banner"):
        parts.append(("linux_banner", banner, banner + len(facts.image.banner)))
    start, end = symbols.get("__start_notes"), symbols.get("__stop_notes")
    if start and end and end > start:
        parts.append(("the notes (build-id)", start, end))
    return parts


def text_pages(facts: KernelFacts) -> list[int]:
    """Numbers (VA / 4096) of pages from all over the text, as it was linked, ascending."""
    first = -(-facts.va("_stext") // _PAGE)
    last = facts.symbols.get("_etext", facts.va("_stext") + _PAGES * _PAGE) // _PAGE
    return sorted({first + (last - first) * number // _PAGES for number in range(_PAGES)})


def _text_share(read: Read, facts: KernelFacts) -> float:
    """Share of bytes that agree in pages from all over the text."""
    pages = text_pages(facts)
    same = 0
    for page in pages:
        found = read(page * _PAGE, _PAGE)
        if found is not None:
            expected = np.frombuffer(facts.image.read(page * _PAGE, _PAGE), np.uint8)
            same += int(np.count_nonzero(np.frombuffer(found, np.uint8) == expected))
    return same / (len(pages) * _PAGE)
