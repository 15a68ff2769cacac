"""Mutations of what has to be waited for, or caught up with. See ``mutations``."""

from __future__ import annotations

from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutation_text import EQUAL, always, body, call_to, calls, refuse
from shootdown.kernel.mutations import Patch

_SOON: Final = 10
"""Instructions from a barrier to what it is there for."""


def lazy_no_catch_up(facts: KernelFacts) -> list[Patch]:
    """x86: a CPU that stops being lazy takes its TLB for current, whatever it was spared.

    In ``switch_mm_irqs_off()`` the comparison of ``tlb_gen`` behind the barrier comes out equal.
    Raises InfraError when the kernel has no such thing.
    """
    code = body(facts, ("switch_mm_irqs_off",))
    for at, one in enumerate(code):
        if one.name == "lock add" and "rsp" in one.operands:  # smp_mb()
            for branch in code[at : at + _SOON]:
                if branch.name in EQUAL:
                    new = always(facts.arch, branch)
                    return [Patch(branch.va, branch.code, new, f"up to date at {branch.where}")]
    raise refuse(facts, "switch_mm_irqs_off()")


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
        for one in calls(facts, body(facts, (name,)), "call_rcu")[
            :1
        ]  # another is of a single table
    ]
    if not found or "tlb_remove_table_rcu" not in facts.symbols:
        raise refuse(facts, "tlb_remove_table_free()")
    free = facts.va("tlb_remove_table_rcu")
    return [
        Patch(one.va, one.code, call_to(facts.arch, one, free), f"no grace period at {one.where}")
        for one in found
    ]
