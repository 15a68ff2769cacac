"""Places in kernels that races speak of: functions, with the names that kernels give them.

Names with ``|`` between: of those that a kernel has, any. What is inlined everywhere has no name
here; see ``Actor.calls`` and ``Actor.returns``.
"""

from __future__ import annotations

from typing import Final

FAULT: Final = "handle_mm_fault"
"""A fault begins to be handled: its VMA is found and read-locked, or the mmap lock is."""
MMAP_LOCK: Final = "lock_mm_and_find_vma"
"""A fault goes to the mmap lock: after the VMA's lock was refused, or for a retry."""
FIND_VMA: Final = "lock_vma_under_rcu"
"""A fault looks for its VMA without the mmap lock; it has none when this returns NULL."""
VMA_WAIT: Final = "rwsem_down_write_slowpath|__vma_start_write"
"""A writer waits for the readers of a VMA: until 6.14 a semaphore, then a count."""
MMAP_WRITE_WAIT: Final = "rwsem_down_write_slowpath"
"""Somebody waits for the mmap lock, to write."""
FAULT_AROUND: Final = "filemap_map_pages"
"""A fault maps what the page cache has around it."""
REFUSED: Final = "force_sig_fault"
"""A fault ends in a signal."""
GATHER_END: Final = "tlb_finish_mmu"
"""Entries are clear, and not all of them flushed."""
GUP: Final = "gup_fast_fallback|internal_get_user_pages_fast"
"""Pages are looked up for IO, first without locks (GUP-fast)."""
FLUSH: Final = "flush_tlb_mm_range"
"""x86-64: the CPUs that may have an entry are about to be interrupted for it."""
FLUSHED_HERE: Final = "flush_tlb_func"
"""x86-64: a CPU flushes what another has asked for: the interrupt has come."""
SWITCH: Final = "switch_mm_irqs_off"
"""x86-64: another address space is loaded; CR3 first, then cpu_tlbstate.loaded_mm."""
RECLAIM_FLUSH: Final = "try_to_unmap_flush|try_to_unmap_flush_dirty"
"""Reclaim has cleared entries (TTU_BATCH_FLUSH) and not flushed them yet."""
UNLOCKED: Final = "userfaultfd_unmap_complete"
"""munmap, mmap or mremap has done its work and given the mmap lock back."""
COLLAPSE: Final = "collapse_huge_page"
"""Small pages become a huge one."""
SUBMIT: Final = "submit_bio"
"""IO is handed to the block layer; its pages are held by then."""
SLOW: Final = 5
"""Milliseconds in which others come as far as they can."""
LONG: Final = 10_000
"""Bound in milliseconds of holds whose others waste time on purpose, also on a busy host."""
