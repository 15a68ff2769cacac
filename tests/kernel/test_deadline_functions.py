"""What leads to each row of ``flush-deadline`` is recorded on every stock kernel."""

from __future__ import annotations

import pytest

from shootdown.kernel import groups
from shootdown.kernel.facts import KernelFacts
from shootdown.rules.deadline_clock import WRITES_OUT
from shootdown.rules.deadline_functions import BY_FUNCTION
from shootdown.rules.deadline_rows import ROWS, ZAPS, Moment
from tests.kernel import forms
from tests.kernel.conftest import KERNELS

OPERATIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "D3": (("vms_complete_munmap_vmas", "do_vmi_align_munmap", "do_mas_munmap"),),
    "D4": (("mmap_region", "__mmap_region"),),
    "D5": (("do_mprotect_pkey", "mprotect_fixup"),),
    "D6": (("copy_page_range",),),
    "D7": (("move_page_tables",),),
    "D8": (
        ("do_wp_page",),
        ("hugetlb_fault",),
        ("try_to_merge_one_page", "write_protect_page", "replace_page"),
        ("page_vma_mkclean_one",),
        ("move_pages", "move_pages_ptes"),
        ("move_pages", "move_pages_huge_pmd"),
        ("uprobe_write_opcode",),
        ("ptep_clear_flush",),
    ),
    "D10": (("tlb_gather_mmu",),),
    "D11": (("try_to_unmap_one",),),
    "D12": (("try_to_migrate_one",),),
    "D13": (("__split_huge_pmd",),),
    "D14": (("pmdp_collapse_flush",), ("collapse_pte_mapped_thp",)),
    "D15": (("change_protection",),),
    "D16": (("unmap_mapping_range",), ("unmap_mapping_folio",)),
    "D18": (
        ("huge_pmd_unshare",),
        ("__huge_pmd_unshare",),
        ("hugetlb_unshare_pmds",),
    ),
    "D19": (("do_madvise",),),
    "D21": (("exit_mmap",),),
}
"""By row what is done, each with the functions that may be around it: one of them suffices."""
BY_KIND_OF_PAGE = ("D9", "D17")
"""Rows of what goes in the operations of ``ZAPS``."""
MOMENTS: dict[Moment, tuple[str, ...]] = {
    Moment.GATHER: ("tlb_finish_mmu",),
    Moment.BATCH: ("try_to_unmap_flush",),
    Moment.WRITEOUT: tuple(function.name for function in WRITES_OUT),
    Moment.UNLINK: ("free_pgtables",),
}
"""Moments that are functions; one of them suffices. Locks, words and entries have no name here."""
UNSHARED_BY = (
    *("__unmap_hugepage_range", "change_protection", "move_page_tables"),
    *("try_to_unmap_one", "try_to_migrate_one"),
)
"""Callers of those that unshare one table: D18 waits for the return of one."""
NOWHERE = {
    "replace_page": "inlined into try_to_merge_one_page() by every build, which need not be so",
}
NO_BATCHES = (
    "mm/rmap.c should_defer_flush() is constantly false without "
    "CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH, so D8 holds for what reclaim unmaps"
)
NOT_THERE = {
    ("6.1", "arm64", "try_to_unmap_flush"): NO_BATCHES,
    ("6.1", "x86_64", "move_pages"): "UFFDIO_MOVE is of 6.8",
    ("6.1", "arm64", "move_pages"): "UFFDIO_MOVE is of 6.8",
}
"""Kernel, architecture and the first function of a choice: why there is none of them."""


def lacks(known: KernelFacts, one_of: tuple[str, ...]) -> bool:
    """Whether a kernel has none of the functions, and should have."""
    reason = (".".join(known.release.split(".")[:2]), known.arch, one_of[0])
    here = any(name in known.functions for name in one_of)
    assert not (here and reason in NOT_THERE), f"{one_of} are there after all"
    return not here and reason not in NOT_THERE


def test_every_row_is_spoken_of() -> None:
    assert {*OPERATIONS, *BY_KIND_OF_PAGE} == {row.id for row in ROWS}
    assert set(ZAPS) <= set(OPERATIONS)
    for id, operations in OPERATIONS.items():
        named = {name for one_of in operations for name in one_of}
        mine = {name for name, row in BY_FUNCTION.items() if row.id == id}
        assert named == mine or id == "D10"


@pytest.mark.parametrize("id", OPERATIONS)
def test_a_function_leads_to_each_row(learned: KernelFacts, id: str) -> None:
    assert [one_of for one_of in OPERATIONS[id] if lacks(learned, one_of)] == []


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
def test_moments_are_seen(learned: KernelFacts, moment: Moment) -> None:
    assert not lacks(learned, MOMENTS[moment])


def test_those_who_unshare_tables_are_seen(learned: KernelFacts) -> None:
    assert [name for name in UNSHARED_BY if lacks(learned, (name,))] == []


def test_a_vma_that_comes_into_the_tree_is_seen(learned: KernelFacts) -> None:
    """By a word of its own (D4), or where it has none by who stores it."""
    words = ("vm_area_struct.vm_refcnt", "vm_area_struct.vm_lock_seq")
    assert any(map(learned.has, words)) != ("vma_mas_store" in learned.functions)


def test_a_function_that_no_kernel_has_says_why() -> None:
    there = {name for kernel in KERNELS for name in forms.stock(*kernel).functions}
    assert BY_FUNCTION.keys() - there == NOWHERE.keys()


def test_all_of_them_are_recorded() -> None:
    recorded = {traced.function.name for traced in groups.GROUPS["functions"].functions}
    asked = {name for one_of in MOMENTS.values() for name in one_of}
    assert {*asked, *UNSHARED_BY, *BY_FUNCTION, "vma_mas_store"} <= recorded
