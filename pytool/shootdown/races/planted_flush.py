"""Threads use pages right before an operation takes them, or a right, away.

A flush that is left out shows when the operation returns: a CPU may still use what it had.
"""

from __future__ import annotations

from shootdown.race import Point, Script, race

ITERATIONS = 4


def _used_before(r: Script, begun: Point, *, store: bool = False) -> None:
    with r.hold(before=begun):
        for name in ("observer0", "observer1"):
            user = r.thread(name)
            r.run_until(user.store("window") if store else user.load("window"))


@race(workload="munmap", iterations=ITERATIONS)
def read_before_munmap(r: Script) -> None:
    """Two CPUs have read the pages that munmap takes."""
    _used_before(r, r.thread("mapper").enters("munmap"))


@race(workload="map_fixed", iterations=ITERATIONS)
def read_before_map_fixed(r: Script) -> None:
    """Two CPUs have read the pages that mmap(MAP_FIXED) replaces."""
    clear = r.thread("mapper").pte_write(old="present", new="none", within="mmap")
    _used_before(r, clear)


@race(workload="mprotect", iterations=ITERATIONS)
def written_before_mprotect(r: Script) -> None:
    """Two CPUs have written the pages that mprotect makes read-only."""
    _used_before(r, r.thread("mapper").enters("mprotect"), store=True)


@race(workload="fork_cow", iterations=ITERATIONS)
def written_before_fork(r: Script) -> None:
    """Two CPUs have written the pages that fork write-protects."""
    protect = r.thread("mapper").pte_write(old="writable", new="readonly", within="fork")
    _used_before(r, protect, store=True)


@race(workload="madvise", iterations=ITERATIONS)
def read_before_madvise(r: Script) -> None:
    """Two CPUs have read the pages that madvise(MADV_DONTNEED) drops."""
    _used_before(r, r.thread("mapper").enters("madvise"))
