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

EVENTS = "default,vmas,vma_locks,faults,functions"
PATIENCE = "patience=3000000"
OPS = {
    name: number
    for number, name in enumerate(
        ("munmap", "map_fixed", "mprotect", "mremap", "mlock", "mbind", "neighbour", "fork_flag")
    )
}
WAITS = "rwsem_down_write_slowpath|__vma_start_write"
"""In which a writer waits for the readers of a VMA: until 6.14 a semaphore, then a count."""


def _options(name: str) -> str:
    return f"op={OPS[name]},{PATIENCE}"


def _found_then(r: Script, call: str) -> None:
    # The walk of the tree has found the VMA, vma_start_read has not locked it.
    found = r.thread("toucher").calls("mas_walk", inside="lock_vma_under_rcu")
    with r.hold(after=found):
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
