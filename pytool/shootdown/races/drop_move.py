"""Somebody moves or guards pages that madvise(MADV_DONTNEED) has dropped and not flushed yet.

Since Linux 6.17 `madvise` of one VMA works under the lock of that VMA, and lets it go before it
flushes: `madvise_walk_vmas` ends with `vma_end_read`, `madvise_finish_tlb` comes after that
(mm/madvise.c). Who takes the lock meanwhile finds the entries clear. All who work with an
mmu_gather are told that somebody else has not flushed yet (`mm_tlb_flush_nested`) and flush for
both; `move_ptes` (mm/mremap.c) has no mmu_gather, and flushes only when it has moved something.
"""

from __future__ import annotations

from shootdown.race import Script, race

PATIENCE = "patience=3000000"


def _between_clear_and_flush(r: Script, call: str) -> None:
    mapper, load = r.thread("mapper"), r.thread("observer*").load("window")
    clear = mapper.pte_write(old="present", new="none", within="madvise")
    with r.hold(before=clear):
        r.run_until(load)  # now its CPU has the translation
        r.advance()  # and now the entry is clear
    with r.hold(at=mapper.enters("tlb_finish_mmu")):
        r.run_until(r.thread("mover").returns(call))
        r.run_until(load)


@race(workload="drop_move", smp=4, options=f"by=0,{PATIENCE}")
def dontunmap(r: Script) -> None:
    """mremap(MREMAP_DONTUNMAP) returns before the pages that it found gone were flushed."""
    _between_clear_and_flush(r, "mremap")
