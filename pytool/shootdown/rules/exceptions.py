"""E1 to E15: what correct kernels do that looks like an offence, and that no rule reports.

The functions that ``reference`` names are in Linux 6.1, 6.12 and 7.2, or in those it says.
``tests/rules/test_exceptions.py`` takes each exception out of the checker: the traces that it names
must then be judged otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Sanctioned:
    """One exception."""

    id: str
    title: str
    text: str
    """What is sanctioned, one sentence, Markdown."""
    code: str
    """Where it is made: modules of the package, and what in each."""
    reference: tuple[str, ...]
    """Kernel source or manuals it follows from."""
    traces: tuple[str, ...]
    """Traces of the corpus that show that it is not reported, each by one rule."""

    @property
    def rules(self) -> tuple[str, ...]:
        """Ids of the rules that it concerns."""
        return tuple(dict.fromkeys(trace.partition("/")[0] for trace in self.traces))


EXCEPTIONS: Final = (
    Sanctioned(
        "E1",
        "More rights in place",
        "An entry may be given more rights in place, and no CPU be told: one that still holds the "
        "stricter entry faults once more, finds that it may, and goes on.",
        "model.machine Machine.covers",
        (
            "arch/x86/mm/pgtable.c ptep_set_access_flags(): no flush",
            "arch/arm64/mm/fault.c 6.1 ptep_set_access_flags(), 6.12 __ptep_set_access_flags(), "
            "7.2 __ptep_set_access_flags_anysz(), which flushes on its own CPU only",
            "mm/memory.c wp_page_reuse(), finish_mkwrite_fault()",
        ),
        (
            "stale-after-return/good_e1_upgrade",
            "stale-after-return/good_e1_upgrade_arm64",
            "stale-after-return/good_e1_upgrade_then_munmap",
            "flush-deadline/good_e1_upgrade",
        ),
    ),
    Sanctioned(
        "E2",
        "Accessed, dirty and software bits",
        "Bits that say that a page was used, and bits that only software reads, may change without "
        "a flush: where the entry leads and what it permits is as before.",
        "model.machine Machine.covers",
        (
            "arch/x86/mm/pgtable.c ptep_clear_flush_young(): no flush",
            "arch/arm64/include/asm/pgtable.h 6.1 ptep_clear_flush_young(), since then "
            "__ptep_clear_flush_young(): TLBI without DSB",
            "arch/x86/include/asm/tlbflush.h pte_flags_need_flush(): software bits",
        ),
        (
            "stale-after-return/good_e2_young_and_software_bits",
            "stale-after-return/good_e2_young_tlbi_without_dsb",
            "flush-deadline/good_e2_accessed_and_dirty",
        ),
    ),
    Sanctioned(
        "E3",
        "A lazy CPU",
        "A CPU that borrows an address space for a kernel thread is spared the flushes of leaf "
        "entries, because it catches up before it uses the address space again (for which there is "
        "the rule `lazy-reactivation`).",
        "model.machine Machine.can_use; model.stream Sequel.turns_lazy",
        (
            "arch/x86/mm/tlb.c should_flush_tlb(); native_flush_tlb_multi(): not when tables were "
            "freed; switch_mm_irqs_off(): was_lazy",
        ),
        (
            "stale-after-return/good_e3_lazy",
            "stale-after-return/good_e3_lazy_numbered_late",
            "stale-after-return/good_e3_still_lazy",
            "free-before-flush/good_e3_lazy",
            "flush-deadline/good_e3_lazy",
        ),
    ),
    Sanctioned(
        "E4",
        "A CPU inside of switch_mm",
        "A CPU that is changing its address space runs no user code, with interrupts off, and "
        "flushes what it needs before it does.",
        "model.machine Machine.can_use; model.tasks Cpu.switching",
        ("arch/x86/mm/tlb.c switch_mm_irqs_off(): LOADED_MM_SWITCHING",),
        (
            "stale-after-return/good_e4_inside_switch_mm",
            "stale-after-return/good_e4_loaded_mm_switching",
            "free-before-flush/good_e4_inside_switch_mm",
            "table-free-before-flush/good_e4_inside_switch_mm",
            "flush-deadline/good_e4_inside_switch_mm",
        ),
    ),
    Sanctioned(
        "E5",
        "Another address space is loaded",
        "What a CPU holds of an address space that it has not loaded is dead until it loads it "
        "again, which flushes if flushes were missed.",
        "model.tlb_x86 X86Tlb.holders; model.tlb_arm64 Arm64Tlb.holders",
        (
            "arch/x86/mm/tlb.c switch_mm_irqs_off(), choose_new_asid(), load_new_mm_cr3()",
            "arch/arm64/mm/context.c check_and_switch_context(), flush_context()",
        ),
        (
            "stale-after-return/good_e5_asid_not_loaded",
            "stale-after-return/good_e5_flushed_since",
            "stale-after-return/good_e5_left_before_it_was_valid",
            "free-before-flush/good_e5_another_asid",
            "table-free-before-flush/good_e5_another_root",
            "flush-deadline/good_e5_another_asid",
        ),
    ),
    Sanctioned(
        "E6",
        "One flush for several requests",
        "Whoever asked for an invalidation, and whatever for, it counts for all that was "
        "superseded before it: a CPU that has caught up does nothing for the next request.",
        "model.machine Machine._flush; model.tlb Records.take",
        (
            "arch/x86/mm/tlb.c flush_tlb_func(): early returns by tlb_gen",
            "mm/mmu_gather.c tlb_finish_mmu(): mm_tlb_flush_nested()",
        ),
        (
            "stale-after-return/good_e6_one_flush_for_two_calls",
            "flush-deadline/good_e6_flushed_by_another_request",
        ),
    ),
    Sanctioned(
        "E7",
        "The end of an address space",
        "Leaf entries of an address space that nobody runs in need no flush: who gets its root or "
        "its ASID next flushes before.",
        "model.tlb Records.forget; model.tlb_arm64 Arm64Tlb.forget; "
        "rules.free_before_flush FreeBeforeFlush.usable; rules.deadline_rows EXIT",
        (
            "mm/mmap.c exit_mmap()",
            "arch/arm64/include/asm/tlb.h tlb_flush(): fullmm",
            "arch/arm64/mm/context.c new_context(), flush_context()",
        ),
        (
            "stale-after-return/good_e7_teardown",
            "free-before-flush/good_e7_exit",
            "free-before-flush/good_e7_huge_page",
            "free-before-flush/good_e7_teardown",
            "flush-deadline/good_d21_e7_leaf",
        ),
    ),
    Sanctioned(
        "E8",
        "Reclaim",
        "Reclaim clears entries and flushes a batch of them later, before it writes or frees the "
        "pages: until then another CPU may read the old page, also beside a copy that a refault "
        "has brought, and calls about other pages need not wait.",
        "model.syscalls promise; rules.aliased_translation AliasedTranslation.idle; "
        "rules.deadline_rows RECLAIM; rules.break_before_make BreakBeforeMake._judge",
        (
            "mm/rmap.c try_to_unmap_one(), set_tlb_ubc_flush_pending()",
            "mm/vmscan.c shrink_folio_list(): try_to_unmap_flush()",
        ),
        (
            "stale-after-return/good_e8_fork_after_reclaim",
            "stale-after-return/good_e8_reclaimed_before_the_call",
            "aliased-translation/good_e8_tolerated",
            "flush-deadline/good_d11_e8_batch",
            "break-before-make/good_e8_refault_after_reclaim",
        ),
    ),
    Sanctioned(
        "E9",
        "Zaps under shared locks",
        "`madvise`, truncation and hole punching let go of the page-table lock before they flush: "
        "another thread may fault a new page in meanwhile, while a third reads the old one, which "
        "is not freed before the flush.",
        "rules.aliased_translation AliasedTranslation.idle; rules.deadline_rows ZAP; "
        "rules.break_before_make BreakBeforeMake._judge",
        (
            "mm/memory.c zap_pte_range(), unmap_mapping_range_tree()",
            "mm/mmu_gather.c tlb_finish_mmu()",
        ),
        (
            "aliased-translation/good_e9_tolerated",
            "flush-deadline/good_d10_e9_refault",
            "break-before-make/good_e9_refault_by_another",
        ),
    ),
    Sanctioned(
        "E10",
        "The parent writes while fork runs",
        "Until fork flushes, at its end, the parent's other threads may write through entries that "
        "it has write-protected: the child does not run yet.",
        "rules.stale_after_return StaleAfterReturn.returned; rules.deadline_rows FORK",
        (
            "kernel/fork.c, 7.2 mm/mmap.c dup_mmap(): flush_tlb_mm(oldmm)",
            "mm/memory.c copy_present_ptes(), 6.1 copy_present_pte()",
        ),
        (
            "stale-after-return/good_e10_sibling_writes_during_fork",
            "flush-deadline/good_d6_flush_then_unlock",
        ),
    ),
    Sanctioned(
        "E11",
        "Both addresses while mremap moves",
        "While mremap holds both page-table locks, a page may be reached at its old address, "
        "through stale entries, and at its new one.",
        "rules.stale_after_return StaleAfterReturn.returned; rules.deadline_rows MOVE",
        ("mm/mremap.c move_ptes(): flush_tlb_range() before both locks are left",),
        (
            "stale-after-return/good_e11_mremap_both_addresses",
            "flush-deadline/good_d7_e11_both_addresses",
        ),
    ),
    Sanctioned(
        "E12",
        "arm64: an entry where none was",
        "A user entry that becomes valid where none was needs neither barrier nor flush, and pages "
        "may be folded into contiguous entries, or unfolded, by way of none and a flush.",
        "rules.break_before_make BreakBeforeMake.installed; "
        "rules.flush_deadline FlushDeadline.stored",
        (
            "arch/arm64/include/asm/pgtable.h 6.1 set_pte(), since then __set_pte(): barriers for "
            "kernel entries only",
            "arch/arm64/mm/contpte.c 6.12, 7.2 contpte_convert()",
        ),
        (
            "flush-deadline/good_d8_e12_contiguous_folded",
            "break-before-make/good_e12_contiguous_folded",
            "break-before-make/good_e12_nothing_became_a_page",
        ),
    ),
    Sanctioned(
        "E13",
        "Kernel addresses",
        "The kernel's own translations have other rules, by which vfree frees pages first and "
        "flushes before the addresses are given out again, so the rules here are about user "
        "addresses only.",
        "model.stream Selection; model.syscalls promise",
        ("mm/vmalloc.c vfree(), __purge_vmap_area_lazy()",),
        (
            "stale-after-return/good_e13_kernel_address",
            "aliased-translation/good_e13_kernel_address_reused",
            "free-before-flush/good_e13_vfree",
            "flush-deadline/good_e13_kernel_address",
            "break-before-make/good_e13_kernel_address",
        ),
    ),
    Sanctioned(
        "E14",
        "Pages of hugetlb",
        "A page of hugetlb goes back to its pool, of which no event tells, so nothing is asked at "
        "that moment.",
        "rules.frees FreedFrames.freed",
        ("mm/hugetlb.c free_huge_folio(), 6.1 free_huge_page()",),
        ("free-before-flush/good_e14_hugetlb_page_goes_to_its_pool",),
    ),
    Sanctioned(
        "E15",
        "Entries that come back",
        "An entry that is cleared and put back as it was, or with more rights, by who gives up or "
        "goes by way of none, was never gone.",
        "model.machine Machine._bring_back; rules.flush_deadline FlushDeadline.stored; "
        "rules.break_before_make BreakBeforeMake.installed",
        (
            "mm/rmap.c try_to_unmap_one(), try_to_migrate_one(): what gives up",
            "mm/ksm.c write_protect_page(): references that it cannot account for",
            "mm/userfaultfd.c 6.12 move_present_pte(), 7.2 move_present_ptes(): a pinned page",
            "mm/mprotect.c change_pte_range(): by way of none",
        ),
        (
            "stale-after-return/good_e15_restored",
            "free-before-flush/good_e15_comes_back",
            "flush-deadline/good_d8_e15_comes_back",
            "break-before-make/good_comes_back",
        ),
    ),
)
"""All of them, by number."""
