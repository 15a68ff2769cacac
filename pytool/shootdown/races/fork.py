"""fork write-protects pages that siblings of the caller write."""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import MMAP_LOCK, SLOW

REPEAT = 3


@race(workload="fork_cow", repeat=REPEAT)
def store_before_flush(r: Script) -> None:
    """A sibling's store through the old right to write, before fork flushes."""
    protect = r.thread("mapper").pte_write(old="writable", new="readonly", within="fork")
    writer = r.thread("observer*").store("page")
    with r.hold(before=protect):
        r.run_until(writer)  # now its CPU has the translation
        r.advance()  # and now the entry is another one
        r.run_until(writer)


@race(workload="fork_cow", repeat=REPEAT)
def fault_before_flush(r: Script) -> None:
    """A sibling's store faults on the entry that fork has write-protected, and waits for fork.

    `dup_mmap` holds the mmap lock of the parent and write-locks its VMAs, so nobody breaks COW
    before fork has flushed; `copy_present_ptes` write-protects.
    """
    protect = r.thread("mapper").pte_write(old="writable", new="readonly", within="fork")
    writer = r.thread("observer*")
    with r.hold(before=protect):
        r.run_until(writer.store("page"))
        r.advance()
        r.run_until(writer.store("page"))
        r.run_until(writer.enters(MMAP_LOCK))
        r.pause(SLOW)
