"""flush-deadline: what the kernel promises to have flushed before a system call is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import ClassVar, Final

from shootdown.model.entries import Stale, Superseded
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.stream import Event
from shootdown.model.syscalls import operation
from shootdown.model.tasks import Task
from shootdown.model.vma_map import DEATHS
from shootdown.rules import deadline_rows as rows
from shootdown.rules.base import Rule
from shootdown.rules.deadline_clock import HEARD, LOCKS, WRITES_OUT, Clock, Gather, Passed
from shootdown.rules.deadline_dues import Due, Dues
from shootdown.rules.deadline_functions import around, row_of
from shootdown.rules.deadline_rows import Moment, Row
from shootdown.rules.scene import Scene
from shootdown.trace.functions import Function

_SHARED: Final = 1 << 3
_PFNMAP: Final = 1 << 10
_HUGETLB: Final = 1 << 22
_MIXEDMAP: Final = 1 << 28
"""include/linux/mm.h: VM_SHARED, VM_PFNMAP, VM_HUGETLB, VM_MIXEDMAP."""
_WRITES: Final = ("write", "pwrite64", "writev")
"""What /proc/PID/clear_refs is used by: it takes rights away inside of no recorded function."""


class FlushDeadline(Rule):
    """An entry is flushed by the moment that the kernel's code gives for it."""

    id: ClassVar = "flush-deadline"
    title: ClassVar = "Each operation flushes by its own deadline"
    archs: ClassVar = ("x86_64", "arm64")
    text: ClassVar = rows.TEXT
    reference: ClassVar = rows.REFERENCES
    words: ClassVar = HEARD
    deaf: ClassVar = HOOKS
    functions: ClassVar = (
        *(Function.tlb_gather_mmu, Function.tlb_finish_mmu),
        *(Function.try_to_unmap_flush, Function.try_to_unmap_flush_dirty),
        *(Function.pmdp_collapse_flush, Function.collapse_pte_mapped_thp),
        *(Function.unmap_hugepage_range, Function["__unmap_hugepage_range"]),
        *(Function.change_protection, Function.move_page_tables, Function.hugetlb_unshare_pmds),
        *(Function.try_to_unmap_one, Function.try_to_migrate_one, Function.free_pgtables),
        *(Function.vma_mas_store, *WRITES_OUT, *DEATHS),
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._dues: Final = Dues()
        self._clock: Final = Clock(machine.tasks)
        self._store: Event | None = None
        self._rows: Final[Counter[str]] = Counter()

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without the functions nobody knows which row an entry comes under."""
        return super().idle(scene) or scene.lacks(functions=(Function.tlb_finish_mmu,))

    def coverage(self) -> dict[str, int]:
        """How often each row's situation occurred, and what came under none."""
        if not self.armed:
            return {}
        return {f"deadline:{row.id}": self._rows[row.id] for row in rows.ROWS} | {
            "deadline:no row": self._rows[""]
        }

    def _note(self) -> str:
        lacks = [] if self._clock.locks_seen else ["D9 and D7's lock (ptl)"]
        lacks += [] if self._clock.vmas_seen else ["D9, D17 and D4's store (vmas)"]
        return f"not judged without their event groups: {', '.join(lacks)}" if lacks else ""

    # Entries that are taken away.

    def stored(self, root: int, event: Event) -> None:
        """The next entry of a slot is written."""
        self._store = event
        key = ("next", event.a)
        if self._dues.has(key) and self.machine.mmu.valid(event.c, event.level):
            machine, dues = self.machine, self._dues.take(key)
            gone = [due for due in dues if not machine.covers(due.what.old, event.c, event.level)]
            self._judge(gone, Moment.NEXT, event)

    def superseded(self, what: Superseded, stales: Sequence[Stale]) -> None:
        """Find out by when the entry must be flushed."""
        if self._store is None or not stales:
            return
        task, mm = self.machine.tasks.cpu(what.cpu).task, self.machine.mm(what.root)
        if what.is_table and Function.free_pgtables in what.stack:
            self._pass([(Moment.UNLINK, ("unlink", task))], self._store)
        gather = self._clock.gather(task, mm)
        row = row_of(what.stack, what.level) or self._plain(what, gather)
        if row is None:
            self._rows[""] += 1
            return
        for one in self._rows_of(row, what, mm):
            keys = tuple(self._keys(one, what, mm, task, gather))
            if what.reason == "replaced" and Moment.NEXT in one.moments:
                due = Due(one, what, stales, task, keys)
                self._judge([due], Moment.NEXT, self._store)
            elif keys:
                self._dues.add(Due(one, what, stales, task, keys))

    # Moments.

    def watched(self, event: Event) -> None:
        """A lock or a VMA changes."""
        if event.id in LOCKS and event.c:
            self._dues.cancel(("ptl", event.cpu))
        self._pass(self._clock.watched(event), event)

    def called(self, event: Event) -> None:
        """A function begins."""
        self._pass(self._clock.called(event), event)

    def left(self, event: Event) -> None:
        """A function ends."""
        self._pass(self._clock.left(event), event)

    def user(self, event: Event) -> None:
        """What is still due is for ``stale-after-return`` to judge."""
        task = self.machine.tasks.cpu(event.cpu).task
        self._dues.over(task)
        self._clock.back_in_user_mode(task)

    def forgotten(self, root: int) -> None:
        """The address space is gone."""
        self._dues.forget(root)

    def _pass(self, moments: Iterable[Passed], event: Event) -> None:
        for moment, key in moments:
            if self._dues.has(key):
                self._judge(self._dues.take(key), moment, event)

    def _judge(self, dues: Iterable[Due], moment: Moment, event: Event) -> None:
        by_row: dict[Row, list[Due]] = {}
        for due in dues:
            if not due.what.restored:
                by_row.setdefault(due.row, []).append(due)
        for row, mine in by_row.items():
            if any(due.what.shared for due in mine):
                self.exercised()
                self._rows[row.id] += 1
            left = [stale for due in mine for stale in due.stales if self._usable(stale, row)]
            if left:
                self._report(row, left, moment, event)

    def _usable(self, stale: Stale, row: Row) -> bool:
        """Whether the copy is there and does harm: lazy CPUs still walk through tables (D21)."""
        if not stale.alive:
            return False
        if row is not rows.EXIT:
            return self.machine.can_use(stale.cpu, stale.tag)
        state = self.machine.tasks.cpu(stale.cpu)
        return not state.switching and self.machine.tlb.loaded(stale.cpu, stale.tag)

    def _report(self, row: Row, left: Sequence[Stale], moment: Moment, event: Event) -> None:
        first = min(left, key=lambda stale: (stale.what.va, stale.cpu))
        what, cpus = first.what, sorted({stale.cpu for stale in left})
        kind = "pointer to a page table" if what.is_table else "translation"
        self.found(
            "may",
            what,
            operation=operation(what.call) or row.title,
            cpus=cpus,
            seq=[what.seq, *([event.seq] if event.seq != what.seq else [])],
            summary=(
                f"{row.id} ({row.title}): {moment.value}, and CPU {', '.join(map(str, cpus))} may "
                f"still use the {kind} of VA {what.va:#x} that {what.task} had taken away before"
            ),
            missing=self.machine.tlb.remedy(first),
            count=len(left),
            details={"row": row.id, "deadline": moment.value},
            mark=row.id,
        )

    # Which row, and which moments.

    def _plain(self, what: Superseded, gather: Gather | None) -> Row | None:
        """The row where no function tells."""
        if gather is not None:
            return rows.ZAP
        return rows.TRACKING if what.call and what.call.name in _WRITES else None

    def _rows_of(self, row: Row, what: Superseded, mm: int) -> tuple[Row, ...]:
        """The operation's own row, and those that go by what kind of page it is."""
        if row.id not in rows.ZAPS or what.level > 1 or what.reason != "unmapped":
            return (row,)
        vma = self._clock.vmas.at(mm, what.va)
        if vma is not None and vma.flags & (_PFNMAP | _MIXEDMAP):
            return row, rows.SPECIAL
        shared = vma is not None and vma.flags & (_SHARED | _HUGETLB) == _SHARED
        return (row, rows.DIRTY) if shared and self._dirty(what) else (row,)

    def _dirty(self, what: Superseded) -> bool:
        return self.machine.mmu.dirty(what.old, what.level)

    def _keys(
        self, row: Row, what: Superseded, mm: int, task: Task, gather: Gather | None
    ) -> Iterator[Hashable]:
        """Where it is filed: every moment of the row, with whose it is."""
        for moment in row.moments:
            match moment:
                case Moment.PTL if self._by_its_lock(row, mm, what):
                    yield "ptl", what.cpu
                case Moment.NEXT:
                    yield "next", self._store.a if self._store else 0
                case Moment.GATHER if gather is not None:
                    yield "gather", task, gather.tlb
                case Moment.GATHER if row is rows.EXIT and what.is_table:
                    yield "exit", task
                case Moment.UNLOCK if row is not rows.MADVISE:
                    yield "unlock", task, mm
                case Moment.UNLOCK if gather is not None:
                    yield "nested", task, gather.tlb
                case Moment.STORED:
                    yield "stored", task, mm
                case Moment.BATCH:
                    yield "batch", task
                case Moment.WRITEOUT if self._dirty(what):
                    yield "dirty", task
                case Moment.UNLINK:
                    yield "unlink", task
                case Moment.RETURN:
                    yield from self._return(row, what, task)

    def _by_its_lock(self, row: Row, mm: int, what: Superseded) -> bool:
        """Whether the page-table lock is kept until the flush.

        Not where collapse_pte_mapped_thp() leaves the flush of small entries to that of their
        table, nor of hugetlb in mremap: there the VMA must say that it is none.
        """
        if row is rows.COLLAPSE:
            return Function.pmdp_collapse_flush in what.stack
        vma = self._clock.vmas.at(mm, what.va) if row is rows.MOVE else None
        return row is not rows.MOVE or (vma is not None and not vma.flags & _HUGETLB)

    def _return(self, row: Row, what: Superseded, task: Task) -> Iterator[Hashable]:
        frames, at = self.machine.calls.frames(what.cpu), around(what.stack, row)
        if 0 <= at < len(frames):
            yield "return", task, *frames[at]
