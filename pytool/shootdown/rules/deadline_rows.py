"""The table of flush deadlines: which entry must be flushed before what, and where that is written.

A row is data. Where versions of the kernel differ the references name each form.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Moment(Enum):
    """A moment that may be a deadline, as a report words it."""

    PTL = "the page-table lock was given back"
    NEXT = "the next entry was written"
    GATHER = "tlb_finish_mmu() has returned"
    UNLOCK = "mmap_lock was given back"
    STORED = "the new VMA could be found"
    BATCH = "try_to_unmap_flush() has returned"
    WRITEOUT = "the writing out of a page has begun"
    RETURN = "the function that did it has returned"
    UNLINK = "free_pgtables() has taken the VMA away from its file"


@dataclass(frozen=True, eq=False)
class Row:
    """One row: what is done, and before which moments; the first that is seen counts."""

    id: str
    title: str
    moments: tuple[Moment, ...]
    deadline: str
    """The same in words."""
    reference: str
    """Files and functions of the kernel, each form of them."""


MUNMAP: Final = Row(
    "D3",
    "munmap, and what unmaps like it",
    (Moment.UNLOCK,),
    "the read unlock that follows a downgrade, or the write unlock",
    "mm/vma.c vms_complete_munmap_vmas(); 6.1 mm/mmap.c do_mas_align_munmap(), unmap_region()",
)
MAP_FIXED: Final = Row(
    "D4",
    "mmap(MAP_FIXED)",
    (Moment.STORED, Moment.UNLOCK),
    "the store by which others find the new VMA in mm_mt",
    "mm/mmap.c or mm/vma.c __mmap_region(): vms_clean_up_area() before vma_iter_store(); 6.1 "
    "mm/mmap.c mmap_region(): do_mas_munmap() before vma_mas_store(), which is recorded since a "
    "VMA has no word there that says that it is in the tree",
)
MPROTECT: Final = Row(
    "D5",
    "mprotect",
    (Moment.GATHER, Moment.UNLOCK),
    "the end of the gather, and mmap_write_unlock() behind it",
    "mm/mprotect.c do_mprotect_pkey()",
)
FORK: Final = Row(
    "D6",
    "fork",
    (Moment.UNLOCK,),
    "mmap_write_unlock(oldmm); until then the parent's threads may write (E10)",
    "kernel/fork.c, 7.2 mm/mmap.c dup_mmap(): flush_tlb_mm(oldmm)",
)
MOVE: Final = Row(
    "D7",
    "mremap",
    (Moment.PTL, Moment.UNLOCK),
    "the release of the first of both page-table locks; until then both addresses map the page "
    "(E11). hugetlb flushes later: before the write unlock",
    "mm/mremap.c move_ptes(), move_normal_pmd(), move_normal_pud(); mm/huge_memory.c "
    "move_huge_pmd(); mm/hugetlb.c move_hugetlb_page_tables()",
)
COPY: Final = Row(
    "D8",
    "replacement of a page",
    (Moment.NEXT, Moment.PTL),
    "the next valid entry, under one hold of the page-table lock",
    "mm/memory.c wp_page_copy(); mm/hugetlb.c hugetlb_wp(); mm/ksm.c try_to_merge_one_page(): "
    "write_protect_page(), replace_page(); mm/rmap.c page_vma_mkclean_one(), try_to_unmap_one(), "
    "try_to_migrate_one() where they do not defer; mm/userfaultfd.c move_pages(): "
    "move_present_pte(), 7.2 move_pages_ptes(): move_present_ptes(); mm/huge_memory.c "
    "move_pages_huge_pmd(); kernel/events/uprobes.c __replace_page(), 7.2 __uprobe_write()",
)
DIRTY: Final = Row(
    "D9",
    "zap of a dirty file page",
    (Moment.PTL,),
    "the release of the page-table lock",
    "mm/memory.c zap_present_folio_ptes(), zap_pte_range(): force_flush; 6.1 zap_pte_range()",
)
ZAP: Final = Row(
    "D10",
    "zap",
    (Moment.GATHER,),
    "the end of the gather; until then another thread may have a new page (E9)",
    "mm/memory.c zap_pte_range(); mm/mmu_gather.c tlb_finish_mmu()",
)
RECLAIM: Final = Row(
    "D11",
    "reclaim",
    (Moment.BATCH, Moment.WRITEOUT),
    "pageout() of what was dirty, and the freeing of the rest; until then a refault may read "
    "another copy (E8)",
    "mm/vmscan.c shrink_folio_list(): try_to_unmap_flush_dirty() before pageout(), which in 7.2 "
    "calls mm/page_io.c swap_writeout() or mm/shmem.c shmem_writeout(); mm/rmap.c "
    "try_to_unmap_flush(), try_to_unmap_flush_dirty()",
)
MIGRATE: Final = Row(
    "D12",
    "migration",
    (Moment.BATCH, Moment.NEXT),
    "the copy of the page, and the entry of the new one",
    "mm/migrate.c migrate_pages_batch(): try_to_unmap_flush(); mm/rmap.c try_to_migrate_one(); "
    "6.1 does not defer (D8)",
)
SPLIT: Final = Row(
    "D13",
    "split of a huge page",
    (Moment.NEXT, Moment.PTL),
    "the table of small entries, under one hold of the lock",
    "mm/huge_memory.c __split_huge_pmd_locked(): pmdp_invalidate() before pmd_populate()",
)
COLLAPSE: Final = Row(
    "D14",
    "collapse to a huge page",
    (Moment.RETURN, Moment.PTL),
    "the copying of the old pages",
    "mm/pgtable-generic.c pmdp_collapse_flush(); mm/khugepaged.c collapse_huge_page(), "
    "retract_page_tables(), collapse_pte_mapped_thp(); 6.1 collapse_and_free_pmd()",
)
TRACKING: Final = Row(
    "D15",
    "write-protection for userfaultfd, soft-dirty or NUMA",
    (Moment.GATHER, Moment.UNLOCK),
    "the end of the gather; for soft-dirty, which has none, mmap_write_unlock()",
    "mm/userfaultfd.c uffd_wp_range(); mm/mempolicy.c change_prot_numa(); fs/proc/task_mmu.c "
    "clear_refs_write()",
)
TRUNCATE: Final = Row(
    "D16",
    "truncation, hole punching",
    (Moment.GATHER,),
    "the end of the VMA's gather, which i_mmap_rwsem is held around (E9)",
    "mm/memory.c unmap_mapping_range_tree(), zap_page_range_single()",
)
SPECIAL: Final = Row(
    "D17",
    "unmapping of frames without a page",
    (Moment.UNLINK,),
    "the VMA's leaving its file: nobody else keeps account of such frames",
    "include/asm-generic/tlb.h tlb_end_vma(); 7.2 tlb_free_vmas(), called at the beginning of "
    "mm/memory.c free_pgtables(), which unlinks every VMA before it takes a table away: whether or "
    "not it takes one, the VMAs are unlinked when it returns",
)
UNSHARE: Final = Row(
    "D18",
    "unsharing of a hugetlb table",
    (Moment.RETURN,),
    "the release of i_mmap_rwsem: at the latest, the return of the function that walks the range",
    "mm/hugetlb.c __huge_pmd_unshare(), and behind the last of them huge_pmd_unshare_flush(): "
    "__unmap_hugepage_range(), hugetlb_change_protection(), move_hugetlb_page_tables(), "
    "hugetlb_unshare_pmds(); mm/rmap.c try_to_unmap_one(), try_to_migrate_one()",
)
MADVISE: Final = Row(
    "D19",
    "madvise",
    (Moment.GATHER, Moment.UNLOCK),
    "the end of the gather, and of the hold of mmap_lock that the gather began in (E9)",
    "mm/memory.c zap_page_range_single(), inside of mmap_lock in 6.1 and 6.12; 7.2 mm/madvise.c "
    "madvise_finish_tlb(), behind the end of the VMA's lock",
)
EXIT: Final = Row(
    "D21",
    "end of an address space",
    (Moment.GATHER,),
    "the end of the gather, for pointers to tables, on lazy CPUs too",
    "mm/mmap.c exit_mmap(); arch/arm64/include/asm/tlb.h tlb_flush(), which leaves leaf entries "
    "to the next owner of the ASID (E7); arch/x86/mm/tlb.c flush_tlb_mm_range(): freed_tables",
)

ROWS: Final = (
    *(MUNMAP, MAP_FIXED, MPROTECT, FORK, MOVE, COPY, DIRTY, ZAP, RECLAIM, MIGRATE, SPLIT),
    *(COLLAPSE, TRACKING, TRUNCATE, SPECIAL, UNSHARE, MADVISE, EXIT),
)
ZAPS: Final = ("D3", "D4", "D10", "D16", "D19")
"""Rows of operations that go through zap_pte_range()."""


_LIST: Final = "\n".join(
    textwrap.fill(f"* {row.id}, {row.title}: {row.deadline}.", 100, subsequent_indent="  ")
    for row in ROWS
)
TEXT: Final = f"""\
`stale-after-return` waits for the end of a system call. The kernel promises more: each operation
has a moment of its own by which what it took away is flushed from every CPU, and others rely on it.
A superseded entry must have been invalidated, on every CPU that may have cached it and can use it,
before

