"""Software page-table walkers, and what keeps tables from being freed under them.

GUP-fast (mm/gup.c: ``gup_fast``, before Linux 6.10 ``lockless_pages_from_mm``) walks with
interrupts off. It is inlined, so what is recorded as ``gup_fast`` is the code between the
instructions that turn interrupts off and on, within the function it went into. A table that it may
be in is freed after an IPI to every CPU, ``tlb_remove_table_smp_sync``
(``tlb_remove_table_sync_one``) or a TLB shootdown, or after a grace period: ``tlb_remove_table``
queues it, ``tlb_remove_table_rcu`` frees it (mm/mmu_gather.c), ``pte_free_defer`` and
``pte_free_now`` likewise (mm/pgtable-generic.c).
``__pte_offset_map`` begins an RCU read section, which its caller ends out of sight
(``pte_unmap``).

The tables' own frames are told of as in the group ``pages``, whose events this one has as well.
"""

from __future__ import annotations

from typing import Final

from shootdown.kernel.groups import pages
from shootdown.kernel.groups.base import Group, Section, Traced
from shootdown.trace.functions import Function

_HOSTS: Final = (Function["gup_fast_fallback"], Function["internal_get_user_pages_fast"])

GROUP: Final = Group(
    name="walkers",
    text="GUP-fast and other lockless walkers; table frees, and the IPI or grace period before",
    functions=(
        *pages.LIFE,
        *(Traced(function, 3) for function in _HOSTS),
        Traced(Function["gup_fast"], 0),
        Traced(Function["__gup_longterm_locked"], 3),
        Traced(Function["__pte_offset_map"], 2),
        Traced(Function["tlb_remove_table"], 2),
        Traced(Function["tlb_remove_table_sync_one"], 0),
        Traced(Function["tlb_remove_table_sync_rcu"], 0),
        Traced(Function["tlb_remove_table_smp_sync"], 0),
        Traced(Function["tlb_remove_table_rcu"], 1),
        Traced(Function["pte_free_defer"], 2),
        Traced(Function["pte_free_now"], 1),
    ),
    sections=tuple(Section(Function["gup_fast"], host) for host in _HOSTS),
    extra=pages.lines,
    more_members=pages.MEMBERS,
    constants=pages.CONSTANTS,
    needs=(*pages.NEEDS, ("gup_fast_fallback", "internal_get_user_pages_fast")),
)
