"""Mutations of who looks at pins. See ``mutations``."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel import disassembler
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch

_BIAS: Final = 1024
"""include/linux/mm.h: GUP_PIN_COUNTING_BIAS, what one pin adds to the references of a page."""
_COPIES: Final = "copy_page_range"
_SHIFTED: Final = 1 << 22 | 0xFFF << 10
"""arm64, add and subtract with an immediate: 12 bits of it, all set, and shifted up by 12."""


def fork_ignores_pins(facts: KernelFacts) -> list[Patch]:
    """fork takes no small page for pinned, and makes all of them read-only.

    In ``copy_page_range()``, where everything that copies entries is inlined, the number of
    references from which on a page counts as pinned (``folio_maybe_dma_pinned()``) becomes one that
    no page has. Folios of several pages, whose pins are counted apart, are left as they are.

    Raises InfraError when the kernel's text does not have what is to be changed.
    """
    patches = list(_THRESHOLD[facts.arch](facts))
    if not patches:
        raise InfraError(
            f"{_COPIES}() of {facts.release} does not look for pins; "
            "this kernel's text cannot be changed that way."
        )
    return patches


def _comparisons(facts: KernelFacts) -> Iterator[tuple[int, bytes]]:
    """Where the function compares something with the bias less one, and the instruction."""
    va = facts.va(_COPIES)
    data = facts.image.read(va, facts.symbols.next_after(va) - va)
    for found in disassembler.engine(facts.arch, skipdata=True).disasm(data, va):
        if found.mnemonic == "cmp" and found.op_str.endswith(f"{_BIAS - 1:#x}"):
            yield found.address, bytes(found.bytes)


def _x86_64(facts: KernelFacts) -> Iterator[Patch]:
    limit = struct.pack("<I", _BIAS - 1)
    for va, old in _comparisons(facts):
        if old.endswith(limit):
            new = old[: -len(limit)] + struct.pack("<I", (1 << 31) - 1)
            yield Patch(
                va, old, new, f"no page looks pinned at {_COPIES}+{va - facts.va(_COPIES):#x}"
            )


def _arm64(facts: KernelFacts) -> Iterator[Patch]:
    for va, old in _comparisons(facts):
        word = struct.unpack("<I", old)[0]
        new = struct.pack("<I", word | _SHIFTED)
        yield Patch(va, old, new, f"no page looks pinned at {_COPIES}+{va - facts.va(_COPIES):#x}")


_THRESHOLD: Final[dict[str, Callable[[KernelFacts], Iterator[Patch]]]] = {
    "x86_64": _x86_64,
    "arm64": _arm64,
}
