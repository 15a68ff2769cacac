"""Somebody moves or guards pages that madvise(MADV_DONTNEED) has dropped and not flushed yet.

`madvise` of one VMA works under the lock of that VMA, read-locked (mm/madvise.c,
`madvise_walk_vmas`), and shares it with other advice. On x86-64, where an mmu_gather spans VMAs,
it lets the lock go before it flushes: `vma_end_read`, then `madvise_finish_tlb`. Who comes
meanwhile finds the entries clear. All who work with an mmu_gather of their own learn that somebody
else has not flushed yet (`mm_tlb_flush_nested`) and flush for both. Two have none:

* `move_ptes` (mm/mremap.c) flushes only when it has moved something. MREMAP_DONTUNMAP unmaps
  nothing afterwards, so nobody flushes: its old range goes on to be seen.
* `madvise_guard_install` zaps only when it has met an entry.

Both return while a CPU still uses the old page through an entry that nobody has flushed. See
docs/findings.md.
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import LONG
from shootdown.race.points import Point

PATIENCE = "patience=5000000"
LOADS_MS = 50
"""In which observers load often. A CPU may forget a translation of itself: then none succeeds."""


def _before_flush(r: Script, flush: Point, call: str, infeasible: tuple[str, ...] = ()) -> None:
    mapper, load = r.thread("mapper"), r.thread("observer*").load("window")
    clear = mapper.pte_write(old="present", new="none", within="madvise")
    with r.hold(before=clear):
        r.run_until(load)  # now its CPU has the translation
        r.advance()  # and now the entry is clear
    with r.hold(at=flush, infeasible=infeasible, bound_ms=1000 if infeasible else LONG):
        r.run_until(r.thread("mover").returns(call))
        r.pause(LOADS_MS)


@race(workload="drop_move", arch=("x86_64",), smp=4, options=f"by=0,{PATIENCE}")
def dontunmap(r: Script) -> None:
    """mremap(MREMAP_DONTUNMAP) returns before the pages that it found gone were flushed.

    On kernels that flush under the mmap lock the order is infeasible: mremap waits for that lock.
    """
    _before_flush(r, r.thread("mapper").enters("tlb_finish_mmu"), "mremap")


@race(workload="drop_move", arch=("x86_64",), smp=4, options=f"by=1,{PATIENCE}")
def mremap(r: Script) -> None:
    """The same with an mremap that unmaps what it leaves: it flushes for madvise as well.

    Its flush is an interrupt that the CPU of madvise, which is held, does not answer.
    """
    _before_flush(r, r.thread("mapper").enters("tlb_finish_mmu"), "mremap", ("x86_64",))


@race(workload="drop_move", arch=("x86_64",), smp=4, options=f"by=2,{PATIENCE}")
def guard(r: Script) -> None:
    """MADV_GUARD_INSTALL returns before the pages that it found gone were flushed."""
    _before_flush(r, r.thread("mapper").enters("tlb_finish_mmu"), "madvise")


@race(workload="drop_move", arch=("arm64",), smp=4, options=f"by=2,{PATIENCE}")
def guard_before_tlbi(r: Script) -> None:
    """The same on arm64, where madvise flushes with the VMA still read-locked."""
    _before_flush(r, r.thread("mapper").flush(), "madvise")
