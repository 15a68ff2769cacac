"""stale-after-return: Wilcox's rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from shootdown.model.entries import Call, Stale, Superseded
from shootdown.model.machine import Machine
from shootdown.model.space import Leaf
from shootdown.model.stream import Event
from shootdown.model.syscalls import Promise, promise
from shootdown.rules.aftermath import Aftermath
from shootdown.rules.base import Rule


class StaleAfterReturn(Rule):
    """No CPU may use a translation that a system call took away, once the call has returned."""

    id: ClassVar = "stale-after-return"
    title: ClassVar = "No stale translation outlives the system call that replaced it"
    archs: ClassVar = ("x86_64", "arm64")
    text: ClassVar = """\
When `munmap`, `mmap(MAP_FIXED)`, `mprotect`, `mremap`, `madvise` or `process_madvise`
(`MADV_DONTNEED`, `MADV_DONTNEED_LOCKED`, `MADV_REMOVE`, `MADV_GUARD_INSTALL`), `brk`, `shmdt`,
`shmat(SHM_REMAP)`, `remap_file_pages` or a fork returns with success, no CPU may go on using the
translations that it took away from its range. While the call runs, old and new may be seen side by
side (E10, E11).

At the first return to user mode of the caller, every entry for the range that the call superseded,
or that anybody had superseded before it began, must have been invalidated on every CPU that may
have cached it. `mprotect` promises so for entries that permit more than the new protection, a fork
for the right to write to what it write-protected, `mremap` for the range that moved, the range it
moved to, and a tail that it cut off. Of `brk`, `shmdt`, `shmat` and `process_madvise` no argument
says where the range ends, so they are held to what the call itself superseded.

* **MAY**: no invalidation that covers the entry has taken effect on some CPU.
* **WITNESS**: a user access that certainly began after the return went to the old page, or stored
  to the page through an entry that no longer allows it.

A CPU gets grace until it next returns to user mode with the address space loaded: while it borrows
the address space lazily (E3), is inside `switch_mm` (E4), or has another address space loaded (E5).

