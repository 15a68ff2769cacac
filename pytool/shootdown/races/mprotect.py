"""mprotect takes the right to write from pages that other threads write."""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import MMAP_LOCK, SLOW

REPEAT = 3


@race(workload="mprotect", repeat=REPEAT)
def store_before_flush(r: Script) -> None:
    """A store through the old right to write, which the entry has lost but no TLB yet."""
    protect = r.thread("mapper").pte_write(old="writable", new="none", within="mprotect")
    writer = r.thread("observer*").store("page")
    with r.hold(before=protect):
        r.run_until(writer)  # now its CPU has the translation
        r.advance()  # and now the entry is another one
        r.run_until(writer)


@race(workload="mprotect", repeat=REPEAT)
def fault_before_flush(r: Script) -> None:
    """A store faults on the page whose entry was taken back, and waits for mprotect to end.

    mprotect takes the entry out while it changes it (`ptep_modify_prot_start`), and flushes when
    it has changed all (`change_protection_range`), with the VMA write-locked: the fault must wait,
    and be refused then.
    """
    protect = r.thread("mapper").pte_write(old="writable", new="none", within="mprotect")
    writer = r.thread("observer*")
    with r.hold(before=protect):
        r.run_until(writer.store("page"))
        r.advance()
        r.run_until(writer.store("page"))
        r.run_until(writer.enters(MMAP_LOCK))
        r.pause(SLOW)
