"""fork write-protects pages that siblings of the caller write."""

from __future__ import annotations

from shootdown.race import Script, race

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
