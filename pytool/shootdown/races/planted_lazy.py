"""A CPU is lazy, idle with an address space loaded, while that address space changes.

x86-64 leaves such a CPU out of a shootdown. What it still has in its TLB it flushes when a thread
of the same address space runs on it again (arch/x86/mm/tlb.c: switch_mm_irqs_off), and page tables
are freed only once it was interrupted after all.
"""

from __future__ import annotations

from shootdown.race import Script, race

ITERATIONS = 4
ASLEEP_MS = 30
"""In which a thread that cannot have a lock is asleep, and its CPU idle."""


@race(workload="map_fixed", arch=("x86_64",), repeat=2, iterations=ITERATIONS)
def reader_sleeps_through_flush(r: Script) -> None:
    """An observer sleeps for the mmap lock while the pages go that its CPU has translations of."""
    reader = r.thread("observer*")
    with r.hold(before=r.thread("mapper").pte_write(old="present", new="none", within="mmap")):
        r.run_until(reader.load("page"))
        r.advance()
        r.run_until(reader.enters("rwsem_down_read_slowpath"))  # nobody watches the page any more
        r.pause(ASLEEP_MS)


@race(workload="munmap", arch=("x86_64",), iterations=ITERATIONS)
def tables_go_while_lazy(r: Script) -> None:
    """The last thread frees the page tables while the CPUs of the others are idle."""
    with r.hold(at=r.thread("mapper").enters("exit_mmap")):
        r.pause(ASLEEP_MS)
