"""dead-vma-install: a fault maps pages only where its VMA allows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from shootdown.model import installs
from shootdown.model.faults import Attempt
from shootdown.model.history import History
from shootdown.model.installs import Vmas, within
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.pagetables import span_of
from shootdown.model.stream import Event
from shootdown.model.vmas import Step
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Watch

_WORDS: Final = (Watch.VMA_START, Watch.VMA_END, Watch.VMA_FLAGS, Watch.VMA_PAGE_PROT)
_FUNCTIONS: Final = (Function.handle_mm_fault, Function.unmap_vmas)
"""Of the groups that are needed, functions that every workload enters."""
_OTHERS: Final = {
    *(Function.remove_migration_pte, Function.try_to_unmap_one, Function.try_to_migrate_one),
    *(Function.page_vma_mkclean_one, Function.write_protect_page, Function.replace_page),
}
"""What a fault may run on the way that writes entries of any VMA, under locks of its own."""
_GONE: Final = ("free", "release")
_WRITE: Final = 2
"""include/linux/mm.h: VM_WRITE."""


class DeadVmaInstall(Rule):
    """handle_mm_fault() makes an entry valid only in a VMA that is there and allows it."""

    id: ClassVar = "dead-vma-install"
    title: ClassVar = "A fault installs entries only within its VMA, alive and not locked to write"
    archs: ClassVar = ("x86_64", "arm64")
    history: ClassVar = installs.KINDS
    needs: ClassVar = (Kind.PTE_WRITE, Kind.WATCH, Kind.RET_USER)
    deaf: ClassVar = HOOKS
    text: ClassVar = """\
When handle_mm_fault(), called for a page fault or by GUP, makes a leaf entry of the VMA's mm valid,
or gives one more rights, then at the store

* the VMA is attached to its mm's tree, and the same that the call was given: not freed, nor born
  again at its address;
* what the entry maps lies within `vm_start` (inclusive) and `vm_end` (exclusive);
* the entry allows no more than `vm_page_prot` does, but writing where `vm_flags` have VM_WRITE:
  private and write-notified mappings are given that bit one page at a time;
* no other task has the VMA locked to write: its `vm_lock_seq` is not the `mm_lock_seq` of its mm.

Needs the event groups `vmas` and `functions`; without them the rule is not armed. The last point is
judged where `vma_locks` is recorded. Every such store is its situation; stores for VMAs that were
there before recording began are only counted, as `dead-vma:birth not seen`.

* **WITNESS**: the store was seen. There is no **MAY**: the entry is there for every CPU to use.

Sanctioned:

* Entries that are put back without looking at the VMA, under the lock of the reverse mapping and
  of the folio, by reclaim, migration or compaction that the fault runs on its way:
  `remove_migration_pte()`, the undoing in `try_to_unmap_one()` and `try_to_migrate_one()`, KSM.
* Entries of another mm than the VMA's: only those can write them.
* A translation that the same call has cleared before comes back: `contpte_convert()` takes all
  entries of a block of contiguous ones away and writes them anew, with no VMA at hand.
