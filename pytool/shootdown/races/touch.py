"""A VMA changes between the look-up of a fault and its entry: Zijlstra's and Schermerhorn's races.

Zijlstra's fault finds a VMA, and validates it once it has the page-table lock; unmap marks the VMA
dead before. Schermerhorn: mlock, mprotect and mbind split and merge VMAs too, so that a VMA is dead
while the fault stays valid, and the look-up must go on until it finds the new one. Today's kernels
read-lock the VMA (`lock_vma_under_rcu`), and whoever changes it waits for its readers
(`vma_start_write`), marks it detached (`vma_mark_detached`) and frees it after a grace period.

Wrong would be: an entry for a VMA that is gone (rule `dead-vma-install`), a signal at an address
that was mapped all the time (`spurious-fault`; the workload counts it too, as `spurious`), a page
stored to that is lost (`lost`). The range is empty, so that nobody has to flush it: on x86-64 a CPU
that is held answers no flush.
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import FAULT, FAULT_AROUND, LONG, MMAP_LOCK, SLOW, VMA_WAIT

EVENTS = "default,vmas,vma_locks,faults,functions"
PATIENCE = "patience=5000000"
OPS = {
    name: number
    for number, name in enumerate(
        ("munmap", "map_fixed", "mprotect", "mremap", "mlock", "mbind", "neighbour", "fork_flag")
    )
}
PRIVATE = 0
SHARED_FILE = 1
DISK = 2
UNWRITTEN = 3
"""Private, and only read."""


def _options(name: str, memory: int = PRIVATE) -> str:
    return f"op={OPS[name]},memory={memory},{PATIENCE}"


def _found_then(r: Script, call: str) -> None:
    # The walk of the tree has found the VMA, vma_start_read has not locked it.
    found = r.thread("toucher").calls("mas_walk", inside="lock_vma_under_rcu")
    with r.hold(after=found, bound_ms=LONG):
        r.run_until(r.thread("mapper").returns(call))


@race(workload="touch", options=_options("munmap"), events=EVENTS)
def found_then_unmapped(r: Script) -> None:
    """A fault has found the VMA that munmap detaches; it must see that, and be refused."""
    _found_then(r, "munmap")


@race(workload="touch", options=_options("map_fixed"), events=EVENTS)
def found_then_replaced(r: Script) -> None:
    """A fault has found the VMA that mmap(MAP_FIXED) replaces; it must look again."""
    _found_then(r, "mmap")


@race(workload="touch", options=_options("mprotect"), events=EVENTS)
def found_then_protected(r: Script) -> None:
    """A store has found a VMA that mprotect splits and makes read-only; it must be refused."""
    _found_then(r, "mprotect")


@race(workload="touch", options=_options("mremap"), events=EVENTS)
def found_then_moved(r: Script) -> None:
    """A fault has found a VMA of which mremap takes a part elsewhere."""
    _found_then(r, "mremap")


@race(workload="touch", options=_options("mlock"), events=EVENTS)
def found_then_split_by_mlock(r: Script) -> None:
    """mlock splits the VMA that a fault has found; the fault stays valid."""
    _found_then(r, "mlock2")


@race(workload="touch", options=_options("mlock"), events=EVENTS)
def found_then_merged_by_munlock(r: Script) -> None:
    """mlock splits the VMA that a fault has found, munlock merges what it has become."""
    _found_then(r, "munlock")


@race(workload="touch", options=_options("mbind"), events=EVENTS)
def found_then_split_by_mbind(r: Script) -> None:
    """mbind splits the VMA that a fault has found; the fault stays valid."""
    _found_then(r, "mbind")


@race(workload="touch", options=_options("neighbour"), events=EVENTS)
def found_then_split_by_neighbour(r: Script) -> None:
    """mprotect of the pages behind splits the VMA that a fault has found."""
    _found_then(r, "mprotect")


def _locked_then_waits(r: Script, place: str, wait: str = VMA_WAIT) -> None:
    with r.hold(at=r.thread("toucher").enters(place), bound_ms=LONG):
        r.run_until(r.thread("mapper").enters(wait))
        r.pause(SLOW)


@race(workload="touch", options=_options("munmap"), events=EVENTS)
def locked_then_unmapped(r: Script) -> None:
    """A fault has read-locked its VMA; munmap waits for it (`vma_start_write`)."""
    _locked_then_waits(r, FAULT)


@race(workload="touch", options=_options("map_fixed"), events=EVENTS)
def locked_then_replaced(r: Script) -> None:
    """A fault has read-locked its VMA; mmap(MAP_FIXED) waits for it."""
    _locked_then_waits(r, FAULT)


@race(workload="touch", options=_options("mprotect"), events=EVENTS)
def locked_then_protected(r: Script) -> None:
    """A fault has read-locked its VMA; mprotect waits for it."""
    _locked_then_waits(r, FAULT)


@race(workload="touch", options=_options("mlock"), events=EVENTS)
def locked_then_split_by_mlock(r: Script) -> None:
    """A fault has read-locked its VMA; mlock, which splits it, waits for it."""
    _locked_then_waits(r, FAULT)


@race(workload="touch", options=_options("munmap"), events=EVENTS)
def fault_outlives_munmap(r: Script) -> None:
    """munmap does not return while a fault holds its VMA: this order is infeasible."""
    with r.hold(at=r.thread("toucher").enters(FAULT), bound_ms=300, infeasible=("x86_64", "arm64")):
        r.run_until(r.thread("mapper").returns("munmap"))


@race(workload="touch", options=_options("munmap", SHARED_FILE), events=EVENTS)
def map_pages_then_unmapped(r: Script) -> None:
    """Fault-around (`filemap_map_pages`, Wilcox's ->map_pages()) under the lock of a VMA.

    It holds the RCU lock and sets up to 16 entries; munmap of the VMA waits until it has ended.
    """
    _locked_then_waits(r, FAULT_AROUND)


@race(workload="touch", options=_options("map_fixed", SHARED_FILE), events=EVENTS)
def map_pages_then_replaced(r: Script) -> None:
    """Fault-around under the lock of a VMA that mmap(MAP_FIXED) replaces."""
    _locked_then_waits(r, FAULT_AROUND)


@race(workload="touch", options=_options("neighbour", SHARED_FILE), events=EVENTS)
def map_pages_then_split(r: Script) -> None:
    """Fault-around reaches pages that mprotect is about to split off the VMA."""
    _locked_then_waits(r, FAULT_AROUND)


def _retry_after(r: Script, call: str) -> None:
    # The first try has let go of the VMA to wait for the disk; the page is there now.
    with r.hold(at=r.thread("toucher").enters(MMAP_LOCK), bound_ms=LONG):
        r.run_until(r.thread("mapper").returns(call))


@race(workload="touch", options=_options("munmap", DISK), disk=16, events=EVENTS)
def retry_after_munmap(r: Script) -> None:
    """A fault that waited for the disk (FAULT_FLAG_RETRY) finds its VMA unmapped: refused.

    `filemap_fault` lets go of the lock before it waits (`maybe_unlock_mmap_for_io`), so the VMA of
    the first try may be gone: the retry must not use it.
    """
    _retry_after(r, "munmap")


@race(workload="touch", options=_options("map_fixed", DISK), disk=16, events=EVENTS)
def retry_after_map_fixed(r: Script) -> None:
    """A fault that waited for the disk finds another VMA: it must map its page, not the old one."""
    _retry_after(r, "mmap")


@race(workload="touch", options=_options("mremap", DISK), disk=16, events=EVENTS)
def retry_after_mremap(r: Script) -> None:
    """A fault that waited for the disk finds its VMA moved away: refused."""
    _retry_after(r, "mremap")


@race(workload="touch", options=_options("neighbour", DISK), disk=16, events=EVENTS)
def retry_after_split(r: Script) -> None:
    """A fault that waited for the disk finds its VMA split: it stays valid."""
    _retry_after(r, "mprotect")
