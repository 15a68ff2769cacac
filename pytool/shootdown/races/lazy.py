"""CPUs that idle in an address space, or are about to leave it, while others flush.

x86-64 does not interrupt a lazy CPU (`should_flush_tlb`, arch/x86/mm/tlb.c) unless page tables are
freed; coming back it compares generations and loads CR3 (`switch_mm_irqs_off`). While it switches,
with interrupts off, CR3 is loaded before `cpu_tlbstate.loaded_mm` says so: a flush that comes in
between must not be lost. Wrong would be rule `lazy-reactivation`, `stale-after-return` or
`table-free-before-flush`. arm64 has no lazy TLB: TLBI reaches every CPU.
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import FLUSH, SLOW, SWITCH

TABLES = "tables=1"
SLEEPER_CPU = 1
REPEAT = 3
"""A CPU that switches has the lock of its run queue: others may come to wait for that."""


def _settle(r: Script) -> None:
    # Before that anybody may run on that CPU, and nobody unmaps.
    with r.hold(after=r.thread("sleeper").load("window", nth=3)):
        r.pause(1)


@race(workload="lazy", repeat=REPEAT, arch=("x86_64",))
def unmapped_while_waking(r: Script) -> None:
    """munmap returns while a lazy CPU is about to run in the address space again.

    Nobody has interrupted it. It must see by the generations that it has missed a flush.
    """
    _settle(r)
    waking = r.thread(f"swapper/{SLEEPER_CPU}").enters(SWITCH)
    with r.hold(at=waking, bound_ms=3000):
        r.run_until(r.thread("mapper").returns("munmap"))


@race(workload="lazy", repeat=REPEAT, arch=("x86_64",), options=TABLES)
def table_freed_while_waking(r: Script) -> None:
    """The same with a page table: the lazy CPU must be interrupted, and cannot answer yet."""
    _settle(r)
    waking = r.thread(f"swapper/{SLEEPER_CPU}").enters(SWITCH)
    with r.hold(at=waking, bound_ms=3000):
        r.run_until(r.thread("mapper").enters(FLUSH, within="munmap"))
        r.pause(SLOW)


@race(workload="lazy", repeat=REPEAT, options=TABLES)
def table_freed_while_idle(r: Script) -> None:
    """A table is freed whose entry was cleared before a CPU went idle, or lazy, in between."""
    _settle(r)
    mapper = r.thread("mapper")
    with r.hold(at=mapper.enters("tlb_finish_mmu", within="munmap"), bound_ms=3000):
        r.run_until(r.thread("sleeper").enters("clock_nanosleep"))
        r.pause(SLOW)


@race(workload="lazy", repeat=REPEAT, options="stranger=1")
def flush_while_switching(r: Script) -> None:
    """A flush between the load of the root and the word that says which address space it is.

    On x86-64 the CPU has interrupts off and does not answer before both are done.
    """
    _settle(r)
    with r.hold(after=r.cpu(SLEEPER_CPU).switches(), bound_ms=3000):
        r.run_until(r.thread("mapper").enters("tlb_finish_mmu"))
        r.pause(SLOW)
