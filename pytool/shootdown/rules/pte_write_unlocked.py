"""pte-write-unlocked: page tables change under their locks."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from shootdown.model import ptl
from shootdown.model.history import History
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.ptl import Ptl
from shootdown.model.stream import Event
from shootdown.model.syscalls import operation
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.trace.functions import NAMES
from shootdown.trace.schema import Kind, Watch

_MISSING: Final = "the page-table lock"


class PteWriteUnlocked(Rule):
    """A store to a user leaf slot is made by a CPU that holds the page-table lock."""

    id: ClassVar = "pte-write-unlocked"
    title: ClassVar = "User leaf entries change under the page-table lock"
    archs: ClassVar = ("x86_64", "arm64")
    deaf: ClassVar = HOOKS
    text: ClassVar = """\
A store that makes, changes or removes a user leaf entry, or what is kept in the place of a page
(swap and migration entries, markers, PROT_NONE), is made by a CPU that holds the lock of the
table the entry is in, or `mm->page_table_lock` of its address space: tables above level 2 have no
lock of their own, nor have huge pages of hugetlb that are neither a page nor what a level 2 entry
maps (`huge_pte_lockptr()`), nor any table where locks are not split.

Needs the event group `ptl`; without it the rule is not armed. Every store to a user leaf slot is
its situation. Accessed and dirty bits that the page walker sets are no stores. Links to tables are
not meant: they go under the lock of the level above, or in `free_pgtables()` under none, when
nobody else can reach the range.

* **WITNESS**: the store was seen. There is no **MAY**: whether a CPU holds a lock is no matter of
  what it may have cached."""
    reference: ClassVar = (
        "include/linux/mm.h pte_lockptr(), pmd_lockptr(), pud_lockptr()",
        "include/linux/hugetlb.h huge_pte_lockptr()",
        "Documentation/mm/split_page_table_lock.rst",
        "mm/memory.c free_pgd_range()",
    )

    history: ClassVar = (
        *(Kind.WATCH, Kind.WATCH_INIT, Kind.PTE_WRITE, Kind.TABLE_UNLINK, Kind.ROOT_FORGET),
        Kind.PROBE,
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._ptl: Ptl | None = None
        self._without: frozenset[int] = frozenset()

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without the locks nobody knows who holds them."""
        return super().idle(scene) or scene.lacks(watches=(Watch.PTL,))

    def begun(self, history: History) -> None:
        """Rebuild the history of every lock."""
        if self.armed:
            self._ptl = ptl.read(history.events)
            self._without = self._ptl.stored_without(history.events)

    def coverage(self) -> dict[str, int]:
        """How often locks were held, and where their histories do not chain."""
        found = self._ptl
        return {"ptl:held": len(found.holds), "ptl:broken": found.breaks} if found else {}

    def stored(self, root: int, event: Event) -> None:
        """Look at who holds the lock."""
        mmu, level = self.machine.mmu, event.level
        if level > 1 and not (mmu.leaf(event.b, level) or mmu.leaf(event.c, level)):
            return
        if not (event.b or event.c):
            return
        self.exercised()
        if event.seq in self._without and not self._holds_mm_lock(root, event):
            self._report(root, event)

    def _holds_mm_lock(self, root: int, event: Event) -> bool:
        mm = np.array([self.machine.mm(root)], np.uint64)
        cpu, seq = np.array([event.cpu], np.uint8), np.array([event.seq], np.uint64)
        return self._ptl is not None and bool(self._ptl.held(mm, cpu, seq)[0])

    def _report(self, root: int, event: Event) -> None:
        call = self.machine.tasks.cpu(event.cpu).task.call
        self.found_at(
            event,
            operation=operation(call) or "background",
            mm=self.machine.mm(root),
            seq=[event.seq],
            summary=(
                f"CPU {event.cpu} changed the entry of VA {event.d:#x} from {event.b:#x} to "
                f"{event.c:#x} without the lock of its table"
            ),
            missing=_MISSING,
            before=event.b,
            after=event.c,
            kind="witness",
            mark=self._mark(event),
        )

    def _mark(self, event: Event) -> str:
        """The function that stores, where it is recorded: what is in no call has no other name."""
        stack = self.machine.calls.of(event.cpu)
        return f"{_MISSING}, in {NAMES.get(stack[-1], stack[-1])}" if stack else _MISSING
