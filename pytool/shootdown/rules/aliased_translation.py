"""aliased-translation: Glisse's rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple, TypeAlias

from shootdown.model.entries import Stale, Superseded
from shootdown.model.machine import Machine
from shootdown.model.pagetables import PAGE_SHIFT, PAGE_SIZE, span_of
from shootdown.model.space import Leaf
from shootdown.model.stream import Event
from shootdown.model.syscalls import operation
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.rules.violation import Holder

Class: TypeAlias = Literal["pfn", "permission", "size"]
"""G0, G1 and G2: in what two translations of one address differ, the gravest first."""

TOLERATED: Final = "the policy tolerates it: measured, not judged"


class _Use(NamedTuple):
    """An access, by number, and who made it."""

    seq: int
    by: Holder


@dataclass(slots=True, eq=False)
class _Alias:
    """A stale copy on one CPU, and another page that is live at the same address."""

    stale: Stale
    leaf: Leaf
    seq: int
    old_use: _Use | None = None
    """The first access by the CPU that went to the old page."""
    new_use: _Use | None = None
    """The first access by another CPU that went to the new page."""


class AliasedTranslation(Rule):
    """No two CPUs may translate one address to different pages at the same time."""

    id: ClassVar = "aliased-translation"
    title: ClassVar = "One address never has two live translations"
    archs: ClassVar = ("x86_64", "arm64")
    deaf: ClassVar = ("installed", "ended", "restored", "forgotten", "observed")
    text: ClassVar = """\
While a CPU that could run user code may still hold the old translation of an address, no other
page may become live at that address for another such CPU.

Only `--policy glisse` makes it an offence. By default (`--policy wilcox`) aliases are tolerated
until the system call returns (`stale-after-return`), and their length is measured and printed.
Old beside *none* is no alias.

What the two translations differ in is the class of the alias. Only *pfn*, another page, is judged:
there two threads see different data. *size*, the same page through an entry of another level (huge
pages split and collapsed), and *permission*, the same page with other rights (mprotect, fork), are
counted in the report's coverage as `alias:size` and `alias:permission`.

* **MAY**: a store made the new translation valid before the old one was invalidated everywhere.
* **WITNESS**: in that time one CPU used the old page and another the new one.

