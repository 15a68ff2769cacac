"""A CPU is slow to flush: whoever asked it to must wait, or have the architecture wait.

x86-64 interrupts the other CPUs and waits for their answers; arm64 broadcasts and waits at a DSB.
The CPU of a reader stands while the operation goes on. A kernel that waits is only held up.
"""

from __future__ import annotations

from shootdown.race import Point, Script, race

ENOUGH_MS = 60
"""In which a CPU that does not wait returns to user mode."""
ITERATIONS = 4


def _stands(r: Script, begun: Point, access: Point) -> None:
    with r.hold(before=begun):
        r.run_until(access)
    with r.hold(after=access):  # the next one; the operation has only begun
        r.run_until(r.thread("mapper").flush())
        r.pause(ENOUGH_MS)


@race(workload="munmap", iterations=ITERATIONS)
def munmap_goes_on(r: Script) -> None:
    """munmap while the CPU of a reader stands."""
    _stands(r, r.thread("mapper").enters("munmap"), r.thread("observer0").load("window"))


@race(workload="map_fixed", iterations=ITERATIONS)
def map_fixed_goes_on(r: Script) -> None:
    """mmap(MAP_FIXED) while the CPU of a reader stands."""
    clear = r.thread("mapper").pte_write(old="present", new="none", within="mmap")
    _stands(r, clear, r.thread("observer0").load("window"))


@race(workload="mprotect", iterations=ITERATIONS)
def mprotect_goes_on(r: Script) -> None:
    """mprotect while the CPU of a writer stands."""
    _stands(r, r.thread("mapper").enters("mprotect"), r.thread("observer0").store("window"))


@race(workload="fork_cow", iterations=ITERATIONS)
def fork_goes_on(r: Script) -> None:
    """fork while the CPU of a writer stands."""
    protect = r.thread("mapper").pte_write(old="writable", new="readonly", within="fork")
    _stands(r, protect, r.thread("observer0").store("window"))
