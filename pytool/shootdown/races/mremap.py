"""mremap moves pages that other threads use.

`move_ptes` clears the old entry and sets the new one under the locks of both tables, and flushes
before it lets them go (mm/mremap.c): whoever can use the old entry must not outlive the lock, or
the page could be freed through its new address meanwhile (CVE-2018-18281).
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import MMAP_LOCK, SLOW

REPEAT = 3
FEW = "pages=1"
"""QEMU's TLB is direct-mapped, and the windows lie 2 MiB apart: more pages push each other out."""


@race(workload="mremap", arch=("arm64",), repeat=REPEAT, options=FEW)
def load_before_flush(r: Script) -> None:
    """A load through the old address, whose entry has moved and is not flushed yet.

    On x86-64 the readers hardly ever come to it: they fault at the place that is not mapped, and
    wait for the mmap lock.
    """
    clear = r.thread("mapper").pte_write(old="present", new="none", within="mremap")
    reader = r.thread("observer*").load("page")
    with r.hold(before=clear):
        r.run_until(reader)  # now its CPU has the translation
        r.advance()  # and now the entry is another one
        r.run_until(reader)


@race(workload="mremap", repeat=REPEAT, options=FEW)
def fault_before_flush(r: Script) -> None:
    """A fault at the old address waits for mremap, and is refused."""
    clear = r.thread("mapper").pte_write(old="present", new="none", within="mremap")
    reader = r.thread("observer*")
    with r.hold(before=clear):
        r.advance()
        r.run_until(reader.enters(MMAP_LOCK))
        r.pause(SLOW)