No violation: upgrades in place, and entries that come back (E1, E15); changes of accessed, dirty
and software bits (E2); an invalidation asked for by one request and done by another (E6: only
effects count); the teardown of an address space that nobody runs in (E7); what reclaim took away
and has not flushed yet, elsewhere than in the call's range (E8); kernel addresses (E13)."""
    reference: ClassVar = (
        "munmap: mm/vma.c vms_complete_munmap_vmas(), do_vmi_align_munmap(); 6.1 mm/mmap.c "
        "do_mas_align_munmap()",
        "mmap(MAP_FIXED): mm/vma.c vms_clear_ptes(), which ends in tlb_finish_mmu()",
        "mprotect: mm/mprotect.c do_mprotect_pkey(), tlb_finish_mmu() before mmap_write_unlock()",
        "mremap: mm/mremap.c move_ptes(), flush_tlb_range() before the page-table locks are left",
        "madvise: mm/madvise.c madvise_dontneed_free()",
        "process_madvise: mm/madvise.c vector_madvise(), madvise_finish_tlb() at its end",
        "brk: mm/mmap.c SYSCALL_DEFINE1(brk), do_vmi_align_munmap(); 6.1 do_brk_munmap()",
        "shmdt, shmat: ipc/shm.c ksys_shmdt(), do_shmat(); remap_file_pages: mm/mmap.c do_mmap()",
        "fork: kernel/fork.c dup_mmap(), flush_tlb_mm(oldmm)",
        "lazy CPUs: arch/x86/mm/tlb.c should_flush_tlb(), switch_mm_irqs_off()",
        "Intel SDM volume 3A, 4.10; Arm ARM (DDI 0487), D8.14",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._aftermath: Final = Aftermath(machine)
        self._judged: set[Stale] = set()
        self._graced: dict[int, list[tuple[Stale, Call, Promise]]] = {}
        self._witnessed: set[tuple[Superseded, int]] = set()

    def returned(self, call: Call, event: Event) -> None:
        """Judge what a successful call has left behind."""
        promised = promise(call, self.machine.arch)
        if promised is None:
            return
        left = self._left_behind(call, promised)
        taken = [what for what in call.took if promised.broken_by(what)]
        if left or any(what.reaches(call.cpu) for what in taken if not what.restored):
            self.exercised()
        self._judged.update(left)
        usable = [stale for stale in left if self.machine.can_use(stale.cpu, stale.tag)]
        self._may(usable, call, promised, event)
        for stale in left:
            if stale in usable:
                continue
            self._graced.setdefault(stale.cpu, []).append((stale, call, promised))
        others = dict.fromkeys(stale.what for stale in left if stale.what.call is not call)
        self._aftermath.returned(call, promised.operation, [*taken, *others])

    def user(self, event: Event) -> None:
        """A CPU's grace ends when it runs user code with the address space loaded."""
        graced = [g for g in self._graced.pop(event.cpu, ()) if g[0].alive]
        kept = [g for g in graced if not self.machine.tlb.loaded(event.cpu, g[0].tag)]
        if kept:
            self._graced[event.cpu] = kept
        late: dict[tuple[Call, Promise], list[Stale]] = {}
        for stale, call, promised in graced:
            if self.machine.tlb.loaded(event.cpu, stale.tag):
                late.setdefault((call, promised), []).append(stale)
        for (call, promised), stales in late.items():
            self._may(stales, call, promised, event)

    def ended(self, stales: Sequence[Stale], event: Event) -> None:
        """The entries are gone; nothing more to say about them."""
        if self._judged:
            self._judged.difference_update(stales)

    def restored(self, what: Superseded, stales: Sequence[Stale], event: Event) -> None:
        """The entry is good again."""
        self._judged.difference_update(stales)

    def installed(self, root: int, leaf: Leaf, event: Event) -> None:
        """A translation may be good again."""
        self._aftermath.installed(root, leaf)

    def linked(self, table: int, event: Event) -> None:
        """Translations may have come with the table."""
        self._aftermath.linked(event)

    def forgotten(self, root: int) -> None:
        """Nobody can run in the address space again."""
        self._aftermath.forgotten(root)
        self._judged = {stale for stale in self._judged if stale.what.root != root}

    def heeds_access(self, page: int) -> bool:
        """Whether something is gone from the page."""
        return self._aftermath.remembers(page)

    def observed(self, event: Event) -> None:
        """Look for an access through what is gone."""
        gone = self._aftermath.use(event)
        if gone is None or (gone.what, event.cpu) in self._witnessed:
            return
        self._witnessed.add((gone.what, event.cpu))
        what = gone.what
        self.found(
            "witness",
            what,
            operation=gone.operation,
            cpus=[event.cpu],
            seq=[what.seq, gone.call.end, event.seq],
            summary=(
                f"CPU {event.cpu} used the page at PA {event.b & -4096:#x} through VA "
                f"{event.a:#x}, which {_taken(what, gone.call, gone.operation)}"
            ),
            missing=self.machine.tlb.remedy(Stale(event.cpu, self._tag(what, event.cpu), what)),
            va=event.a & -4096,
            details={"access_pc": event.pc, "pa": event.b},
        )

    def _left_behind(self, call: Call, promised: Promise) -> list[Stale]:
        found = dict.fromkeys(
            stale
            for start, end in promised.ranges
            for stale in self.machine.records.overlapping(call.root, start, end)
            if self._promised(stale.what, call, promised) and stale not in self._judged
        )
        return list(found)

    @staticmethod
    def _promised(what: Superseded, call: Call, promised: Promise) -> bool:
        own = what.call is call
        before = what.seq < call.seq and not promised.own
        return (own or before) and promised.broken_by(what)

    def _may(self, stales: list[Stale], call: Call, promised: Promise, event: Event) -> None:
        if not stales:
            return
        first = min(stales, key=lambda stale: (stale.what.va, stale.cpu))
        cpus = sorted({stale.cpu for stale in stales})
        what = first.what
        kind = "pointer to a page table" if what.is_table else "translation"
        self.found(
            "may",
            what,
            operation=promised.operation,
            cpus=cpus,
            seq=[what.seq, call.end, *([event.seq] if event.seq != call.end else [])],
            summary=(
                f"{_returned(what, call, promised.operation)} has returned, and CPU "
                f"{', '.join(map(str, cpus))} may still use the {kind} of VA {what.va:#x} that "
                f"was {_VERBS[what.reason]}{_by_another(what, call)}"
            ),
            missing=self.machine.tlb.remedy(first),
            count=len(stales),
        )

    def _tag(self, what: Superseded, cpu: int) -> int:
        return next((tag for c, tag in self.machine.tlb.holders(what.root, 0) if c == cpu), 0)


def _returned(what: Superseded, call: Call, operation: str) -> str:
    return f"{operation} by {what.task}" if what.call is call else operation


def _by_another(what: Superseded, call: Call) -> str:
    if what.call is call:
        return ""
    return f" before it began, in {what.call.name if what.call else 'no call'} of {what.task}"


def _taken(what: Superseded, call: Call, operation: str) -> str:
    if what.call is call:
        return f"{operation} by {what.task} had taken away before it returned"
    return (
        f"{what.call.name if what.call else 'nobody'} of {what.task} had taken away before "
        f"{operation} began, which has returned"
    )


_VERBS: Final = {
    "unmapped": "removed",
    "replaced": "replaced",
    "permission": "narrowed",
    "table": "unlinked with its table",
}