Expected on correct kernels: reclaim of clean pages followed by a refault (E8), and
`madvise(MADV_DONTNEED)`, `MADV_FREE` or truncation under shared locks with a concurrent fault (E9).
Never for `mmap(MAP_FIXED)`: faults wait for the lock that the call holds. Kernel addresses are no
matter of this rule (E13)."""
    reference: ClassVar = (
        "mm/rmap.c try_to_unmap_one(), set_tlb_ubc_flush_pending()",
        "mm/memory.c zap_pte_range()",
        "mm/memory.c wp_page_copy(): the old entry is cleared and flushed before the new one is "
        "set",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._aliases: dict[tuple[int, int], list[_Alias]] = {}
        self._classes: Counter[Class] = Counter()

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """By Wilcox's policy nothing of it is an offence."""
        tolerated = "" if scene.policy == "glisse" else TOLERATED
        return super().idle(scene) or tolerated

    def superseded(self, what: Superseded, stales: Sequence[Stale]) -> None:
        """The situation: another CPU may hold what was taken away."""
        if not what.is_table and what.reaches(what.cpu):
            self.exercised()

    def installed(self, root: int, leaf: Leaf, event: Event) -> None:
        """Look for stale copies of other translations at the leaf's address."""
        for stale in self.machine.records.overlapping(root, leaf.va, leaf.va + span_of(leaf.level)):
            others = [] if stale.what.is_table else self._others(stale, event)
            kind = self._class(stale.what, leaf) if others else ""
            if kind:
                self._classes[kind] += 1
            if kind == "pfn":
                self._alias(stale, leaf, others, event)

    def coverage(self) -> dict[str, int]:
        """Aliases of each class, of leaves as on CPUs."""
        return {f"alias:{kind}": count for kind, count in self._classes.items()}

    def ended(self, stales: Sequence[Stale], event: Event) -> None:
        """Aliases are over."""
        for stale in stales:
            self._over(stale.what, [stale])

    def restored(self, what: Superseded, stales: Sequence[Stale], event: Event) -> None:
        """The old translation is the good one again."""
        self._over(what, stales)

    def forgotten(self, root: int) -> None:
        """The address space is gone."""
        self._aliases = {key: value for key, value in self._aliases.items() if key[0] != root}

    def heeds_access(self, page: int) -> bool:
        """Whether there is an alias."""
        return bool(self._aliases)

    def observed(self, event: Event) -> None:
        """Note which of two live pages an access went to."""
        root, pa = self.machine.tlb.root(event.cpu), event.b & -PAGE_SIZE
        for alias in self._aliases.get((root, event.a >> PAGE_SHIFT), ()):
            already = alias.old_use and alias.new_use
            if event.cpu == alias.stale.cpu and pa == alias.stale.what.page(event.a):
                if event.prev > alias.seq:  # else the access may be older than the new entry
                    alias.old_use = alias.old_use or self._use(event)
            elif event.cpu != alias.stale.cpu and pa == self._new_page(alias.leaf, event.a):
                alias.new_use = alias.new_use or self._use(event)
            if alias.old_use and alias.new_use and not already:
                self._witness(alias, (alias.old_use, alias.new_use))

    def _others(self, stale: Stale, event: Event) -> list[int]:
        """CPUs that could use a new translation while the stale copy's CPU uses the old one."""
        machine = self.machine
        if not machine.can_use(stale.cpu, stale.tag):
            return []
        holders = machine.tlb.holders(stale.what.root, event.seq)
        return [cpu for cpu, tag in holders if cpu != stale.cpu and machine.can_use(cpu, tag)]

    def _alias(self, stale: Stale, leaf: Leaf, others: list[int], event: Event) -> None:
        what = stale.what
        va = max(what.va, leaf.va)
        alias = _Alias(stale, leaf, event.seq)
        self._aliases.setdefault((what.root, va >> PAGE_SHIFT), []).append(alias)
        self.found(
            "may",
            what,
            operation=self._operation(what),
            cpus=[stale.cpu, *others],
            seq=[what.seq, event.seq],
            summary=(
                f"VA {va:#x} was given PA {self._new_page(leaf, va):#x} while CPU {stale.cpu} may "
                f"still translate it to PA {what.page(va):#x}"
            ),
            missing=self.machine.tlb.remedy(stale),
            va=va,
        )

    def _use(self, event: Event) -> _Use:
        return _Use(event.seq, self.holder(event.cpu))

    def _witness(self, alias: _Alias, uses: tuple[_Use, _Use]) -> None:
        what = alias.stale.what
        va = max(what.va, alias.leaf.va)
        self.found(
            "witness",
            what,
            operation=self._operation(what),
            cpus=[use.by.cpu for use in uses],
            seq=[what.seq, alias.seq, *sorted(use.seq for use in uses)],
            summary=(
                f"CPU {alias.stale.cpu} used PA {what.page(va):#x} at VA {va:#x} while another CPU "
                f"used PA {self._new_page(alias.leaf, va):#x}"
            ),
            missing=self.machine.tlb.remedy(alias.stale),
            va=va,
            holders=[use.by for use in uses],
        )

    def _over(self, what: Superseded, stales: Sequence[Stale]) -> None:
        if not self._aliases:
            return
        first, end = what.va >> PAGE_SHIFT, what.end >> PAGE_SHIFT
        for root, number in [key for key in self._aliases if key[0] == what.root]:
            if first <= number < end:
                kept = [a for a in self._aliases.pop((root, number)) if a.stale not in stales]
                if kept:
                    self._aliases[root, number] = kept

    def _class(self, what: Superseded, leaf: Leaf) -> Class | Literal[""]:
        """What the old translation and the leaf differ in; empty when in nothing."""
        va = max(what.va, leaf.va)
        if what.page(va) != self._new_page(leaf, va):
            return "pfn"
        if what.level != leaf.level:
            return "size"
        permits = self.machine.mmu.permits
        return (
            "permission" if permits(what.old, what.level) != permits(leaf.entry, leaf.level) else ""
        )

    def _new_page(self, leaf: Leaf, va: int) -> int:
        return (self.machine.mmu.target(leaf.entry, leaf.level) + va - leaf.va) & -PAGE_SIZE

    @staticmethod
    def _operation(what: Superseded) -> str:
        return operation(what.call) or "background"
