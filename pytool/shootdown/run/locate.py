"""Where the kernel is: its place in RAM, and what KASLR has added to its addresses.

Read from the stopped guest's memory alone, whatever mode its CPUs are in and whatever tables they
have loaded, and not from what the plugin found on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from shootdown.errors import InfraError
from shootdown.kernel import plan
from shootdown.kernel.facts import KernelFacts
from shootdown.run import identity
from shootdown.vm.memory import GuestMemory

_STEP: Final = 1 << 16
"""Bytes by which the places where a kernel may lie differ at least."""
_PAGE: Final = 4096


@dataclass(frozen=True)
class Place:
    """A kernel in RAM."""

    text_va: int
    """VA of ``_text``, as it was linked."""
    text_pa: int
    """PA of ``_text``."""
    slide: int
    """Bytes that KASLR has added to the VAs of the image."""

    def pa(self, va: int) -> int:
        """PA of what was linked at ``va``, a part of the image."""
        return self.text_pa + va - self.text_va


def find(memory: GuestMemory, facts: KernelFacts) -> Place | None:
    """The kernel of ``facts`` in ``memory``; None when it is not there.

    Raises InfraError when it is there twice.
    """
    found = list(_places(memory, facts))
    if len(found) > 1:
        where = ", ".join(f"{place.text_pa:#x}" for place in found)
        raise InfraError(f"the guest's memory holds {facts.path} more than once: at PA {where}")
    return found[0] if found else None


def _places(memory: GuestMemory, facts: KernelFacts) -> Iterator[Place]:
    text = facts.va("_text")
    pages = identity.text_pages(facts)
    sample = pages[len(pages) // 2] * _PAGE
    expected = np.frombuffer(facts.image.read(sample, _PAGE), np.uint8)
    first = memory.base + (text - memory.base) % _STEP
    for pa in range(first, memory.base + memory.size - (sample - text) - _PAGE, _STEP):
        seen = np.frombuffer(memory.read(pa + sample - text, _PAGE), np.uint8)
        if 2 * np.count_nonzero(seen == expected) < _PAGE:
            continue
        if not identity.difference(identity.at_pa(memory, pa - text), facts):
            yield Place(text, pa, _slide(memory, facts, pa))


def _slide(memory: GuestMemory, facts: KernelFacts, text_pa: int) -> int:
    """From what the kernel itself keeps of where it runs."""
    spec = plan.SPECS[facts.arch]
    text = facts.va("_text")
    word = memory.read(text_pa + facts.va(spec.image_word) - text, 8)
    return (spec.image_va(text_pa, int.from_bytes(word, "little")) - text) % (1 << 64)
