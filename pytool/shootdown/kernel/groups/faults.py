"""Page faults: entry, the VMA and the lock used, each handle_mm_fault() and its result.

What joins these records into one row for each fault is ``model/faults.py``. Where a kernel has
``handle_mm_fault`` called outside of a fault (GUP, futexes), that is recorded too.

Where the compiler has put ``do_user_addr_fault`` into ``exc_page_fault`` (arch/x86/mm/fault.c), the
work on a fault is over when that calls ``irqentry_exit`` (kernel/entry/common.c), which schedules
and delivers signals; so that one is recorded there, for every interrupt and exception.
"""

from __future__ import annotations

from typing import Final

from shootdown.kernel.groups.base import Group, Traced
from shootdown.trace.functions import Function

FLAGS: Final = tuple(
    f"fault_flag.FAULT_FLAG_{name}"
    for name in (
        *("WRITE", "MKWRITE", "ALLOW_RETRY", "RETRY_NOWAIT", "KILLABLE", "TRIED", "USER"),
        *("REMOTE", "INSTRUCTION", "INTERRUPTIBLE", "UNSHARE", "ORIG_PTE_VALID", "VMA_LOCK"),
    )
)
"""Bits of the flags that handle_mm_fault() takes (include/linux/mm_types.h)."""
RESULTS: Final = tuple(
    f"vm_fault_reason.VM_FAULT_{name}"
    for name in (
        *("OOM", "SIGBUS", "MAJOR", "WRITE", "HWPOISON", "HWPOISON_LARGE", "SIGSEGV", "NOPAGE"),
        *("LOCKED", "RETRY", "FALLBACK", "DONE_COW", "NEEDDSYNC", "COMPLETED"),
    )
)
"""Bits of what it returns."""

GROUP: Final = Group(
    name="faults",
    text="page faults: address, VMA, lock, flags and result of every attempt",
    functions=(
        Traced(Function.exc_page_fault),
        Traced(Function.do_user_addr_fault),
        Traced(Function.do_mem_abort),
        Traced(Function.do_page_fault),
        Traced(Function.lock_vma_under_rcu, 2),
        Traced(Function.lock_mm_and_find_vma, 2),
        Traced(Function.handle_mm_fault),
        Traced(Function.fixup_user_fault),
        Traced(Function.irqentry_exit, 1, inlined=("do_user_addr_fault", "exc_page_fault")),
    ),
    needs=(("do_user_addr_fault", "exc_page_fault", "do_page_fault"), ("handle_mm_fault",)),
    constants=(*FLAGS, *RESULTS),
)
