"""MADV_COLLAPSE makes a huge page of small ones that others use.

`collapse_huge_page` (mm/khugepaged.c) takes the mmap lock and the lock of the VMA to write, clears
the entry of the table and flushes it (`pmdp_collapse_flush`), waits for lockless walks
(`tlb_remove_table_sync_one`), and only then copies. Wrong would be a store through what a TLB has
kept that is not in the copy, or an entry that a fault sets in the table that is gone: the workload
counts both as `lost`.
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import FAULT, FLUSH, LONG, SLOW, VMA_WAIT

OPTIONS = "patience=5000000"
ITERATIONS = 5
"""An emulator takes its time to clear and copy huge pages."""
REPEAT = 3
"""The writer's TLB may have lost the page: then it faults, and the hold times out."""


@race(
    workload="collapse",
    smp=4,
    arch=("x86_64",),
    options=OPTIONS,
    iterations=ITERATIONS,
    repeat=REPEAT,
)
def store_before_flush(r: Script) -> None:
    """A store through the table whose entry was cleared and is not flushed yet."""
    with r.hold(at=r.thread("mapper").enters(FLUSH, within="madvise")):
        r.run_until(r.thread("writer").store("window"))


@race(
    workload="collapse",
    smp=4,
    arch=("arm64",),
    options=OPTIONS,
    iterations=ITERATIONS,
    repeat=REPEAT,
)
def store_before_tlbi(r: Script) -> None:
    """The same on arm64, where the flush is an instruction of the collapse itself."""
    with r.hold(before=r.thread("mapper").flush(within="madvise")):
        r.run_until(r.thread("writer").store("window"))


@race(workload="collapse", smp=4, options=OPTIONS, iterations=ITERATIONS)
def locked_then_collapsed(r: Script) -> None:
    """A fault has read-locked the VMA and knows the table; the collapse waits for it."""
    with r.hold(at=r.thread("toucher").enters(FAULT), bound_ms=LONG):
        r.run_until(r.thread("mapper").enters(VMA_WAIT))
        r.pause(SLOW)


@race(workload="collapse", smp=4, options=OPTIONS, iterations=ITERATIONS)
def found_then_collapsed(r: Script) -> None:
    """A collapse does not end while a CPU stands in the look-up of a VMA: infeasible.

    It waits for every CPU, which may walk tables without locks (`tlb_remove_table_sync_one`).
    """
    found = r.thread("toucher").calls("mas_walk", inside="lock_vma_under_rcu")
    with r.hold(after=found, bound_ms=1000, infeasible=("x86_64", "arm64")):
        r.run_until(r.thread("mapper").returns("madvise"))
