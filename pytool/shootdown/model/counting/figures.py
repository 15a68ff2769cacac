"""The figures of one phase."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Figures:
    """Counts of one phase, of the one thread that ran it.

    Stores are those to level 1 slots that map the VAs the phase works on. Everything else is what
    the thread did between the marks, wherever: what it does besides (``Stray``) is known too.
    """

    added: int = 0
    """Stores that made a slot valid."""
    removed: int = 0
    """Stores that made a valid slot not valid."""
    changed: int = 0
    """Stores that changed other bits of a valid slot than its page."""
    replaced: int = 0
    """Stores that made a valid slot map another page."""
    copied: int = 0
    """Stores that made a slot valid at the same VAs of another address space: a fork's child."""
    write_acquired: int = 0
    write_released: int = 0
    read_acquired: int = 0
    read_released: int = 0
    downgraded: int = 0
    """Of any mmap_lock, as are the four before."""
    other_moves: int = 0
    """Transitions that one thread alone cannot cause: waiting, backing out, anything strange."""
    requests: int = 0
    """Flushes: runs of invalidations with no page-table store of the thread between them."""
    instructions: int = 0
    """Invalidating instructions."""
    pages: int = 0
    """Pages invalidated by their addresses."""
    covered: int = 0
    """How many different pages of the phase's VAs are among them."""
    whole: int = 0
    """Invalidations of the whole address space."""
    published: int = 0
    """arm64: requests with a DSB before them that makes the thread's stores visible to walkers."""
    completed: int = 0
    """arm64: requests that a DSB completed."""
    faults: int = 0
    """Page faults on user VAs."""
    refused: int = 0
    """Those of them that the kernel took where it may not sleep: nothing is mapped or locked."""
    present_before: int = 0
    """Valid slots of the phase's source range when it began."""
    present_after: int = 0
    """Valid slots of it when the phase ended."""
    pfn_changed: int = 0
    """Slots of it that were valid both times and map another page."""
    target_present: int = 0
    """Valid slots of the range that mremap moves to, when the phase ended."""

    def __add__(self, other: Figures) -> Figures:
        return Figures(**{name: getattr(self, name) + getattr(other, name) for name in NAMES})

    def __mul__(self, times: int) -> Figures:
        return Figures(**{name: getattr(self, name) * times for name in NAMES})


NAMES = tuple(field.name for field in fields(Figures))
"""Of all figures."""
