"""In which form a kernel has the locks of mm, by the members that its structures have.

Versions say little: stable branches take such changes along, and a bisection stops at any commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.btf import Member

_POINTER_BYTES: Final = 8

MEMBERS: Final = (
    "rw_semaphore.count",
    "rw_semaphore.rwbase",
    "vm_area_struct.vm_lock",
    "vm_area_struct.vm_lock_seq",
    "vm_area_struct.vm_refcnt",
    "vma_lock.lock.count",
    "mm_struct.mm_lock_seq",
    "mm_struct.mm_lock_seq.sequence",
    "mm_struct.page_table_lock",
    "page.ptl",
    "ptdesc.ptl",
    "spinlock.rlock",
)
"""What the forms are told by. All are in ``KernelFacts.members``, if the kernel has them."""

Members = Mapping[str, Member]
"""Members that the kernel has, by path: ``KernelFacts.members``."""


class RwsemForm(Enum):
    """What ``mmap_lock`` is; the values are words for people."""

    COUNT = "rw_semaphore with a count of readers and a writer bit"
    RWBASE = "rw_semaphore of PREEMPT_RT, an rt_mutex with a count of readers"
    UNKNOWN = "unknown"


class VmaLockForm(Enum):
    """What locks one VMA."""

    NONE = "none"
    VM_LOCK_POINTER = "vm_lock, a pointer to an rw_semaphore"
    VM_LOCK_INLINE = "vm_lock, an rw_semaphore in the VMA"
    VM_REFCNT = "vm_refcnt, a reference count"
    UNKNOWN = "unknown"


class SeqForm(Enum):
    """What ``mm_lock_seq`` is, which a writer of ``mmap_lock`` changes to lock VMAs."""

    NONE = "none"
    INT = "an integer"
    SEQCOUNT = "a seqcount_t"


class PtlockForm(Enum):
    """What locks one page table, where the kernel has a lock for each (NR_CPUS of 4 or more)."""

    INLINE = "a spinlock in the table's descriptor"
    POINTER = "a pointer in the table's descriptor to an allocated spinlock"
    UNKNOWN = "unknown"


def rwsem_form(members: Members) -> RwsemForm:
    """The form of ``struct rw_semaphore`` (include/linux/rwsem.h)."""
    if "rw_semaphore.rwbase" in members:
        return RwsemForm.RWBASE
    return RwsemForm.COUNT if "rw_semaphore.count" in members else RwsemForm.UNKNOWN


def vma_lock_form(members: Members) -> VmaLockForm:
    """The form of the per-VMA lock (CONFIG_PER_VMA_LOCK; struct vm_area_struct in mm_types.h)."""
    lock = members.get("vm_area_struct.vm_lock")
    if "vm_area_struct.vm_refcnt" in members:
        return VmaLockForm.VM_REFCNT
    if lock and "vma_lock.lock.count" in members:
        pointer = lock.size == _POINTER_BYTES  # no rw_semaphore is as small
        return VmaLockForm.VM_LOCK_POINTER if pointer else VmaLockForm.VM_LOCK_INLINE
    unknown = lock or "vm_area_struct.vm_lock_seq" in members
    return VmaLockForm.UNKNOWN if unknown else VmaLockForm.NONE


def mm_lock_seq_form(members: Members) -> SeqForm:
    """The form of ``mm_struct.mm_lock_seq``. With the integer, an odd value means nothing."""
    if "mm_struct.mm_lock_seq" not in members:
        return SeqForm.NONE
    return SeqForm.SEQCOUNT if "mm_struct.mm_lock_seq.sequence" in members else SeqForm.INT


def ptlock_member(members: Members) -> str:
    """Path of the page-table lock in a table's descriptor; empty when there is none.

    ``ptdesc.ptl``, or ``page.ptl`` before tables had descriptors of their own. Both overlay the
    ``struct page`` of the table's frame.
    """
    return next((path for path in ("ptdesc.ptl", "page.ptl") if path in members), "")


def ptlock_form(members: Members) -> PtlockForm:
    """The form of the page-table lock: ALLOC_SPLIT_PTLOCKS in mm_types_task.h.

    A kernel for fewer than 4 CPUs has the member and takes ``mm_struct.page_table_lock`` instead.
    """
    path, spinlock = ptlock_member(members), members.get("spinlock.rlock")
    if not path or spinlock is None:
        return PtlockForm.UNKNOWN
    size = members[path].size
    if spinlock.size > _POINTER_BYTES:  # debugging makes it larger: CONFIG_DEBUG_SPINLOCK, lockdep
        return PtlockForm.POINTER if size == _POINTER_BYTES else PtlockForm.UNKNOWN
    return PtlockForm.INLINE if size == spinlock.size else PtlockForm.UNKNOWN


def demand_count(members: Members, what: str) -> None:
    """Raise InfraError, which names ``what``, when ``mmap_lock`` is of a form that is not recorded.

    PREEMPT_RT makes sleeping locks of the page-table locks too, so no event of either would be
    right.
    """
    form = rwsem_form(members)
    if form is RwsemForm.RWBASE:
        raise InfraError(
            f"{what} is a PREEMPT_RT kernel: its mmap_lock and page-table locks are rt_mutexes, "
            "which cannot be followed; use one built without CONFIG_PREEMPT_RT."
        )
    if form is RwsemForm.UNKNOWN:
        raise InfraError(
            f"The rw_semaphore of {what} has neither a count nor an rwbase, so its mmap_lock "
            "cannot be followed; use another kernel."
        )


def describe(members: Members) -> dict[str, str]:
    """The form of each lock in words, by what it is called."""
    return {
        "mmap_lock": rwsem_form(members).value,
        "per-VMA lock": vma_lock_form(members).value,
        "mm_lock_seq": mm_lock_seq_form(members).value,
        "page-table lock": ptlock_form(members).value,
    }
