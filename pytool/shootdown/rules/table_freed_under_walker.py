"""table-freed-under-walker: no page table is freed while software may walk through it."""

from __future__ import annotations

from typing import Any, ClassVar

from shootdown.model.history import History
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.stream import Event
from shootdown.model.waiting import Waiting
from shootdown.model.walkers import frees, walked_while_freed, walks
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind


class TableFreedUnderWalker(Rule):
    """A page table's frame is freed only when every walker without a lock has been waited for."""

    id: ClassVar = "table-freed-under-walker"
    title: ClassVar = "Page tables are freed only behind walkers that take no lock"
    deaf: ClassVar = HOOKS
    archs: ClassVar = ("x86_64", "arm64")
    needs: ClassVar = (Kind.PTE_WRITE, Kind.ROOT_LOAD, Kind.RET_USER, Kind.PAGE_FREED)
    history: ClassVar = (
        *(Kind.ENTER, Kind.EXIT, Kind.PROBE, Kind.PROBE_MORE, Kind.RET_USER, Kind.ROOT_LOAD),
        *(Kind.TABLE_LINK, Kind.TABLE_UNLINK, Kind.ROOT_LEARN, Kind.ROOT_FORGET, Kind.ARMED),
        *(Kind.PAGE_FREED, Kind.PAGE_ALLOCATED),
    )
    text: ClassVar = """\
GUP-fast walks page tables with interrupts off and without a lock, others under RCU alone. Between
the store that unlinks a table and the moment its frame goes back to the page allocator, all that
may still walk through it have to be waited for: by an interrupt of every CPU that runs the mm,
which GUP-fast holds off, or by a grace period of RCU.

* **WITNESS**: a run of GUP-fast in that mm began on another CPU before the table was unlinked, and
  was not over when it was freed.
* **MAY**: the table was freed outside of RCU's callbacks, and another CPU that was in the kernel
  for a task of that mm when it was unlinked has not been seen since to take an interrupt of a flush
  or of `tlb_remove_table_sync_one()`, to switch tasks or to return to user mode.

Needs the event groups `walkers` and `functions`; without them the rule is not armed. Its situation:
a table is freed that another CPU could have been walking through, being in the kernel for a task of
that mm when the table was unlinked. Of a CPU in user mode, and of kernel threads, nothing is asked.

What RCU's read sections cover is not seen, only that a callback of RCU freed the table. So an
interrupt counts as a wait for every walker, also for those that walk with interrupts on, under RCU
alone (`__pte_offset_map()` since 6.5): a table that must wait for a grace period
(`pte_free_defer()`), and is freed behind an interrupt instead, is not found. Interrupts of other
kinds are not recorded: a kernel that relied on one would be suspected (MAY)."""
    reference: ClassVar = (
        "mm/gup.c gup_fast(); include/asm-generic/tlb.h, struct mmu_table_batch",
        "mm/mmu_gather.c tlb_remove_table(), tlb_remove_table_sync_one(), tlb_remove_table_free()",
        "mm/pgtable-generic.c pte_free_defer(), __pte_offset_map()",
        "arch/x86/kernel/paravirt.c native_tlb_remove_table() (6.x): behind the flush's interrupt",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._freed: dict[int, list[Any]] = {}
        self._walked: dict[int, list[int]] = {}
        self._walker: dict[int, int] = {}
        """By number of its beginning: the CPU of a walk."""
        self._waiting: Waiting | None = None

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without walks and interrupts there is nothing to judge by."""
        note = super().idle(scene) or scene.lacks(functions=(Function.handle_mm_fault,))
        if not note and scene.functions.isdisjoint(_WALKERS):
            return "the trace has no walkers: record it with --events"
        return note

    def begun(self, history: History) -> None:
        """Find out which tables were freed, who walked, and what every CPU ran."""
        if not self.armed:
            return
        events = history.events
        walked, freed = walks(events), frees(events)
        self._waiting = Waiting(events)
        for row in freed[["table", "unlinked", "freed", "cpu", "ipis", "grace"]].tolist():
            self._freed.setdefault(row[2], []).append(row)
        self._walker = dict(walked[["begin", "cpu"]].tolist())
        for begin, seq in walked_while_freed(walked, freed):
            self._walked.setdefault(seq, []).append(begin)

    def freed(self, event: Event) -> None:
        """Judge the tables of a block."""
        for table, unlinked, _, cpu, _, grace in self._freed.get(event.seq, ()):
            root = self._waiting.root(table, unlinked) if self._waiting and unlinked else 0
            if root:
                self._judge(event, (table, root), unlinked, cpu, grace=grace)

    def _judge(
        self, event: Event, where: tuple[int, int], unlinked: int, cpu: int, *, grace: bool
    ) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        _, root = where
        workers = waiting.workers(root, unlinked, cpu)
        if workers:
            self.exercised()
        walks = [w for w in self._walked.get(event.seq, ()) if self._walker[w] in workers]
        if walks:
            self._report(event, where, [walks[0], unlinked], self._walker[walks[0]], seen=True)
            return
        missed = [one for one in workers if not waiting.passed(one, unlinked, event.seq)]
        if missed and not grace:
            self._report(event, where, [unlinked], missed[0], seen=False)

    def _report(
        self, event: Event, where: tuple[int, int], seq: list[int], cpu: int, *, seen: bool
    ) -> None:
        table, root = where
        what = "was walking" if seen else "could be walking"
        self.found_at(
            event,
            operation="free of a page table",
            mm=self.machine.mm(root),
            seq=[*seq, event.seq],
            summary=(
                f"CPU {event.cpu} freed the page table at PA {table:#x} while CPU {cpu} {what} "
                "through it"
            ),
            missing=f"a grace period, or an interrupt of CPU {cpu}",
            kind="witness" if seen else "may",
            holders=[cpu],
            details={"table": table},
        )


_WALKERS = (
    *(Function.gup_fast_fallback, Function.internal_get_user_pages_fast, Function.gup_fast),
    *(Function.tlb_remove_table, Function["__pte_offset_map"], Function.tlb_remove_table_rcu),
)
