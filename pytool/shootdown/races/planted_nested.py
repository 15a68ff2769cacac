"""Two threads drop the same pages; the second finds them gone and flushes for the first.

A thread that finds an entry clear cannot know whether who cleared it has flushed yet. So an
mmu_gather that ends while there is another one for the same address space flushes all of it
(mm/mmu_gather.c: tlb_finish_mmu, `mm_tlb_flush_nested`). On x86-64 that flush is an interrupt, for
which the CPU of the first thread, which is held, has no answer: a sound kernel has to be slow.
"""

from __future__ import annotations

from shootdown.race import Script, race

X86_64 = ("x86_64",)
PATIENCE = "patience=50000"
DROP = f"by=3,observers=2,{PATIENCE}"
MOVE = f"by=1,observers=2,{PATIENCE}"
ITERATIONS = 6
REPEAT = 2
BOUND_MS = 3000


def _before_flush(r: Script, call: str) -> None:
    mapper, load = r.thread("mapper"), r.thread("observer*").load("window")
    with r.hold(before=mapper.pte_write(old="present", new="none", within="madvise")):
        r.run_until(load)  # now its CPU has the translation
        r.advance()  # and now the entry is clear
    with r.hold(at=mapper.enters("tlb_finish_mmu"), infeasible=X86_64, bound_ms=BOUND_MS):
        r.run_until(r.thread("mover").returns(call))


@race(workload="drop_move", arch=X86_64, smp=4, options=DROP, iterations=ITERATIONS, repeat=REPEAT)
def dropped_twice(r: Script) -> None:
    """MADV_DONTNEED of what another one has dropped and not flushed: infeasible on x86-64."""
    _before_flush(r, "madvise")


@race(
    workload="drop_move",
    arch=X86_64,
    smp=4,
    options=MOVE,
    iterations=ITERATIONS,
    repeat=REPEAT + 1,  # 94 % of trials hit with one less
)
def moved_after_drop(r: Script) -> None:
    """mremap of what another thread has dropped and not flushed: infeasible on x86-64."""
    _before_flush(r, "mremap")
