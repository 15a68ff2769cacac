"""What takes one sanctioned exception out of the checker, for each of them.

E1 to E15 are in ``shootdown.rules.exceptions``.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from shootdown.arch.base import Arch
from shootdown.model import stream, syscalls
from shootdown.model.entries import Call, Stale, Superseded
from shootdown.model.machine import Machine
from shootdown.model.space import Leaf
from shootdown.model.stream import Event
from shootdown.model.syscalls import Promise, promise
from shootdown.model.tasks import Cpu, Task
from shootdown.model.tlb import EVERYWHERE, Records
from shootdown.model.tlb_arm64 import Arm64Tlb
from shootdown.model.tlb_x86 import X86Tlb
from shootdown.rules import deadline_rows
from shootdown.rules.aliased_translation import AliasedTranslation
from shootdown.rules.break_before_make import BreakBeforeMake
from shootdown.rules.deadline_rows import Row
from shootdown.rules.flush_deadline import FlushDeadline
from shootdown.rules.free_before_flush import FreeBeforeFlush
from shootdown.rules.frees import FreedFrames
from shootdown.rules.stale_after_return import StaleAfterReturn
from shootdown.rules.table_free_before_flush import TableFreeBeforeFlush

Patch = pytest.MonkeyPatch


def upgrades_are_sanctioned_no_more(patch: Patch) -> None:
    """E1: every change of rights supersedes what was there."""
    covers = Machine.covers

    def same_rights(machine: Machine, old: int, new: int, level: int) -> bool:
        permits = machine.arch.mmu.permits
        return covers(machine, old, new, level) and permits(old, level) == permits(new, level)

    patch.setattr(Machine, "covers", same_rights)


def every_bit_counts(patch: Patch) -> None:
    """E2: accessed, dirty and software bits, too."""
    covers = Machine.covers

    def same_bits(machine: Machine, old: int, new: int, level: int) -> bool:
        permits = machine.arch.mmu.permits
        upgraded = permits(old, level) != permits(new, level)
        return covers(machine, old, new, level) and (upgraded or old == new)

    patch.setattr(Machine, "covers", same_bits)


def lazy_cpus_count(patch: Patch) -> None:
    """E3."""

    def can_use(machine: Machine, cpu: int, tag: int) -> bool:
        return not machine.tasks.cpu(cpu).switching and machine.tlb.loaded(cpu, tag)

    patch.setattr(Machine, "can_use", can_use)


def switching_cpus_count(patch: Patch) -> None:
    """E4."""
    patch.setattr(Cpu, "switching", False)


def whoever_had_it_counts(patch: Patch) -> None:
    """E5: a CPU that has another address space loaded, or has flushed it before it came back."""

    def of_root(tlb: X86Tlb, root: int, valid_since: int) -> list[tuple[int, int]]:
        return [(cpu, root) for cpu in tlb._root]

    def of_asid(tlb: Arm64Tlb, root: int, valid_since: int) -> list[tuple[int, int]]:
        cpus = tlb._cpus.items()
        return [(number, asid) for number, cpu in cpus for asid in cpu.used.get(root, ())]

    patch.setattr(X86Tlb, "holders", of_root)
    patch.setattr(Arm64Tlb, "holders", of_asid)
    patch.setattr(Arm64Tlb, "_emptied", lambda *_: None)
    for tlb in (X86Tlb, Arm64Tlb):
        patch.setattr(tlb, "loaded", lambda tlb, cpu, tag: True)


def a_flush_serves_who_asked(patch: Patch) -> None:
    """E6: it ends what one call took away, or what the functions did that it was called by."""
    take, flush = Records.take, Machine._flush

    def of_one_call(
        records: Records, keys: Iterable[tuple[int, int]], *where: int, **which: Any
    ) -> list[Stale]:
        taken = take(records, keys, *where, **which)
        others = [stale for stale in taken if stale.what.call is not taken[0].what.call]
        for stale in others:
            stale.alive = True
            records.add(stale)
        return [stale for stale in taken if stale not in others]

    def of_functions(machine: Machine, event: Event) -> None:
        if machine.calls.of(0):
            flush(machine, event)

    patch.setattr(Records, "take", of_one_call)
    patch.setattr(Machine, "_flush", of_functions)


def teardown_is_like_any_other(patch: Patch) -> None:
    """E7: a dead address space must have been flushed."""
    _due_as_well(patch, deadline_rows.EXIT, lambda rule, task: ("exit", task))
    patch.setattr(FreeBeforeFlush, "usable", TableFreeBeforeFlush.usable)
    patch.setattr(Records, "forget", lambda records, root: [])
    patch.setattr(Arm64Tlb, "forget", lambda tlb, root: None)
    for rule in (StaleAfterReturn, FreedFrames, FlushDeadline):
        patch.setattr(rule, "forgotten", lambda rule, root: None)


def reclaim_is_like_any_other(patch: Patch) -> None:
    """E8: a refault waits for the flush, and every call answers for what reclaim took."""
    _due_as_well(patch, deadline_rows.RECLAIM, _next_entry)
    _gaps_are_reported(patch)
    _aliases_are_reported(patch)

    def all_of_it(call: Call, arch: Arch) -> Promise | None:
        found = promise(call, arch)
        return found and Promise(found.operation, ((0, EVERYWHERE),), lambda what: True)

    patch.setattr("shootdown.rules.stale_after_return.promise", all_of_it)


def refaults_wait_for_zaps(patch: Patch) -> None:
    """E9: another page may be there only after the flush."""
    _due_as_well(patch, deadline_rows.ZAP, _next_entry)
    _gaps_are_reported(patch)
    _aliases_are_reported(patch)


def calls_promise_from_the_store_on(patch: Patch) -> None:
    """E10, E11: fork and mremap are judged before they have returned."""

    def superseded(rule: StaleAfterReturn, what: Superseded, stales: Sequence[Stale]) -> None:
        if what.call is not None:
            rule.returned(what.call, _store(rule.machine, what))

    patch.setattr(StaleAfterReturn, "superseded", superseded)


def an_empty_slot_counts(patch: Patch) -> None:
    """E12: where nothing was, something is replaced."""
    in_place = BreakBeforeMake._in_place

    def from_something(rule: BreakBeforeMake, root: int, leaf: Leaf, event: Event) -> None:
        in_place(rule, root, leaf, replace(event, b=event.b or event.c ^ 1 << 12))

    patch.setattr(BreakBeforeMake, "_in_place", from_something)


def kernel_addresses_count(patch: Patch) -> None:
    """E13."""
    patch.setattr(stream, "_VA", ())
    patch.setattr(syscalls, "_USER_VA", EVERYWHERE - 1)
    patch.setattr(Arm64Tlb, "holders", lambda tlb, root, since: [(0, 1)])


def hugetlb_frees_at_the_unmapping(patch: Patch) -> None:
    """E14: a huge page counts as freed when its entry goes."""
    superseded = FreedFrames.superseded

    def and_freed(rule: FreedFrames, what: Superseded, stales: Sequence[Stale]) -> None:
        superseded(rule, what, stales)
        if what.level > 1:
            rule.freed(replace(_store(rule.machine, what), a=what.target, b=1))

    patch.setattr(FreedFrames, "superseded", and_freed)


def nothing_comes_back(patch: Patch) -> None:
    """E15."""
    stored = FlushDeadline.stored

    def without_looking(rule: FlushDeadline, root: int, event: Event) -> None:
        with patch.context() as inner:
            inner.setattr(Machine, "covers", lambda *_: False)
            stored(rule, root, event)

    def as_others(rule: BreakBeforeMake, old: int, level: int, leaf: Leaf) -> str:
        return clash(rule, old, level, leaf) or "anything"

    clash = BreakBeforeMake._clash
    patch.setattr(BreakBeforeMake, "_clash", as_others)
    patch.setattr(Machine, "_bring_back", lambda *_: None)
    patch.setattr(FlushDeadline, "stored", without_looking)


def _due_as_well(patch: Patch, row: Row, key: Callable[[FlushDeadline, Task], Hashable]) -> None:
    """What comes under a row is due at one more moment."""
    keys = FlushDeadline._keys

    def more(rule: FlushDeadline, of: Row, what: Superseded, *others: Any) -> Iterator[Hashable]:
        yield from keys(rule, of, what, *others)
        if of is row:
            yield key(rule, rule.machine.tasks.cpu(what.cpu).task)

    patch.setattr(FlushDeadline, "_keys", more)


def _next_entry(rule: FlushDeadline, task: Task) -> Hashable:
    return "next", rule._store.a if rule._store else 0


def _gaps_are_reported(patch: Patch) -> None:
    judge = BreakBeforeMake._judge

    def by_itself(rule: BreakBeforeMake, stale: Stale, leaf: Leaf, event: Event, why: str) -> None:
        judge(rule, stale, leaf, replace(event, cpu=stale.what.cpu), why)

    patch.setattr(BreakBeforeMake, "_judge", by_itself)


def _aliases_are_reported(patch: Patch) -> None:
    patch.setattr(AliasedTranslation, "idle", classmethod(lambda rule, scene: ""))


def _store(machine: Machine, what: Superseded) -> Event:
    event = machine.sequel.next_of(what.cpu, what.seq - 1)
    assert event
    return event


DELETIONS: dict[str, Callable[[Patch], None]] = {
    "E1": upgrades_are_sanctioned_no_more,
    "E2": every_bit_counts,
    "E3": lazy_cpus_count,
    "E4": switching_cpus_count,
    "E5": whoever_had_it_counts,
    "E6": a_flush_serves_who_asked,
    "E7": teardown_is_like_any_other,
    "E8": reclaim_is_like_any_other,
    "E9": refaults_wait_for_zaps,
    "E10": calls_promise_from_the_store_on,
    "E11": calls_promise_from_the_store_on,
    "E12": an_empty_slot_counts,
    "E13": kernel_addresses_count,
    "E14": hugetlb_frees_at_the_unmapping,
    "E15": nothing_comes_back,
}
