"""What arm64 CPUs may cache, by ASID.

An address space that was switched away keeps its entries. A TLBI takes effect for sure only when
the CPU that issued it completes a DSB, for loads and stores, of a shareability domain that reaches
as far as the TLBI did; and it removes for good only what was superseded before it, by a store that
a DSB of the same CPU has made visible to the table walkers (Arm ARM, D8.14 TLB maintenance; in the
kernel ``dsb(ishst)`` ... ``__tlbi()`` ... ``dsb(ish)`` of arch/arm64/include/asm/tlbflush.h, and
``dsb(nshst)`` ... ``dsb(nsh)`` around the local forms).

With KPTI an address space has two ASIDs, which differ in bit 0 (USER_ASID_FLAG): user mode runs on
the odd one, and the kernel invalidates both. Each is cached for itself, and a CPU that has either
loaded can use the entries of both: it takes no more than a return to user mode.

A broadcast TLBI reaches every vCPU: they all are in one inner shareable domain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from shootdown.model.entries import Stale
from shootdown.model.stream import Event
from shootdown.model.tlb import EVERYWHERE, Records, Tlb
from shootdown.trace.schema import BarrierOp, Flag, FlushOp, RootReg

_NONE: dict[int, int] = {}
_NOW = 1 << 64
"""A number after every event: still loaded."""

# TTBR1_EL1: the ASID above, CnP below the root's PA.
_ASID_SHIFT = 48
_ROOT_PA = (1 << 48) - (1 << 12)
_TWIN = 1
_DSB, _TTBR0, _TTBR1 = int(BarrierOp.DSB), int(RootReg.TTBR0), int(RootReg.TTBR1)
_LOCAL, _LEAF = int(Flag.LOCAL), int(Flag.LEAF)

_OF_ASID = frozenset({FlushOp.TLBI_VA, FlushOp.TLBI_RANGE, FlushOp.TLBI_ASID})
_WHOLE = frozenset({FlushOp.TLBI_ASID, FlushOp.TLBI_ALL})
_KNOWN = _OF_ASID | _WHOLE | {FlushOp.TLBI_VA_ALL_ASID, FlushOp.TLBI_RANGE_ALL_ASID}

# CRm of DSB: domain in bits 3:2 (0 outer, 1 non-, 2 inner shareable, 3 full system), access types
# in bits 1:0 (1 loads, 2 stores, 3 both). 0 is a different barrier (SSBB, PSSBB).
NON_SHAREABLE: Final = 1
STORES: Final = 2
BOTH: Final = 3


@dataclass(slots=True)
class _Tlbi:
    """An invalidation that waits for its DSB; ``published`` as of when it was issued."""

    local: bool
    leaf: bool
    asid: int | None
    start: int
    end: int
    level: int
    published: int

    def covers(self, stale: Stale) -> bool:
        what = stale.what
        if what.seq >= self.published:
            return False
        if what.is_table:
            return not self.leaf
        return self.level in (0, what.level)  # a wrong TTL hint need not invalidate anything


@dataclass(slots=True)
class _Cpu:
    root: int = 0
    asid: int = 0
    published_here: int = 0
    """When stores were last made visible to this CPU's own walker."""
    published: int = 0
    """When stores were last made visible to all walkers."""
    pending: list[_Tlbi] = field(default_factory=list)
    used: dict[int, dict[int, int]] = field(default_factory=dict)
    """Roots, and their ASIDs, that may have entries here, with the number when they were left."""

    def use(self, until: int) -> None:
        """Note until when what is loaded was used."""
        self.used.setdefault(self.root, {})[self.asid] = until