{_LIST}

Elsewhere: D1 is the rule `free-before-flush`; D2 is `table-free-before-flush`, and
`table-freed-under-walker` for software walkers; what D11 owes to the mprotect or munmap that comes
next is judged by `stale-after-return`. There is no D20 here: it would be vfree() of kernel
addresses, which frees pages before it flushes (E13) and which no rule is about.

Which row an entry comes under follows from the functions that its store was inside of, so the group
`functions` is needed. With `ptl` the releases of page-table locks are seen (D7 to D9, D13, D14),
with `vmas` what is stored to VMAs (D4), whose page it was (D9, D17) and what is not hugetlb (D7).
What a trace lacks is made up for by the row's later moment where it has one; the report's note
names rows that have none. A finding names its row, which is part of its fingerprint too. The
situation of a row is its moment with an entry that another CPU may have held; `deadline:ROW` among
the coverage counts them, `deadline:no row` counts entries that come under none.

* **MAY**: the moment has passed, and no invalidation that covers the entry has taken effect on some
  CPU. There is no **WITNESS**: who uses the entry afterwards is the other rules' witness.

Sanctioned: a CPU that is lazy (E3; not for D21, whose tables it walks), inside of `switch_mm` (E4)
or has another address space loaded (E5) when the moment comes; entries that come back, also as
contiguous ones (E12, E15); upgrades and accessed or dirty bits (E1, E2); leaf entries in
`exit_mmap()` (E7). Whoever did the flush, for whatever request, it counts (E6)."""
"""The rule's text."""

REFERENCES: Final = tuple(f"{row.id}: {row.reference}" for row in ROWS)
"""The kernel source of each."""
