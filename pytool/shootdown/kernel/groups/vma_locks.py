"""The lock of each VMA, in both forms, and the sequence number of the mm that ends write locks.

From 6.4 to 6.14 the lock is a rw_semaphore that ``vm_lock`` points to; readers hold it, a writer
only waits for them with it (include/linux/mm.h, ``vma_start_write``). From 6.15 on it is
``vm_refcnt`` (include/linux/mmap_lock.h, mm/mmap_lock.c). In both a VMA is locked to write while
its ``vm_lock_seq`` equals the ``mm_lock_seq`` of its mm.
"""

from __future__ import annotations

from typing import Final

from shootdown.kernel.groups.base import VMA_COPIES, VMA_LIFE, Group, Set, Traced, Word
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch

GROUP: Final = Group(
    name="vma_locks",
    text="per-VMA locks, taken and given back, and mm_lock_seq",
    functions=(
        *VMA_LIFE,
        # Out of line from 6.15 on: the writer that has to wait for readers is in there.
        Traced(Function["__vma_start_write"], 2),
        Traced(Function["__vma_start_exclude_readers"], 1),
    ),
    calls=VMA_COPIES,
    words=(
        Word(Watch.VMA_LOCK, Set.VMA, "vma_lock.lock.count", via="vm_area_struct.vm_lock", size=8),
        Word(Watch.VMA_REFCNT, Set.VMA, "vm_area_struct.vm_refcnt"),
        Word(Watch.VMA_LOCK_SEQ, Set.VMA, "vm_area_struct.vm_lock_seq"),
        Word(Watch.VMA_DETACHED, Set.VMA, "vm_area_struct.detached"),
        Word(
            *(Watch.MM_LOCK_SEQ, Set.MM, "mm_struct.mm_lock_seq"),
            narrow="mm_struct.mm_lock_seq.sequence",
        ),
    ),
    needs=(
        ("vm_area_struct.vm_lock", "vm_area_struct.vm_refcnt"),
        ("vm_area_struct.vm_lock_seq",),
        ("mm_struct.mm_lock_seq",),
        ("vm_area_alloc",),
        ("vm_area_dup",),
        ("vm_area_free",),
    ),
)
