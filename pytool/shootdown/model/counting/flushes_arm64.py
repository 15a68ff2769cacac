"""Flushes of arm64 kernels, by arch/arm64/include/asm/tlbflush.h."""

from __future__ import annotations

from shootdown.model.counting.figures import Figures
from shootdown.model.counting.flushes import Reader, Traits
from shootdown.model.stream import Event
from shootdown.trace.schema import BarrierOp, Flag, FlushOp, Kind

_EC_SHIFT = 26
_USER_FAULTS = frozenset({0x20, 0x24})
"""ESR_ELx_EC_IABT_LOW and ESR_ELx_EC_DABT_LOW (arch/arm64/include/asm/esr.h)."""
_SCALES = 4
_MOST = 32
"""A range operation takes up to 32 << (5 * scale + 1) pages."""
_NON_SHAREABLE = 1
_STORES, _BOTH = 2, 3


class Arm64Flushes:
    """Fulfils ``flushes.Flushes``."""

    def reader(self) -> Reader:
        """TLBI of user VAs, and the DSBs around them."""
        return _Arm64Reader()

    def user_fault(self, code: int) -> bool:
        """The exception class of ESR_EL1: an abort from a lower exception level."""
        return code >> _EC_SHIFT & 0x3F in _USER_FAULTS

    def request(self, pages: int, traits: Traits) -> Figures:
        """``__flush_tlb_range()``: DSB ISHST, one TLBI or more, DSB ISH.

        The limits above which everything is flushed (MAX_DVM_OPS, 512 pages, without range
        operations; MAX_TLBI_RANGE_PAGES with them) are far from what the workload does.
        """
        tlbis = _operations(pages) if traits.ranged else pages
        return Figures(requests=1, instructions=tlbis, pages=pages, published=1, completed=1)

    def everything(self) -> Figures:
        """``flush_tlb_mm()``: DSB ISHST, TLBI ASIDE1IS, DSB ISH."""
        return Figures(requests=1, instructions=1, whole=1, published=1, completed=1)

    def widened(self, traits: Traits) -> Figures:
        """One page, as with any page.

        ``__ptep_set_access_flags()`` (arch/arm64/mm/fault.c) calls ``flush_tlb_page()`` for a
        fault by a store; where it has ``__ptep_set_access_flags_anysz()``, that flushes on its own
        CPU only, between DSB NSHST and DSB NSH.
        """
        return self.request(1, traits)


def _operations(pages: int) -> int:
    """TLBIs that ``__flush_tlb_range_op()`` needs, from the largest scale down.

    6.1 goes from the smallest scale up, after a single page when their number is odd, and needs as
    many: both write the number to base 32.
    """
    operations = 0
    for scale in reversed(range(_SCALES)):
        unit = 1 << (5 * scale + 1)
        taken = min(pages // unit, _MOST)
        operations += taken > 0
        pages -= taken * unit
    return operations + pages


class _Arm64Reader(Reader):
    """TLBIs for all ASIDs are of kernel VAs and none of the thread's."""

    def __init__(self) -> None:
        super().__init__()
        self._visible_here = self._visible = False
        self._waiting: bool | None = None
        """Whether invalidations wait for a DSB: no, or yes and with True only for a local one."""

    def store(self) -> None:
        super().store()
        self._visible_here = self._visible = False

    def see(self, event: Event, *, switching: bool) -> None:
        if event.kind == Kind.BARRIER and event.id == BarrierOp.DSB:
            self._dsb(event.a >> 2 & 3, event.a & 3)
        elif event.kind == Kind.FLUSH and not event.flags & Flag.ALL_ASID:
            self._tlbi(event)

    def _tlbi(self, event: Event) -> None:
        local = bool(event.flags & Flag.LOCAL)
        if not self._running:
            self.published += self._visible_here if local else self._visible
        self._waiting = local and self._waiting is not False
        if event.id == FlushOp.TLBI_ASID:
            self._instruction(0, 0)
        else:
            self._instruction(event.a, event.b)

    def _dsb(self, domain: int, types: int) -> None:
        wide = domain != _NON_SHAREABLE
        if types < _STORES:
            return
        self._visible_here = True
        self._visible |= wide
        if types == _BOTH and self._waiting is not None and (wide or self._waiting):
            self.completed += 1
            self._waiting = None
