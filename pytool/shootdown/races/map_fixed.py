"""mmap(MAP_FIXED) over pages that other threads use."""

from __future__ import annotations

from shootdown.race import Script, race


@race(workload="map_fixed", repeat=3)
def load_between_clear_and_flush(r: Script) -> None:
    """A sibling loads from a page whose entry mmap(MAP_FIXED) has cleared and not yet flushed."""
    clear = r.thread("mapper").pte_write(old="present", new="none", within="mmap")
    with r.hold(after=clear):
        r.run_until(r.thread("observer0").load("page"))
