"""What a trace shows of the ways in which page tables came and went."""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from shootdown.arch import Arch
from shootdown.model import stream
from shootdown.model.stream import Event
from shootdown.model.tasks import Tasks
from shootdown.trace.schema import Kind, Probe, RootReg
from shootdown.trace.types import Events

MADV_COLLAPSE: Final = 25
# Where vmalloc gives out addresses, as Documentation/arch says (x86/x86_64/mm.rst with 4 levels and
# nokaslr; arm64/memory.rst with 48 bits; 6.12 has modules and the kernel image in there as well).
VMALLOC: Final = {
    "x86_64": (0xFFFF_C900_0000_0000, 0xFFFF_E900_0000_0000),
    "arm64": (0xFFFF_8000_0000_0000, 0xFFFF_FD00_0000_0000),
}
_FORKS: Final = ("fork", "vfork", "clone", "clone3")
_STRUCTURE: Final = (Kind.PTE_WRITE, Kind.PROBE, Kind.PROBE_MORE, Kind.RET_USER, Kind.ROOT_LOAD)


def vmalloc(events: Events, arch: Arch) -> Counter[str]:
    """Pages "mapped" and "unmapped" in the area of vmalloc."""
    first, end = VMALLOC[arch.name]
    stores = events[(events["kind"] == Kind.PTE_WRITE) & (events["level"] == 1)]
    stores = stores[(stores["d"] >= np.uint64(first)) & (stores["d"] < np.uint64(end))]
    found: Counter[str] = Counter()
    for old, new in zip(stores["b"].tolist(), stores["c"].tolist(), strict=True):
        was, now = arch.mmu.leaf(old, 1), arch.mmu.leaf(new, 1)
        found["mapped"] += now and not was
        found["unmapped"] += was and not now
    return found


def history(events: Events, arch: Arch) -> Counter[str]:
    """How often each thing happened.

    System calls by their names; address spaces "made by fork", "made by exec" and "gone"; huge
    pages of user space that were "split" and that came from a "collapse".
    """
    teller = _History(arch)
    for event in stream.stream(events, _STRUCTURE):
        teller.tell(event)
    return teller.found


class _History:
    """Follows huge pages slot by slot, and system calls task by task."""

    def __init__(self, arch: Arch) -> None:
        self.found: Counter[str] = Counter()
        self._mmu = arch.mmu
        self._tasks = Tasks(arch.kernel.syscalls)
        self._huge: dict[int, int] = {}
        """Slots whose huge page was made invalid, and not taken away: the page's PA."""
        self._emptied: dict[int, int] = {}
        """Slots from which MADV_COLLAPSE took a table, with the number of the call's entry."""

    def tell(self, event: Event) -> None:
        if event.kind == Kind.PTE_WRITE:
            if event.level == 2:
                self._store(event)
        elif event.kind == Kind.PROBE:
            self._tasks.probe(event, 0)
            self._probe(event)
        elif event.kind == Kind.PROBE_MORE:
            self._tasks.probe_more(event)
            self._called(event)
        elif event.kind == Kind.RET_USER:
            self._tasks.return_to_user(event)
        elif event.id in (RootReg.CR3, RootReg.TTBR0):
            self._tasks.root_load(event)

    def _probe(self, event: Event) -> None:
        call = self._tasks.cpu(event.cpu).task.call
        if event.id == Probe.MM_FREE:
            self.found["gone"] += 1
        elif event.id == Probe.MM_ALLOC and call is not None:
            self.found["made by fork"] += call.name in _FORKS
            self.found["made by exec"] += call.name == "execve"

    def _called(self, event: Event) -> None:
        call = self._tasks.cpu(event.cpu).task.call
        if event.id == Probe.SYSCALL and call is not None:
            self.found[call.name] += 1

    def _store(self, event: Event) -> None:
        """To a slot that maps 2 MiB of user space."""
        mmu, slot, old, new = self._mmu, event.a, event.b, event.c
        if mmu.leaf(old, 2) and new and not mmu.valid(new, 2):
            self._huge[slot] = old  # pmdp_invalidate()
            return
        was_huge = mmu.leaf(old, 2) or slot in self._huge
        self._huge.pop(slot, None)
        self.found["split"] += was_huge and mmu.table(new, 2)
        call = self._tasks.cpu(event.cpu).task.call
        if call is None or call.name != "madvise" or call.arg(2) != MADV_COLLAPSE:
            return
        if mmu.table(old, 2) and not new:
            self._emptied[slot] = call.seq
        elif mmu.leaf(new, 2):
            self.found["collapse"] += self._emptied.pop(slot, 0) == call.seq