* The task that has the VMA locked to write itself: nobody else can change the VMA then."""
    reference: ClassVar = (
        "mm/memory.c handle_mm_fault(), do_anonymous_page(), finish_fault(), wp_page_reuse()",
        "mm/memory.c or mm/mmap_lock.c lock_vma_under_rcu(); include/linux/mm.h vma_start_write()",
        "include/linux/mm.h maybe_mkwrite(); mm/mmap.c vma_set_page_prot()",
        "mm/migrate.c remove_migration_pte(); mm/rmap.c try_to_unmap_one()",
        "arch/arm64/mm/contpte.c contpte_convert()",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._within: dict[int, Attempt] = {}
        self._vmas: Vmas | None = None
        self._cleared: dict[int, tuple[int, int]] = {}
        self._unseen = 0

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without VMAs and calls there is nothing to judge by."""
        return super().idle(scene) or scene.lacks(watches=_WORDS, functions=_FUNCTIONS)

    def begun(self, history: History) -> None:
        """Find out which stores faults make, and rebuild the lives of VMAs."""
        if self.armed:
            self._within = within(history)
            self._vmas = Vmas(history)

    def coverage(self) -> dict[str, int]:
        """Stores that could not be judged."""
        return {"dead-vma:birth not seen": self._unseen} if self.armed else {}

    def stored(self, root: int, event: Event) -> None:
        """Judge a store by a fault."""
        attempt = self._within.get(event.seq)
        if attempt is None or self._vmas is None or not self._installs(attempt, event):
            return
        given = self._vmas.at(attempt.vma, attempt.seq)
        vma = self._vmas.at(attempt.vma, event.seq)
        if given is None or vma is None:
            self._unseen += 1
        elif self.machine.mm(root) == given.mm:
            self.exercised()
            for missing, why in self._wrong(given, vma, attempt, event):
                self._report(vma, attempt, event, missing, why)
                break

    def _installs(self, attempt: Attempt, event: Event) -> bool:
        """Whether the store gives rights that this call did not itself take away before."""
        mmu, level = self.machine.mmu, event.level
        if not mmu.leaf(event.c, level):
            if mmu.leaf(event.b, level):
                self._cleared[event.a] = attempt.seq, event.b
            return False
        if self._by_others(event):
            return False
        by, old = self._cleared.pop(event.a, (0, 0))
        if by == attempt.seq and mmu.target(old, level) == mmu.target(event.c, level):
            return False
        if not mmu.leaf(event.b, level) or mmu.target(event.b, level) != mmu.target(event.c, level):
            return True
        return not mmu.permits(event.c, level) <= mmu.permits(event.b, level)

    def _by_others(self, event: Event) -> bool:
        """Whether the innermost fault is doing something else than its own work."""
        return self.machine.calls.inside(event.cpu, _OTHERS)

    def _wrong(
        self, given: Step, vma: Step, attempt: Attempt, event: Event
    ) -> Iterator[tuple[str, str]]:
        """What is not as it should be: what is missing, and how it is instead."""
        if vma.event in _GONE or vma.generation != given.generation:
            yield "a VMA", "had been freed"
            return
        if not vma.attached:
            yield "an attached VMA", "was detached"
        if not vma.start <= event.d <= event.d + span_of(event.level) <= vma.end:
            yield "a VMA around the page", f"was from {vma.start:#x} to {vma.end:#x}"
        if more := self.machine.mmu.permits(event.c, event.level) - self._allowed(vma):
            yield "a VMA that allows it", f"did not allow {', '.join(sorted(more))}"
        if self._vmas is not None:
            writer = self._vmas.writer(attempt.vma, vma.mm, event.seq)
            if writer not in (0, self._holder(attempt, event)):
                yield "the lock of the VMA", "was locked to write by another task"

    def _allowed(self, vma: Step) -> frozenset[str]:
        rights = self.machine.mmu.permits(vma.page_prot, 1)
        return rights | {"write"} if vma.flags & _WRITE else rights

    def _holder(self, attempt: Attempt, event: Event) -> int:
        return attempt.task or event.cpu

    def _report(self, vma: Step, attempt: Attempt, event: Event, missing: str, why: str) -> None:
        self.found_at(
            event,
            operation="page fault" if attempt.fault else "GUP",
            mm=vma.mm,
            seq=sorted({vma.seq, attempt.seq, event.seq}),
            summary=(
                f"CPU {event.cpu} gave VA {event.d:#x} the entry {event.c:#x} in a fault whose VMA "
                f"{why}"
            ),
            missing=missing,
            before=event.b,
            after=event.c,
            kind="witness",
            details={"vma": attempt.vma, "start": vma.start, "end": vma.end, "flags": vma.flags},
            mark=missing,
        )
