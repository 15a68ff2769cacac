"""Flushes of arm64 that are incomplete: who is left out, what, or the waiting.

All of it is in arch/arm64/include/asm/tlbflush.h and tlb.h, of which each file has its own copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import GATHER, RANGE, Patch, is_tlbi
from shootdown.kernel.mutations_edit import NOPS
from shootdown.kernel.mutations_text import body, needed, place

_CRM_LOCAL = 4 << 8
"""Bit of CRm in which a TLBI for this CPU differs from one for the inner shareable domain."""
_OP2_LAST = 4 << 5
"""Bit of op2 that makes of a TLBI by VA one for last-level entries alone."""
_BY_VA = (1, 3)
"""op2 of VAE1 and VAAE1, and of their range forms."""
_DSB_ISH = bytes.fromhex("9f3b03d5")


def tlbis(facts: KernelFacts, functions: Iterator[int]) -> Iterator[tuple[int, int]]:
    """VA and word of every TLBI of EL1 in the functions."""
    for start in functions:
        for step in body(facts, start):
            word = int.from_bytes(step.data, "little")
            if len(step.data) == 4 and is_tlbi(word):
                yield step.va, word


def gathered(facts: KernelFacts) -> Iterator[int]:
    """VAs of the functions in which ``tlb_flush`` is, or what it calls."""
    symbols = facts.symbols
    names = (n for n in symbols if GATHER.fullmatch(n) or RANGE.fullmatch(n))
    return iter(sorted({va for name in names for va in symbols.all_of(name)}))


def local_flush(facts: KernelFacts) -> list[Patch]:
    """What is broadcast becomes a flush of the own CPU: TLBI without IS."""
    return _changed(facts, lambda word: word | _CRM_LOCAL, "for this CPU alone")


def leaf_flush(facts: KernelFacts) -> list[Patch]:
    """Tables that are freed stay in walk caches: VALE1IS instead of VAE1IS."""

    def last(word: int) -> int:
        return word | _OP2_LAST if word >> 5 & 7 in _BY_VA else word

    return _changed(facts, last, "for last-level entries alone")


def flush_no_wait(facts: KernelFacts) -> list[Patch]:
    """The flush is broadcast, and its end not waited for: no DSB ISH behind TLBIs."""
    patches = [
        Patch(step.va, step.data, NOPS["arm64"], f"no DSB at {place(facts, step.va)}")
        for start in gathered(facts)
        if any(True for _ in tlbis(facts, iter([start])))
        for step in body(facts, start)
        if step.data == _DSB_ISH
    ]
    return needed(facts, patches, "DSB behind a TLBI of tlb_flush")


def no_tlbi(facts: KernelFacts, functions: Iterator[int]) -> list[Patch]:
    """The functions' TLBIs become NOPs."""
    return [
        Patch(va, word.to_bytes(4, "little"), NOPS["arm64"], f"no TLBI at {place(facts, va)}")
        for va, word in tlbis(facts, functions)
    ]


def _changed(facts: KernelFacts, change: Callable[[int], int], how: str) -> list[Patch]:
    patches = [
        Patch(
            va,
            word.to_bytes(4, "little"),
            change(word).to_bytes(4, "little"),
            f"TLBI {how} at {place(facts, va)}",
        )
        for va, word in tlbis(facts, gathered(facts))
        if change(word) != word
    ]
    return needed(facts, patches, "TLBI in tlb_flush")
