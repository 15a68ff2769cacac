"""break-before-make: arm64's rule for replacing a live translation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from shootdown.model.entries import Stale, Superseded
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.pagetables import span_of
from shootdown.model.space import Leaf
from shootdown.model.stream import Event
from shootdown.model.syscalls import operation
from shootdown.rules.base import Rule

_NOTHING: Final[dict[int, tuple[int, int]]] = {}
_WRITERS: Final = (
    *("mmap", "munmap", "mprotect", "pkey_mprotect", "mremap", "brk", "shmat", "shmdt"),
    *("clone", "clone3", "execve", "execveat"),
)
"""arm64's calls that hold mmap_lock to write when they take translations away: nobody can fault
then."""


class BreakBeforeMake(Rule):
    """A translation is gone from every TLB before one that clashes with it is written."""

    id: ClassVar = "break-before-make"
    title: ClassVar = "A live translation is broken, flushed, and only then replaced"
    archs: ClassVar = ("arm64",)
    deaf: ClassVar = HOOKS
    text: ClassVar = """\
When an entry becomes valid, no CPU may still hold another entry for the same address that differs
from it in output address, size, contiguity, memory type or shareability, or that is not global
where the new one is. The old entry must have been made invalid, and a TLBI that covers it
completed by a DSB, before the new one is written. Permissions, accessed, dirty and software bits
may change in place.

* **MAY**: the new entry was written while a CPU may still have held the old one. There is no
  WITNESS: QEMU's TLB never mixes two entries up.

Sanctioned, and counted in the report's note: Linux itself leaves a bounded gap where a page is
taken under shared locks, by reclaim (E8) or by `madvise`, truncation and hole punching (E9), and
another task faults a new page in before the flush. The old page is not freed meanwhile. Entries
that come back as they were (E15), and kernel addresses (E13), are no matter of this rule. What a
CPU of FEAT_BBM's level 2 takes, changes of size and contiguity alone, `--bbm 2` tolerates."""
    reference: ClassVar = (
        "Arm ARM (DDI 0487), D8.16 TLB maintenance: break-before-make sequences",
        "arch/arm64/mm/mmu.c pgattr_change_is_safe()",
        "mm/memory.c wp_page_copy(), zap_pte_range(); mm/rmap.c try_to_unmap_one()",
        "arch/arm64/mm/contpte.c contpte_convert()",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._last: dict[int, dict[int, tuple[int, int]]] = {}
        """What was there: entry and level, by root and VA."""
        self._sanctioned = 0

    def superseded(self, what: Superseded, stales: Sequence[Stale]) -> None:
        """Remember what was there, to know a replacement when it comes."""
        if stales and not what.is_table:
            self._last.setdefault(what.root, {})[what.va] = (what.old, what.level)

    def installed(self, root: int, leaf: Leaf, event: Event) -> None:
        """Whether what was there before has gone from every TLB."""
        before = self._last.get(root, _NOTHING).pop(leaf.va, None)
        if before and self._clash(*before, leaf):
            self.exercised()
        for stale in self.machine.records.overlapping(root, leaf.va, leaf.va + span_of(leaf.level)):
            what = stale.what
            if not what.is_table and (why := self._clash(what.old, what.level, leaf)):
                self._judge(stale, leaf, event, why)
                return
        self._in_place(root, leaf, event)

    def forgotten(self, root: int) -> None:
        """The address space is gone."""
        self._last.pop(root, None)

    def _in_place(self, root: int, leaf: Leaf, event: Event) -> None:
        """What leaves no stale entry behind, like a new memory type, clashes all the same."""
        mmu = self.machine.mmu
        if not mmu.leaf(event.b, leaf.level):
            return
        why = self._clash(event.b, leaf.level, leaf)
        holders = {cpu for cpu, _ in self.machine.tlb.holders(root, 0)}
        if why and holders:
            self.exercised()
            self.found_at(
                event,
                operation=self._name(event),
                mm=self.machine.mm(root),
                seq=[event.seq],
                summary=f"the entry of VA {leaf.va:#x} was changed in place: {why}",
                missing="an invalid entry, TLBI and DSB between the two",
                before=event.b,
                after=leaf.entry,
                holders=holders,
                mark=why,
            )

    def _judge(self, stale: Stale, leaf: Leaf, event: Event, why: str) -> None:
        what, task = stale.what, self.machine.tasks.cpu(event.cpu).task
        if what.task != str(task) and not (what.call and what.call.name in _WRITERS):
            self._sanctioned += 1
            return
        self.found(
            "may",
            what,
            operation=operation(what.call) or "background",
            cpus=[stale.cpu],
            seq=[what.seq, event.seq],
            summary=(
                f"VA {leaf.va:#x} was given a new entry while CPU {stale.cpu} may still hold the "
                f"old one, which differs in {why}"
            ),
            missing=self.machine.tlb.remedy(stale),
            details={"new": leaf.entry},
        )

    def _clash(self, old: int, level: int, leaf: Leaf) -> str:
        machine = self.machine
        return machine.mmu.needs_break(old, level, leaf.entry, leaf.level, machine.kernel.bbm)

    def _name(self, event: Event) -> str:
        call = self.machine.tasks.cpu(event.cpu).task.call
        return operation(call) or "background"

    def _note(self) -> str:
        count, bbm = self._sanctioned, self.machine.kernel.bbm
        notes = [f"{count} gaps under shared locks, sanctioned (E8, E9)"] if count else []
        return "; ".join([*notes, *([f"for CPUs with FEAT_BBM of level {bbm}"] if bbm else [])])
