"""Which row of the table of flush deadlines an entry comes under, and whose return a row waits for.

It is read off the functions that the store was inside of, the innermost first; never off a kernel's
version. A kernel has some of the functions only: what the compiler has put into its caller, or what
a version does not have yet or any more, leaves no call. So a row names each function that some
kernel has.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from shootdown.rules import deadline_rows as rows
from shootdown.rules.deadline_rows import Row
from shootdown.trace.functions import NAMES

_STACKS: Final = 1 << 12
"""Stacks whose row is remembered: there are few, and most stores are inside of the same ones."""
BY_FUNCTION: Final[dict[str, Row]] = {
    "ptep_clear_flush": rows.COPY,
    "page_vma_mkclean_one": rows.COPY,
    "try_to_merge_one_page": rows.COPY,
    "write_protect_page": rows.COPY,
    "replace_page": rows.COPY,
    "uprobe_write_opcode": rows.COPY,
    "move_pages": rows.COPY,
    "move_pages_ptes": rows.COPY,
    "move_pages_huge_pmd": rows.COPY,
    "do_wp_page": rows.COPY,
    "hugetlb_fault": rows.COPY,
    "try_to_unmap_one": rows.RECLAIM,
    "try_to_migrate_one": rows.MIGRATE,
    "__split_huge_pmd": rows.SPLIT,
    "pmdp_collapse_flush": rows.COLLAPSE,
    "collapse_pte_mapped_thp": rows.COLLAPSE,
    "huge_pmd_unshare": rows.UNSHARE,
    "__huge_pmd_unshare": rows.UNSHARE,
    "hugetlb_unshare_pmds": rows.UNSHARE,
    "move_page_tables": rows.MOVE,
    "copy_page_range": rows.FORK,
    "exit_mmap": rows.EXIT,
    "unmap_mapping_range": rows.TRUNCATE,
    "unmap_mapping_folio": rows.TRUNCATE,
    "do_mprotect_pkey": rows.MPROTECT,
    "mprotect_fixup": rows.MPROTECT,
    "change_protection": rows.TRACKING,
    "do_madvise": rows.MADVISE,
    "mmap_region": rows.MAP_FIXED,
    "__mmap_region": rows.MAP_FIXED,
    "vms_complete_munmap_vmas": rows.MUNMAP,
    "do_vmi_align_munmap": rows.MUNMAP,
    "do_mas_munmap": rows.MUNMAP,
}
"""Which row an entry comes under that is taken away inside of a function."""
_ONE_TABLE: Final = ("huge_pmd_unshare", "__huge_pmd_unshare")
"""They unshare one table; who called them flushes."""


@lru_cache(_STACKS)
def row_of(stack: tuple[int, ...], level: int) -> Row | None:
    """The row of an entry that was taken away inside of these functions, the outermost first.

    None where they say nothing. ``level`` is that of the entry.
    """
    found = [row for row in map(BY_FUNCTION.get, _names(stack)) if row is not None]
    if not found or rows.EXIT in found:
        return rows.EXIT if found else None
    first = found[0]
    if first in (rows.RECLAIM, rows.MIGRATE) and level > 1:
        # split_huge_pmd_locked(), unmap_huge_pmd_locked(), huge_ptep_clear_flush()
        return rows.SPLIT
    if first is rows.TRACKING and rows.MPROTECT in found:
        return rows.MPROTECT
    if first is rows.MUNMAP and rows.MAP_FIXED in found:
        return rows.MAP_FIXED
    return first


def _names(stack: tuple[int, ...]) -> Iterator[str]:
    return (NAMES.get(function, "") for function in reversed(stack))


@lru_cache(_STACKS)
def around(stack: tuple[int, ...], row: Row) -> int:
    """Where in the stack the function is whose return a row of ``Moment.RETURN`` waits for."""
    at = len(stack) - 1
    seen = False
    for name in _names(stack):
        seen = seen or BY_FUNCTION.get(name) is row
        if seen and name not in _ONE_TABLE:
            return at
        at -= 1
    return -1
