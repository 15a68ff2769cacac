"""Mutations of who looks at pins. See ``mutations``."""

from __future__ import annotations

from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch
from shootdown.kernel.mutations_text import code, needed, place

_LIMIT: Final = 1023
"""One less than GUP_PIN_COUNTING_BIAS of include/linux/mm.h, what a pin adds to the references."""
_WHY: Final = "no page looks pinned at "
_LOTS: Final = (1 << 31) - 1
_SHIFTED: Final = 1 << 22 | 0xFFF << 10
"""arm64, comparison with an immediate: 12 bits of it, all set, and shifted up by 12."""


def fork_ignores_pins(facts: KernelFacts) -> list[Patch]:
    """fork takes no small page for pinned, and makes all of them read-only.

    In ``copy_page_range()``, where everything that copies entries is inlined, the number of
    references from which on a page counts as pinned (``folio_maybe_dma_pinned()``) becomes one that
    no page has. Folios of several pages, whose pins are counted apart, are left as they are.

    Raises InfraError when the kernel's text does not have what is to be changed.
    """
    patches = [
        Patch(one.va, one.data, _never(facts.arch, one.data), _WHY + place(facts, one.va))
        for one in code(facts, "copy_page_range")
        if one.mnemonic == "cmp" and one.operands.endswith(f"{_LIMIT:#x}")
    ]
    return needed(facts, patches, "comparison with a pin's references in copy_page_range()")


def _never(arch: str, old: bytes) -> bytes:
    """The same comparison with a number that is never reached."""
    if arch == "arm64":
        return (int.from_bytes(old, "little") | _SHIFTED).to_bytes(4, "little")
    return old[:-4] + _LOTS.to_bytes(4, "little")
