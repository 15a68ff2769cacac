"""mremap moves pages away from threads that read them."""

from __future__ import annotations

from shootdown.race import Script, race

REPEAT = 3


@race(workload="mremap", repeat=REPEAT)
def load_before_flush(r: Script) -> None:
    """A load at the old place when the entry has been taken from there."""
    clear = r.thread("mapper").pte_write(old="writable", new="none", within="mremap")
    reader = r.thread("observer*").load("page")
    with r.hold(before=clear):
        r.run_until(reader)  # now its CPU has the translation
        r.advance()  # and now the entry is another one
        r.run_until(reader)
