"""Every rule and every measurement, on one machine; and what they say in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from shootdown.model.entries import Call, Superseded
from shootdown.model.listener import Listener
from shootdown.model.lock_tally import Tally
from shootdown.model.locks import Move
from shootdown.model.machine import Machine
from shootdown.model.observers import Observers
from shootdown.model.overview import Overview
from shootdown.model.stream import Event
from shootdown.model.syscalls import operation, succeeded
from shootdown.model.windows import WindowMeter, Windows
from shootdown.rules import deadline_rows as rows
from shootdown.rules.aliased_translation import AliasedTranslation
from shootdown.rules.base import Rule, RuleReport
from shootdown.rules.break_before_make import BreakBeforeMake
from shootdown.rules.dead_vma_install import DeadVmaInstall
from shootdown.rules.deadline_functions import row_of
from shootdown.rules.flush_deadline import FlushDeadline
from shootdown.rules.free_before_flush import FreeBeforeFlush
from shootdown.rules.lazy_reactivation import LazyReactivation
from shootdown.rules.pinned_wrprotect import PinnedWrprotect
from shootdown.rules.pte_write_unlocked import PteWriteUnlocked
from shootdown.rules.scene import Policy
from shootdown.rules.spurious_fault import SpuriousFault
from shootdown.rules.stale_after_return import StaleAfterReturn
from shootdown.rules.table_free_before_flush import TableFreeBeforeFlush
from shootdown.rules.table_freed_under_walker import TableFreedUnderWalker
from shootdown.rules.violation import Violation
from shootdown.rules.vma_write_unlocked import VmaWriteUnlocked

RULES: Final[tuple[type[Rule], ...]] = (
    StaleAfterReturn,
    AliasedTranslation,
    FreeBeforeFlush,
    TableFreeBeforeFlush,
    TableFreedUnderWalker,
    FlushDeadline,
    BreakBeforeMake,
    LazyReactivation,
    PteWriteUnlocked,
    VmaWriteUnlocked,
    DeadVmaInstall,
    SpuriousFault,
    PinnedWrprotect,
)


@dataclass(frozen=True)
class CheckReport:
    """Everything a check has to say about a trace."""

    arch: str
    policy: Policy
    rules: dict[str, RuleReport]
    """By rule id."""
    violations: tuple[Violation, ...]
    """Described findings of all armed rules, in the order of their last event."""
    windows: tuple[Windows, ...]
    """Stale windows by operation, MAP_FIXED first."""
    observers: dict[str, dict[str, dict[str, int]]]
    """What threads saw while an operation ran: operation, thread, then old, stale, new, fault."""
    locks: Tally
    """What became of the mmap_locks."""
    coverage: dict[str, int]
    """How often each thing occurred: ``flush:*``, ``call:*``, ``lock:*`` and others."""
    writers: dict[int, int]
    """Stores to user tables by the VA of the instruction, as it was linked."""
    tasks: tuple[str, ...]
    """Names of tasks that ran."""

    @property
    def conclusive(self) -> bool:
        """Whether nothing in the events themselves takes the evidence away."""
        return not any(self.coverage.get(name) for name in _DOUBTS)


_SANCTIONED: Final = (rows.RECLAIM, rows.MIGRATE, rows.TRUNCATE)
_DOUBTS: Final = (
    "lock:broken chain",
    "ptl:broken",
    "lock:strange",
    "audit mismatch",
    "flush:not modelled",
)


class Panel:
    """Listens to a machine. ``idle`` says why a rule is not armed; empty when it is."""

    def __init__(self, machine: Machine, policy: Policy, idle: Callable[[type[Rule]], str]) -> None:
        self.machine: Final = machine
        self.rules: Final = [rule(machine, idle=idle(rule)) for rule in RULES]
        self.observers: Final = Observers(machine)
        self._policy: Final = policy
        self._meter: Final = WindowMeter(machine, _sanctioned_work)
        self._calls: Final = _Calls(machine)
        for listener in (*self.rules, self._meter, self.observers, self._calls):
            machine.listen(listener)

    def report(self, locks: Tally, known: Overview) -> CheckReport:
        """What they say of a trace that is over; ``known`` is all of it, seen at once."""
        self._meter.finish()
        windows, machine = self._meter.windows, self.machine
        reports = {rule.id: rule.report() for rule in self.rules}
        return CheckReport(
            arch=machine.arch.name,
            policy=self._policy,
            rules=reports,
            violations=in_order(reports.values()),
            windows=tuple(windows[name] for name in sorted(windows, key=_loud_first)),
            observers={
                name: {thread: dict(saw) for thread, saw in threads.items()}
                for name, threads in self.observers.seen.items()
            },
            locks=locks,
            coverage=_coverage(machine, self._calls, locks, known) | of_rules(self.rules),
            writers=dict(sorted(known.writers.items())),
            tasks=tuple(sorted(machine.tasks.named())),
        )


class _Calls(Listener):
    """Counts operations that succeeded, and how often they replaced something."""

    def __init__(self, machine: Machine) -> None:
        self._machine: Final = machine
        self.counts: Final[Counter[str]] = Counter()

    def returned(self, call: Call, event: Event) -> None:
        if operation(call):
            outcome = "failed call" if call.told else "interrupted call"
            outcome = "call" if succeeded(call, self._machine.arch) else outcome
            self.counts[f"{outcome}:{operation(call)}"] += 1


def _sanctioned_work(what: Superseded) -> str:
    """What the kernel does that may leave windows open for a while (E8, E9)."""
    row = row_of(what.stack, what.level)
    return row.title if row in _SANCTIONED else ""


def in_order(reports: Iterable[RuleReport]) -> tuple[Violation, ...]:
    """The findings of the armed ones, by their last event."""
    found = [violation for report in reports if report.armed for violation in report.found]
    return tuple(sorted(found, key=lambda violation: violation.seq[-1]))


def of_rules(rules: Iterable[Rule]) -> dict[str, int]:
    """What rules saw beyond their figures."""
    return {name: count for rule in rules for name, count in rule.coverage().items()}


def _loud_first(name: str) -> tuple[bool, str]:
    return name != "mmap(MAP_FIXED)", name


def _coverage(machine: Machine, calls: _Calls, history: Tally, known: Overview) -> dict[str, int]:
    found: Counter[str] = Counter(calls.counts)
    for kind, count in known.flushes.items():
        if count:
            found[f"flush:{kind}"] += count
    for op, count in machine.flushes.items():
        if op not in machine.tlb.modelled:
            found["flush:not modelled"] += count
    for move, count in history.moves.items():
        found[f"lock:{move.value}"] += count
    found["lock:strange"] = found.pop(f"lock:{Move.STRANGE.value}", 0)
    found["lock:broken chain"] = history.breaks
    found["audit mismatch"] = known.mismatches
    found["system calls"] = machine.tasks.calls
    found["returns to user"] = machine.tasks.returns
    return dict(sorted(found.items()))
