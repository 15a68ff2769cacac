"""Life of VMAs: born, attached, changed, detached, freed; and the root of each tree of them.

``vm_area_dup`` copies the words before it returns, so what it copied is in the WATCH_INIT records.
Not seen: VMAs that no allocator made, on the kernel's stack or in its data (the gate page, the
pseudo VMAs of hugetlbfs). Of the tree only the root is watched: a tree of more than one node
changes below it.
"""

from __future__ import annotations

from typing import Final

from shootdown.kernel.groups.base import VMA_COPIES, VMA_LIFE, Group, Set, Word
from shootdown.trace.schema import Watch

GROUP: Final = Group(
    name="vmas",
    text="VMAs: birth, range, flags, attachment and death; the tree's root",
    functions=VMA_LIFE,
    calls=VMA_COPIES,
    words=(
        Word(Watch.VMA_START, Set.VMA, "vm_area_struct.vm_start"),
        Word(Watch.VMA_END, Set.VMA, "vm_area_struct.vm_end"),
        Word(Watch.VMA_MM, Set.VMA, "vm_area_struct.vm_mm"),
        Word(Watch.VMA_FLAGS, Set.VMA, "vm_area_struct.vm_flags"),
        Word(Watch.VMA_PAGE_PROT, Set.VMA, "vm_area_struct.vm_page_prot"),
        Word(Watch.VMA_DETACHED, Set.VMA, "vm_area_struct.detached"),
        Word(Watch.VMA_REFCNT, Set.VMA, "vm_area_struct.vm_refcnt"),
        Word(Watch.MM_TREE, Set.MM, "mm_struct.mm_mt.ma_root"),
    ),
    needs=(
        ("vm_area_alloc",),
        ("vm_area_dup",),
        ("vm_area_free",),
        ("vm_area_struct.vm_start",),
        ("vm_area_struct.vm_end",),
    ),
)
