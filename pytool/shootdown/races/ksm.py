"""KSM merges a page that another thread writes.

`write_protect_page` (mm/ksm.c) takes the right to write away and flushes (`ptep_clear_flush`), and
only then looks whether somebody else holds the page, and compares it; `replace_page` makes sure
that the entry is the one it knows. Wrong would be a store that the comparison has not seen: it is
lost, or shows in the other page (the workload counts both as `lost`).
"""

from __future__ import annotations

from shootdown.race import Script, race
from shootdown.race.places import FLUSH, LONG

CLEAR = "ptep_clear_flush"
ITERATIONS = 40
REPEAT = 3
"""The writer's TLB may have lost the page: then it faults, and the hold times out."""


@race(workload="ksm", arch=("x86_64",), repeat=REPEAT, iterations=ITERATIONS)
def store_before_flush(r: Script) -> None:
    """A store through the old right to write, which ksmd has taken away and not flushed."""
    with r.hold(at=r.thread("ksmd").enters(CLEAR), bound_ms=LONG):
        r.run_until(r.thread("writer").load("window", nth=4))  # now its CPU has the translations
    with r.hold(at=r.thread("ksmd").enters(FLUSH)):
        r.run_until(r.thread("writer").store("window"))


@race(workload="ksm", arch=("arm64",), repeat=REPEAT, iterations=ITERATIONS)
def store_before_tlbi(r: Script) -> None:
    """The same on arm64, where the flush is an instruction of `ptep_clear_flush`."""
    with r.hold(at=r.thread("ksmd").enters(CLEAR), bound_ms=LONG):
        r.run_until(r.thread("writer").load("window", nth=4))
    with r.hold(before=r.thread("ksmd").flush()):
        r.run_until(r.thread("writer").store("window"))


@race(workload="ksm")
def store_before_clear(r: Script) -> None:
    """A store right before ksmd takes the right away: the comparison must see it."""
    with r.hold(at=r.thread("ksmd").enters(CLEAR), bound_ms=LONG):
        r.run_until(r.thread("writer").store("window"))
