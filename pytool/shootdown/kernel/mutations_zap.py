"""Mutation of who takes entries away. See ``mutations``."""

from __future__ import annotations

import re
from typing import Final

from shootdown.errors import UsageError
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch
from shootdown.kernel.mutations_text import code, needed, place

_ZAP: Final = "zap_pte_range|unmap_page_range|__zap_vma_range"
_SLOT: Final = re.compile(r"qword ptr \[\w+\], \w+")
_XCHG: Final = 0x87
_MOV: Final = 0x8B
"""The opcodes of ``xchg`` and ``mov`` to a register, which have their operands in one form."""


def zap_keeps_entry(facts: KernelFacts) -> list[Patch]:
    """munmap and exit read entries, free what they map, and leave them in the table (x86-64).

    Where ``zap_pte_range()`` (mm/memory.c) is, or is inlined, the exchange of an entry for nothing
    (``ptep_get_and_clear()``) becomes a load. Raises UsageError on another architecture, InfraError
    when the kernel's text does not have what is to be changed.
    """
    if facts.arch != "x86_64":
        raise UsageError(f"mutation zap-keeps-entry is not for {facts.arch}")
    patches = [
        Patch(one.va, one.data, _loaded(one.data), f"the entry stays at {place(facts, one.va)}")
        for one in code(facts, _ZAP)
        if one.mnemonic == "xchg" and _SLOT.fullmatch(one.operands)
    ]
    return needed(facts, patches, "exchange of an entry in zap_pte_range()")


def _loaded(xchg: bytes) -> bytes:
    at = xchg.index(_XCHG)
    return xchg[:at] + bytes([_MOV]) + xchg[at + 1 :]
