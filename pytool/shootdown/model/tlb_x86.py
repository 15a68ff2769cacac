"""What x86-64 CPUs without PCIDs may cache: QEMU's TCG offers none.

Every CR3 load empties the CPU of all but global entries, so only the loaded address space can
have entries, and user entries are never global. With PTI the two roots of an address space go by
the kernel's (ROOT_LOAD), and every crossing between kernel and user mode is such a load.
Invalidations are local and immediate. "Intel SDM" below is volume 3A, 4.10.
"""

from __future__ import annotations

from typing import ClassVar

from shootdown.model.entries import Stale
from shootdown.model.pagetables import PAGE_SIZE
from shootdown.model.stream import Event
from shootdown.model.tlb import EVERYWHERE, Records, Tlb
from shootdown.trace.schema import FlushOp, RootReg

_NO_FLUSH = 1 << 63
_CR3, _INVLPG, _CR4 = int(RootReg.CR3), int(FlushOp.INVLPG), int(FlushOp.CR4_WRITE)


class X86Tlb(Tlb):
    """``tlb.Tlb``; the tag is the PA of the root table."""

    modelled: ClassVar = frozenset({FlushOp.INVLPG, FlushOp.CR4_WRITE})

    def __init__(self, records: Records) -> None:
        self._records = records
        self._root: dict[int, int] = {}
        self._holders: dict[int, list[tuple[int, int]]] = {}
        """What ``holders`` has said, since a root was loaded last."""

    def root_load(self, event: Event) -> list[Stale]:
        """CR3: all non-global entries go, unless bit 63 was set in the source (SDM 4.10.4.1)."""
        if event.id != _CR3:
            return []
        self._root[event.cpu] = event.b
        self._holders.clear()
        return [] if event.a & _NO_FLUSH else self._all(event)

    def flush(self, event: Event) -> list[Stale]:
        """INVLPG: every entry for the page, of any size, and *all* of the CPU's walk caches.

        SDM 4.10.4.1: "INVLPG also invalidates all entries in all paging-structure caches
        associated with the current PCID, regardless of the linear addresses to which they
        correspond." A write of CR4 that changes PGE empties the CPU. INVPCID and INVLPGB do not
        exist under TCG; they remove nothing here, and the coverage counts them.
        """
        if event.id == _INVLPG:
            keys = self._records.of(cpu=event.cpu)
            return self._records.take(keys, event.a, event.b or EVERYWHERE, tables=True)
        return self._all(event) if event.id == _CR4 else []

    def barrier(self, event: Event) -> list[Stale]:
        """Nothing waits for a barrier."""
        return []

    def fault(self, event: Event) -> list[Stale]:
        """A page fault removes what the CPU had for the address, walk caches too (SDM 4.10.4.1).

        The number belongs to the handler's entry: only what was superseded before the CPU's
        record before it was certainly gone from memory when the fault was taken.
        """
        va = event.a & -PAGE_SIZE
        keys = self._records.of(cpu=event.cpu)
        return self._records.take(
            keys, va, va + PAGE_SIZE, only=lambda stale: stale.what.seq < event.prev
        )

    def heeds_fault(self) -> bool:
        """Whether there is any record."""
        return self._records.any()

    def root(self, cpu: int) -> int:
        """PA of the root table in CR3, 0 when unknown."""
        return self._root.get(cpu, 0)

    def loaded(self, cpu: int, tag: int) -> bool:
        """Whether CR3 holds the root."""
        return self._root.get(cpu) == tag

    def holders(self, root: int, valid_since: int) -> list[tuple[int, int]]:
        """The CPUs that have the root loaded: whoever left it has loaded CR3 since."""
        found = self._holders.get(root)
        if found is None:
            found = [(cpu, root) for cpu, loaded in self._root.items() if loaded == root]
            self._holders[root] = found
        return found

    def forget(self, root: int) -> None:
        """Nothing is kept about a root that is not loaded."""

    def remedy(self, stale: Stale) -> str:
        """INVLPG or a load of CR3, on that CPU."""
        return f"INVLPG of {stale.what.va:#x}, or a load of CR3, on CPU {stale.cpu}"

    def _all(self, event: Event) -> list[Stale]:
        return self._records.take(self._records.of(cpu=event.cpu))
