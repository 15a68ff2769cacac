"""How an architecture's kernel flushes: what the trace shows of it, and what a request becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shootdown.model.counting.figures import Figures
from shootdown.model.pagetables import PAGE_SIZE
from shootdown.model.stream import Event


@dataclass(frozen=True)
class Traits:
    """What the derivation must know of a kernel, looked up and never told by its version."""

    vma_locks: bool
    """User faults take the lock of their VMA: ``lock_vma_under_rcu()`` is there."""
    madvise_vma_lock: bool
    """MADV_DONTNEED too: ``enum madvise_lock_mode`` has MADVISE_VMA_READ_LOCK."""
    ceiling: int
    """x86: pages above which everything is flushed, ``tlb_single_page_flush_ceiling``."""
    ranged: bool
    """arm64: kernel and CPU flush ranges with one instruction, as seen while the kernel booted."""


class Reader:
    """Counts the flushes of one thread during one phase, on whichever CPU it runs.

    ``covered`` has the VAs of the pages that were invalidated by address.
    """

    def __init__(self) -> None:
        self.requests = self.instructions = self.pages = self.whole = 0
        self.published = self.completed = 0
        self.covered: set[int] = set()
        self._running = False

    def store(self) -> None:
        """The thread stored into a user page table of its own: a request before it is over."""
        self._running = False

    def see(self, event: Event, *, switching: bool) -> None:
        """A FLUSH, BARRIER or ROOT_LOAD of the CPU; ``switching``: of a task switch."""
        raise NotImplementedError

    def _instruction(self, start: int, end: int) -> None:
        """An invalidation of [start, end); of the whole address space when ``end`` is 0."""
        self.requests += not self._running
        self._running = True
        self.instructions += 1
        self.whole += not end
        self.pages += (end - start) // PAGE_SIZE if end else 0
        self.covered.update(range(start, end, PAGE_SIZE))


class Flushes(Protocol):
    """One architecture. ``Figures`` are about flushes only; ``covered`` is left to the phase."""

    def reader(self) -> Reader:
        """A reader for a new phase."""
        ...

    def user_fault(self, code: int) -> bool:
        """Whether a fault's error code says that user mode took it."""
        ...

    def request(self, pages: int, traits: Traits) -> Figures:
        """What flushing a range of so many 4 KiB pages takes."""
        ...

    def everything(self) -> Figures:
        """What flushing an address space takes."""
        ...

    def widened(self, traits: Traits) -> Figures:
        """What a fault takes that only widens the rights of a valid slot."""
        ...


def by_address(pages: int, traits: Traits, flushes: Flushes) -> int:
    """How many of ``pages`` pages a request names by their addresses: all or none."""
    return flushes.request(pages, traits).pages
