"""mprotect takes the right to write from pages that other threads write."""

from __future__ import annotations

from shootdown.race import Script, race

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
