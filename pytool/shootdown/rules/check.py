"""Checks a trace: runs the model once, with every rule and measurement listening."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shootdown.errors import UsageError
from shootdown.model.entries import Call
from shootdown.model.known import Known
from shootdown.model.listener import Listener
from shootdown.model.lock_tally import Tally
from shootdown.model.locks import Move
from shootdown.model.machine import Machine
from shootdown.model.observers import Observers
from shootdown.model.stream import Event, Trace
from shootdown.model.syscalls import operation, promise
from shootdown.model.windows import WindowMeter, Windows
from shootdown.rules.aliased_translation import AliasedTranslation
from shootdown.rules.base import Rule, RuleReport, Violation
from shootdown.rules.break_before_make import BreakBeforeMake
from shootdown.rules.dead_vma_install import DeadVmaInstall
from shootdown.rules.feed import FAST, Feed, How
from shootdown.rules.free_before_flush import FreeBeforeFlush
from shootdown.rules.lazy_reactivation import LazyReactivation
from shootdown.rules.lock_evidence import with_locks
from shootdown.rules.pinned_wrprotect import PinnedWrprotect
from shootdown.rules.pte_write_unlocked import PteWriteUnlocked
from shootdown.rules.scene import Policy
from shootdown.rules.spurious_fault import SpuriousFault
from shootdown.rules.stale_after_return import StaleAfterReturn
from shootdown.rules.table_free_before_flush import TableFreeBeforeFlush
from shootdown.rules.table_freed_under_walker import TableFreedUnderWalker
from shootdown.rules.vma_write_unlocked import VmaWriteUnlocked
from shootdown.trace.schema import FlushOp

RULES: Final[tuple[type[Rule], ...]] = (
    StaleAfterReturn,
    AliasedTranslation,
    FreeBeforeFlush,
    TableFreeBeforeFlush,
    TableFreedUnderWalker,
    BreakBeforeMake,
    LazyReactivation,
    PteWriteUnlocked,
    VmaWriteUnlocked,
    DeadVmaInstall,
    SpuriousFault,
    PinnedWrprotect,
)
POLICIES: Final[tuple[Policy, ...]] = ("wilcox", "glisse")


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
    tasks: tuple[str, ...]
    """Names of tasks that ran."""

    @property
    def conclusive(self) -> bool:
        """Whether nothing in the events themselves takes the evidence away."""
        return not any(self.coverage.get(name) for name in _DOUBTS)


_DOUBTS: Final = (
    "lock:broken chain",
    "ptl:broken",
    "lock:strange",
    "audit mismatch",
    "flush:not modelled",
)


def check(
    trace: Trace,
    policy: str = "wilcox",
    arch: str | None = None,
    how: How = FAST,
    kernel: Known | None = None,
) -> CheckReport:
    """Check a trace by the rules; ``arch`` when the trace does not know its own.

    ``kernel``: what captured words mean, where the recording says.

    Raises UsageError for an unknown policy or architecture.
    """
    chosen = _policy(policy)
    machine = Machine(arch or trace.arch)
    machine.kernel = kernel or machine.kernel
    feed = Feed(trace, how)
    known, scene = feed.survey(machine.arch.name, chosen)
    rules = [rule(machine, idle=rule.idle(scene)) for rule in RULES]
    meter, observers, calls = WindowMeter(machine), Observers(machine), _Calls(machine)
    for listener in (*rules, meter, observers, calls):
        machine.listen(listener)
    history = feed.run(machine, known)
    meter.finish()
    reports = with_locks({rule.id: rule.report() for rule in rules}, feed)
    return CheckReport(
        arch=machine.arch.name,
        policy=chosen,
        rules=reports,
        violations=tuple(_in_order(reports.values())),
        windows=tuple(meter.windows[name] for name in sorted(meter.windows, key=_loud_first)),
        observers={
            name: {thread: dict(saw) for thread, saw in threads.items()}
            for name, threads in observers.seen.items()
        },
        locks=history,
        coverage=_coverage(machine, calls, history, known.mismatches) | _of_rules(rules),
        tasks=tuple(sorted(machine.tasks.named())),
    )


class _Calls(Listener):
    """Counts operations that succeeded, and how often they replaced something."""

    def __init__(self, machine: Machine) -> None:
        self._machine: Final = machine
        self.counts: Final[Counter[str]] = Counter()

    def returned(self, call: Call, event: Event) -> None:
        if operation(call):
            outcome = "call" if promise(call, self._machine.arch) else "failed call"
            self.counts[f"{outcome}:{operation(call)}"] += 1


def _policy(name: str) -> Policy:
    for policy in POLICIES:
        if policy == name:
            return policy
    raise UsageError(f"unknown policy '{name}': use one of {', '.join(POLICIES)}")


def _in_order(reports: Iterable[RuleReport]) -> list[Violation]:
    found = [violation for report in reports if report.armed for violation in report.found]
    return sorted(found, key=lambda violation: violation.seq[-1])


def _loud_first(name: str) -> tuple[bool, str]:
    return name != "mmap(MAP_FIXED)", name


def _coverage(machine: Machine, calls: _Calls, history: Tally, mismatches: int) -> dict[str, int]:
    names = {int(op): op.name.lower() for op in FlushOp}
    found: Counter[str] = Counter(calls.counts)
    for op, count in machine.flushes.items():
        found[f"flush:{names.get(op, op)}"] += count
        if op not in machine.tlb.modelled:
            found["flush:not modelled"] += count
    for move, count in history.moves.items():
        found[f"lock:{move.value}"] += count
    found["lock:strange"] = found.pop(f"lock:{Move.STRANGE.value}", 0)
    found["lock:broken chain"] = history.breaks
    found["audit mismatch"] = mismatches
    found["system calls"] = machine.tasks.calls
    found["returns to user"] = machine.tasks.returns
    return dict(sorted(found.items()))


def _of_rules(rules: Iterable[Rule]) -> dict[str, int]:
    return {name: count for rule in rules for name, count in rule.coverage().items()}
