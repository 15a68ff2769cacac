"""How many of everything there must be in each phase, by the kernel's source.

The functions named are those of 6.1, 6.12 and 7.2, unless one of them is given. All phases are of
one thread, alone in its address space, on small anonymous pages of one VMA that touches no other;
the page table of the block exists and survives, so no flush is about freed tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from shootdown.model.counting.figures import Figures
from shootdown.model.counting.flushes import Flushes, Traits
from shootdown.model.counting.traced import Phase, Stray

PAGES: Final = 64
DROPPED: Final = 32
MOVED: Final = 16
"""Of guest/workloads/counting.c."""

WRITE_LOCKED: Final = Figures(write_acquired=1, write_released=1)
"""A system call that takes mmap_lock to write, and no fault."""
READ_LOCKED: Final = Figures(read_acquired=1, read_released=1)


class Derivation:
    """The figures for one kernel on one architecture."""

    def __init__(self, traits: Traits, flushes: Flushes) -> None:
        self._traits = traits
        self._flushes = flushes

    def phase(self, phase: Phase) -> Figures:
        """Of a phase with its strays. Raises KeyError when the workload has none of that name."""
        return _PHASES[phase.name](self) + self.strays(phase.strays)

    # Flushes.

    def flush(self, pages: int) -> Figures:
        """A flush of so many pages, all of them in the phase's VAs."""
        figures = self._flushes.request(pages, self._traits)
        return figures + Figures(covered=figures.pages)

    # Faults.

    def faults(self, number: int, *, first: bool = False) -> Figures:
        """User faults that find their VMA at once; ``first``: in a VMA that was never touched.

        Without locks of VMAs each takes mmap_lock to read: ``do_user_addr_fault()``
        (arch/x86/mm/fault.c), ``do_page_fault()`` (arch/arm64/mm/fault.c). With them these take
        ``lock_vma_under_rcu()`` (mm/memory.c; 7.2: mm/mmap_lock.c), and mmap_lock is needed once,
        for the VMA's first anon_vma: ``__vmf_anon_prepare()`` (mm/memory.c).
        """
        locked = int(first) if self._traits.vma_locks else number
        return Figures(faults=number) + READ_LOCKED * locked

    def strays(self, strays: Iterable[Stray]) -> Figures:
        """Faults on pages that the phase is not about."""
        return sum(map(self._stray, strays), Figures())

    def _stray(self, stray: Stray) -> Figures:
        """One fault in a VMA that has its anon_vma.

        The kernel's own accesses to user memory never take a VMA's lock (``FAULT_FLAG_USER`` in
        the functions named in ``faults``). With page faults off (``faulthandler_disabled()``
        there) they fail: 7.2 so tries to write to the rseq area (``rseq_exit_user_update()``,
        include/linux/rseq_entry.h), and does it the slow way when that fails. A copy clears the
        slot and flushes the page before it maps the new one: ``wp_page_copy()``,
        ``ptep_clear_flush()``.
        """
        if stray.refused:
            return Figures(faults=1, refused=1)
        locked = not (self._traits.vma_locks and stray.user)
        figures = Figures(faults=1) + READ_LOCKED * int(locked)
        if stray.outcome == "copied":
            return figures + self._flushes.request(1, self._traits)
        if stray.outcome == "widened":
            return figures + self._flushes.widened(self._traits)
        return figures

    # Phases.

    def mmap(self) -> Figures:
        """``vm_mmap_pgoff()`` (mm/util.c) locks, ``do_mmap()`` maps no page."""
        return WRITE_LOCKED

    def touch(self) -> Figures:
        """``do_anonymous_page()`` (mm/memory.c): one ``set_pte_at()`` a fault, no flush."""
        stored = Figures(added=PAGES, present_after=PAGES)
        return stored + self.faults(PAGES, first=True)

    def mprotect(self) -> Figures:
        """Each slot is cleared and set: two stores, though one transition; one flush of all.

        ``change_pte_range()`` (mm/mprotect.c): ``ptep_modify_prot_start()`` and ``..._commit()``
        (7.2: ``modify_prot_start_ptes()`` and ``..._commit_ptes()``, a batch being one page).
        ``change_protection()`` flushes once, in ``tlb_finish_mmu()``; widening rights flushes as
        well as narrowing: ``pte_needs_flush()``. Widening makes the slots writable at once
        (``can_change_pte_writable()``), for these pages are exclusive.
        """
        stored = Figures(removed=PAGES, added=PAGES, present_before=PAGES, present_after=PAGES)
        return WRITE_LOCKED + stored + self.flush(PAGES)

    def rewrite(self) -> Figures:
        """Nothing: the walker sets the dirty bits."""
        return Figures(present_before=PAGES, present_after=PAGES)

    def map_fixed(self) -> Figures:
        """``zap_pte_range()`` clears, ``tlb_finish_mmu()`` flushes once; no downgrade.

        6.1: ``do_mas_munmap()`` with ``downgrade`` false, in ``__mmap_region()``; 6.12 and 7.2:
        ``vms_clear_ptes()``. At 64 pages no batch is full.
        """
        stored = Figures(removed=PAGES, present_before=PAGES)
        return WRITE_LOCKED + stored + self.flush(PAGES)

    def dontneed(self) -> Figures:
        """``madvise_dontneed_single_vma()``: as ``map_fixed``, under mmap_lock to read at most.

        ``madvise_need_mmap_write()`` says so; in 7.2 ``get_lock_mode()`` makes do with the lock of
        the VMA.
        """
        lock = Figures() if self._traits.madvise_vma_lock else READ_LOCKED
        return lock + Figures(removed=DROPPED, present_before=DROPPED) + self.flush(DROPPED)

    def refill(self) -> Figures:
        """As ``touch``, for the pages that were dropped; the VMA has its anon_vma."""
        stored = Figures(added=DROPPED, present_before=PAGES - DROPPED, present_after=PAGES)
        return stored + self.faults(DROPPED)

    def fork(self) -> Figures:
        """``dup_mmap()`` locks both address spaces, the child's nested, and flushes the parent's.

        ``copy_present_pte()`` (6.12 and 7.2: ``__copy_present_ptes()``, mm/memory.c) write-protects
        the parent's slot and stores the child's. ``flush_tlb_mm()`` stands after the loop.
        """
        stored = Figures(changed=PAGES, copied=PAGES, present_before=PAGES, present_after=PAGES)
        return WRITE_LOCKED * 2 + stored + self._flushes.everything()

    def break_cow(self) -> Figures:
        """The child is gone, so each page is the parent's alone: ``wp_page_reuse()``.

        ``ptep_set_access_flags()`` makes the slot writable with one store.
        """
        widened = self._flushes.widened(self._traits)
        widened += Figures(covered=widened.pages)
        stored = Figures(changed=PAGES, present_before=PAGES, present_after=PAGES)
        return stored + self.faults(PAGES) + widened * PAGES

    def mremap(self) -> Figures:
        """``move_ptes()`` clears each slot, sets the new one, and flushes the old range once.

        The target is a hole, and ``unmap_region()`` finds nothing left of the source to flush.
        """
        stored = Figures(added=MOVED, removed=MOVED, present_before=MOVED, target_present=MOVED)
        return WRITE_LOCKED + stored + self.flush(MOVED)

    def munmap(self) -> Figures:
        """The lock is downgraded before the pages go: one flush of what mremap left.

        6.1: ``__vm_munmap()``, ``do_mas_align_munmap()``; 6.12 and 7.2:
        ``vms_complete_munmap_vmas()``. The moved pages stay where they are.
        """
        left = PAGES - MOVED
        locked = Figures(write_acquired=1, downgraded=1, read_released=1)
        stored = Figures(removed=left, present_before=left, target_present=MOVED)
        return locked + stored + self.flush(left)


_PHASES: Final[dict[str, Callable[[Derivation], Figures]]] = {
    "mmap": Derivation.mmap,
    "touch": Derivation.touch,
    "mprotect_ro": Derivation.mprotect,
    "mprotect_rw": Derivation.mprotect,
    "rewrite": Derivation.rewrite,
    "map_fixed": Derivation.map_fixed,
    "retouch": Derivation.touch,
    "dontneed": Derivation.dontneed,
    "refill": Derivation.refill,
    "fork": Derivation.fork,
    "break_cow": Derivation.break_cow,
    "mremap": Derivation.mremap,
    "munmap": Derivation.munmap,
}

NAMES: Final = tuple(_PHASES)
"""Of the phases, in their order."""
