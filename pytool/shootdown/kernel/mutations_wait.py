"""Mutations of what has to be waited for, or caught up with. See ``mutations``."""

from __future__ import annotations

from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch
from shootdown.kernel.mutations_edit import EQUAL, always, call_to
from shootdown.kernel.mutations_text import calls_of, code, needed, place

_CURRENT: Final = "up to date at "
_AT_ONCE: Final = "no grace period at "
_FREE: Final = "tlb_remove_table_rcu"
_SOON: Final = 10
"""Instructions from a barrier to what it is there for."""


def lazy_no_catch_up(facts: KernelFacts) -> list[Patch]:
    """x86: a CPU that stops being lazy takes its TLB for current, whatever it was spared.

    In ``switch_mm_irqs_off()`` the comparison of ``tlb_gen`` behind the barrier comes out equal.
    Raises InfraError when the kernel has no such thing.
    """
    steps = code(facts, "switch_mm_irqs_off")
    found = [
        Patch(
            branch.va, branch.data, always(facts.arch, branch), _CURRENT + place(facts, branch.va)
        )
        for at, one in enumerate(steps)
        if one.mnemonic == "lock add" and "rsp" in one.operands  # smp_mb()
        for branch in steps[at : at + _SOON]
        if branch.mnemonic in EQUAL
    ]
    return needed(facts, found[:1], "look at tlb_gen in switch_mm_irqs_off()")


def tables_no_grace(facts: KernelFacts) -> list[Patch]:
    """Page tables are freed without waiting for walkers that hold no lock.

    Where a batch of tables is handed to RCU (``tlb_remove_table_free()``, inlined), what RCU would
    call after a grace period is called at once. x86 of 6.x frees its tables otherwise
    (``native_tlb_remove_table()``), and is left as it was. Raises InfraError when the kernel has no
    such thing.
    """
    found = [
        one
        for name in ("tlb_remove_table", "tlb_flush_mmu", "tlb_finish_mmu")
        for one in calls_of(facts, "call_rcu", name)[:1]  # another is of a single table
        if _FREE in facts.symbols
    ]
    return needed(
        facts,
        [
            Patch(one.va, one.data, call_to(facts.arch, one, facts.va(_FREE)), _AT_ONCE + where)
            for one in found
            for where in [place(facts, one.va)]
        ],
        "tlb_remove_table_free()",
    )
