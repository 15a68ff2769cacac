"""Delays where the kernel relies on others being slower: in the windows that races are made of."""

from __future__ import annotations

from typing import Final

from shootdown.race.delays import Delay, Delays
from shootdown.race.policies.base import Policy, Subject, present

# To what others do about the same place, and back: from a fault to some system calls.
_SHORTEST_NS: Final = 100_000
_OCTAVES: Final = 8
_LIMIT: Final = 150


def _long(
    event: str,
    chance: float,
    *,
    function: str = "",
    inside: str = "",
    old: str = "any",
    new: str = "any",
) -> Delay:
    return Delay(
        event=event,
        function=function,
        inside=inside,
        old=old,
        new=new,
        chance=chance,
        min_ns=_SHORTEST_NS,
        octaves=_OCTAVES,
        limit=_LIMIT,
    )


WINDOWS: Final = (
    # A PTE was taken away or write-protected, its TLB entries are still everywhere.
    (_long("pte_write", 0.5, old="present", new="none"),),
    (_long("pte_write", 0.5, old="writable", new="readonly"),),
    # A PTE was filled: whoever decided to do so may have been overtaken.
    (_long("pte_write", 0.1, old="none", new="present"),),
    # All of a batch is gone, and will be flushed now, or was not worth a flush.
    (_long("enter", 0.2, function="tlb_finish_mmu"),),
    # Tables are given back next.
    (_long("enter", 0.2, function="free_pgtables"), _long("enter", 0.2, function="free_pgd_range")),
    # A VMA was found without mmap_lock, and is not locked itself yet (until 6.14, and since).
    (
        _long("call", 0.5, function="down_read_trylock", inside="lock_vma_under_rcu"),
        _long("return", 0.2, function="mas_walk"),
    ),
    # It was, and may be detached, merged or split by now.
    (_long("return", 0.3, function="lock_vma_under_rcu"),),
    # Somebody has split or merged it, and the lock is given back: who found it before may go on.
    (_long("return", 0.5, function="do_mprotect_pkey"),),
    # The fault is resolved next, under the page-table lock at last.
    (_long("enter", 0.1, function="handle_mm_fault"),),
    # CR3 has the new root, loaded_mm and the TLB generation do not say so yet.
    (_long("root_load", 0.1),),
    # The other end of a flush by interrupt.
    (
        _long("enter", 0.2, function="flush_tlb_func"),
        _long("enter", 0.2, function="generic_smp_call_function_single_interrupt"),
    ),
)
"""Each a place with its alternatives, the first that a kernel has."""


def choose(subject: Subject) -> Delays:
    """The windows that the kernel has."""
    return present(WINDOWS, subject)


POLICY: Final = Policy("targeted", "long delays inside the windows that races are made of", choose)
