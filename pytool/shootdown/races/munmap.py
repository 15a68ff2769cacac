"""munmap of pages that other threads use.

The kernel takes the mapping out of its tree, lets the mmap lock down to a reader's, clears the
entries and flushes before it lets the lock go.
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import REFUSED

REPEAT = 3
SETTLED = 20
"""Loads after which the workload's threads have all begun."""


@race(workload="munmap", repeat=REPEAT)
def load_before_flush(r: Script) -> None:
    """A load of the page whose entry was cleared and is not flushed yet."""
    clear = r.thread("mapper").pte_write(old="present", new="none", within="munmap")
    reader = r.thread("observer*").load("page")
    with r.hold(before=clear):
        r.run_until(reader)  # now its CPU has the translation
        r.advance()  # and now the entry is another one
        r.run_until(reader)


@race(workload="munmap", arch=("arm64",), repeat=REPEAT)
def return_while_reader_stands(r: Script) -> None:
    """munmap returns while a reader stands behind its load: TLBI needs nobody's answer.

    On x86-64 this order is infeasible: the flush is an interrupt that the reader's CPU must answer.
    """
    with r.hold(after=r.thread("observer0").load("window", nth=SETTLED)):
        r.run_until(r.thread("mapper").returns("munmap"))


@race(workload="munmap", repeat=REPEAT)
def refused_before_flush(r: Script) -> None:
    """A fault is refused while another CPU still reads the page that nobody has flushed.

    munmap has taken the VMA from the tree and let the mmap lock down (`vms_complete_munmap_vmas`),
    so a fault need not wait: it finds nothing and ends in SIGSEGV.
    """
    clear = r.thread("mapper").pte_write(old="present", new="none", within="munmap")
    reader = r.thread("observer*")
    with r.hold(before=clear):
        r.run_until(reader.load("page"))
        r.advance()
        r.run_until(reader.load("page"))
        r.run_until(reader.enters(REFUSED))
