"""Flushes of x86-64 kernels, by arch/x86/mm/tlb.c."""

from __future__ import annotations

from shootdown.model.counting.figures import Figures
from shootdown.model.counting.flushes import Reader, Traits
from shootdown.model.stream import Event
from shootdown.trace.schema import FlushOp, Kind, RootReg

_USER_FAULT = 1 << 2
"""X86_PF_USER (arch/x86/include/asm/trap_pf.h)."""
_NO_FLUSH = 1 << 63
_KERNEL_HALF = 1 << 63


class X86Flushes:
    """Fulfils ``flushes.Flushes``."""

    def reader(self) -> Reader:
        """INVLPG, and loads of CR3 that no task switch makes."""
        return _X86Reader()

    def user_fault(self, code: int) -> bool:
        """Bit 2 of the error code."""
        return bool(code & _USER_FAULT)

    def request(self, pages: int, traits: Traits) -> Figures:
        """``flush_tlb_mm_range()``: more pages than the ceiling are flushed all at once.

        Up to the ceiling ``flush_tlb_func()`` calls ``flush_tlb_one_user()`` for each, which is
        one INVLPG (``native_flush_tlb_one_user()``; without PTI there is no second address space).
        """
        if pages > traits.ceiling:
            return self.everything()
        return Figures(requests=1, instructions=pages, pages=pages)

    def everything(self) -> Figures:
        """``flush_tlb_func()``, ``native_flush_tlb_local()``: CR3 is written as it was."""
        return Figures(requests=1, instructions=1, whole=1)

    def widened(self, traits: Traits) -> Figures:
        """Nothing: a stale entry with fewer rights faults once more and is gone.

        ``ptep_set_access_flags()`` (arch/x86/mm/pgtable.c) stores only, and
        ``flush_tlb_fix_spurious_fault()`` (arch/x86/include/asm/pgtable.h) does nothing.
        """
        return Figures()


class _X86Reader(Reader):
    """Other CPUs' flushes of kernel VAs (INVLPG above, writes of CR4) are none of the thread's."""

    def see(self, event: Event, *, switching: bool) -> None:
        if event.kind == Kind.FLUSH:
            if event.id == FlushOp.INVLPG and not event.a & _KERNEL_HALF:
                self._instruction(event.a, event.b)
        elif event.id == RootReg.CR3 and not switching and not event.a & _NO_FLUSH:
            self._instruction(0, 0)
