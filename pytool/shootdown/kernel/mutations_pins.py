"""Mutations of who looks at pins. See ``mutations``."""

from __future__ import annotations

from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutation_text import body, refuse
from shootdown.kernel.mutations import Patch

_LIMIT: Final = 1023
"""One less than GUP_PIN_COUNTING_BIAS of include/linux/mm.h, what a pin adds to the references."""
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
        Patch(
            one.va, one.code, _never(facts.arch, one.code), f"no page looks pinned at {one.where}"
        )
        for one in body(facts, ("copy_page_range",))
        if one.name == "cmp" and one.operands.endswith(f"{_LIMIT:#x}")
    ]
    if not patches:
        raise refuse(facts, "copy_page_range()")
    return patches


def _never(arch: str, code: bytes) -> bytes:
    """The same comparison with a number that is never reached."""
    if arch == "arm64":
        return (int.from_bytes(code, "little") | _SHIFTED).to_bytes(4, "little")
    return code[:-4] + _LOTS.to_bytes(4, "little")