class Arm64Tlb(Tlb):
    """``tlb.Tlb``; the tag is the ASID, which TTBR1 carries (TCR_EL1.A1)."""

    modelled: ClassVar = _KNOWN

    def __init__(self, records: Records) -> None:
        self._records = records
        self._cpus: dict[int, _Cpu] = {}
        self._twin = 0
        """The bit in which the two ASIDs of an address space differ; 0 without KPTI."""

    def root_load(self, event: Event) -> list[Stale]:
        """TTBR1 selects the ASID, TTBR0 the root table. Nothing is invalidated."""
        cpu = self._cpu(event.cpu)
        cpu.use(event.seq)
        if event.id == _TTBR0:
            cpu.root = event.b
        elif event.id == _TTBR1:
            # Only KPTI's trampoline changes the kernel's root and the ASID's bit 0 together.
            before = event.d & _ROOT_PA
            if before and event.b != before and event.d >> _ASID_SHIFT ^ event.c == _TWIN:
                self._twin = _TWIN
            cpu.asid = event.c
        cpu.use(_NOW)
        return []

    def flush(self, event: Event) -> list[Stale]:
        """A TLBI is noted; it takes effect at the DSB."""
        if event.id in _KNOWN:
            cpu = self._cpu(event.cpu)
            local = bool(event.flags & _LOCAL)
            whole = event.id in _WHOLE or not event.b
            tlbi = _Tlbi(
                local=local,
                leaf=bool(event.flags & _LEAF) and not whole,
                asid=event.c if event.id in _OF_ASID else None,
                start=0 if whole else event.a,
                end=EVERYWHERE if whole else event.b,
                level=0 if whole else event.level,
                published=cpu.published_here if local else cpu.published,
            )
            cpu.pending.append(tlbi)
        return []

    def barrier(self, event: Event) -> list[Stale]:
        """A DSB makes stores visible, or completes the TLBIs before it, as far as it reaches."""
        domain, types = event.a >> 2 & 3, event.a & 3
        if event.id != _DSB or types < STORES:
            return []
        cpu = self._cpu(event.cpu)
        wide = domain != NON_SHAREABLE
        cpu.published_here = event.seq
        if wide:
            cpu.published = event.seq
        if types != BOTH:
            return []
        done = [t for t in cpu.pending if t.local or wide]
        cpu.pending = [t for t in cpu.pending if not (t.local or wide)]
        return [stale for tlbi in done for stale in self._complete(event.cpu, tlbi)]

    def fault(self, event: Event) -> list[Stale]:
        """A fault removes nothing here, unlike on x86."""
        return []

    def heeds_fault(self) -> bool:
        """Never."""
        return False

    def root(self, cpu: int) -> int:
        """PA of the root table in TTBR0, 0 when unknown."""
        return self._cpu(cpu).root

    def loaded(self, cpu: int, tag: int) -> bool:
        """Whether the ASID is the current one, or its twin."""
        return (self._cpu(cpu).asid ^ tag) & ~self._twin == 0

    def holders(self, root: int, valid_since: int) -> list[tuple[int, int]]:
        """Where the root was loaded after the entry became valid, and not invalidated since."""
        return [
            (number, asid)
            for number, cpu in self._cpus.items()
            for asid, left in cpu.used.get(root, _NONE).items()
            if left > valid_since
        ]

    def forget(self, root: int) -> None:
        """Its entries are dead (E7): no CPU can load it again, a new user of the ASID flushes."""
        for cpu in self._cpus.values():
            if root != cpu.root:
                cpu.used.pop(root, None)

    def remedy(self, stale: Stale) -> str:
        """A TLBI that reaches the CPU, and its DSB."""
        form = "vae1is" if stale.what.is_table else "vale1is"
        return (
            f"DSB ISHST, TLBI {form} of {stale.what.va:#x} in ASID {stale.tag:#x}, and DSB ISH "
            "by the same CPU"
        )

    def _cpu(self, number: int) -> _Cpu:
        found = self._cpus.get(number)
        if found is None:
            found = self._cpus[number] = _Cpu()
        return found

    def _complete(self, issuer: int, tlbi: _Tlbi) -> list[Stale]:
        reached = [issuer] if tlbi.local else list(self._cpus)
        if tlbi.end == EVERYWHERE:
            for number in reached:
                self._emptied(self._cpus[number], tlbi)
        keys = [key for cpu in reached for key in self._records.of(cpu=cpu, tag=tlbi.asid)]
        return self._records.take(keys, tlbi.start, tlbi.end, only=tlbi.covers)

    @staticmethod
    def _emptied(cpu: _Cpu, tlbi: _Tlbi) -> None:
        # What is loaded may have been filled again since; what was left before may not.
        gone = [
            (root, asid)
            for root, asids in cpu.used.items()
            for asid, left in asids.items()
            if tlbi.asid in (None, asid) and left < tlbi.published
        ]
        for root, asid in gone:
            del cpu.used[root][asid]
