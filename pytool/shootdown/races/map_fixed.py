"""mmap(MAP_FIXED) over pages that other threads use.

Nobody may see the old page once the call has returned; until then a CPU may, through what its TLB
has kept. The kernel clears the entries, flushes, and only then puts the new mapping into its tree:
whoever faults meanwhile waits for the mmap lock.
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import MMAP_LOCK, SLOW

REPEAT = 3


@race(workload="map_fixed", repeat=REPEAT)
def load_before_flush(r: Script) -> None:
    """A load of the page whose entry was cleared and is not flushed yet."""
    clear = r.thread("mapper").pte_write(old="present", new="none", within="mmap")
    reader = r.thread("observer*").load("page")
    with r.hold(before=clear):
        r.run_until(reader)  # now its CPU has the translation
        r.advance()  # and now the entry is another one
        r.run_until(reader)


@race(workload="map_fixed", repeat=REPEAT)
def fault_before_flush(r: Script) -> None:
    """A fault on the page whose entry was cleared, while others still see the page.

    MAP_FIXED holds the mmap lock and has write-locked the old VMA (`vms_gather_munmap_vmas`), so
    the fault waits: it must find the new mapping, never the old one, and never nothing.
    """
    clear = r.thread("mapper").pte_write(old="present", new="none", within="mmap")
    reader = r.thread("observer*")
    with r.hold(before=clear):
        r.run_until(reader.load("page"))
        r.advance()
        r.run_until(reader.load("page"))
        r.run_until(reader.enters(MMAP_LOCK))
        r.pause(SLOW)
