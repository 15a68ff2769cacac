"""Reclaim against those who use, protect and unmap what it takes.

`try_to_unmap_one` clears entries and leaves the flush for later (TTU_BATCH_FLUSH); it must come
before the page goes to the disk (`try_to_unmap_flush_dirty`) or is freed (`try_to_unmap_flush`),
and before anybody goes on who finds the entry clear (`flush_tlb_batched_pending`: mm/rmap.c). Wrong
would be a store that is lost (the workload counts it), and rule `stale-after-return`.
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import LONG, MMAP_WRITE_WAIT, RECLAIM_FLUSH, SLOW

MPROTECT, MUNMAP = range(2)
SWAP = 64
REPEAT = 3
"""The writer's TLB may have lost the page: then it waits for reclaim, and the hold times out."""


def _options(op: int) -> str:
    return f"op={op},patience=5000000"


@race(workload="pageout", smp=4, options=_options(MPROTECT), swap=SWAP, repeat=REPEAT)
def store_before_flush(r: Script) -> None:
    """A store through the entry that reclaim has cleared and not flushed must not be lost."""
    with r.hold(at=r.thread("reclaimer").enters(RECLAIM_FLUSH)):
        r.run_until(r.thread("writer").store("window"))
        r.pause(SLOW)


@race(workload="pageout", smp=4, options=_options(MPROTECT), swap=SWAP)
def mprotect_before_flush(r: Script) -> None:
    """mprotect of pages that reclaim has cleared and not flushed waits for the mmap lock."""
    with r.hold(at=r.thread("reclaimer").enters(RECLAIM_FLUSH), bound_ms=LONG):
        r.run_until(r.thread("mapper").enters(MMAP_WRITE_WAIT))
        r.pause(SLOW)


@race(workload="pageout", smp=4, options=_options(MUNMAP), swap=SWAP)
def munmap_before_flush(r: Script) -> None:
    """munmap of pages that reclaim has cleared and not flushed waits for the mmap lock."""
    with r.hold(at=r.thread("reclaimer").enters(RECLAIM_FLUSH), bound_ms=LONG):
        r.run_until(r.thread("mapper").enters(MMAP_WRITE_WAIT))
        r.pause(SLOW)


@race(workload="pageout", smp=4, options=_options(MUNMAP), swap=SWAP)
def munmap_overtakes_reclaim(r: Script) -> None:
    """munmap does not return while MADV_PAGEOUT has the mmap lock: this order is infeasible."""
    with r.hold(
        at=r.thread("reclaimer").enters(RECLAIM_FLUSH),
        bound_ms=500,
        infeasible=("x86_64", "arm64"),
    ):
        r.run_until(r.thread("mapper").returns("munmap"))
