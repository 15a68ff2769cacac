"""Checks a trace while it is recorded, and says the same as ``check.check`` afterwards.

The model is fed with stretches of events as they become known (``trace.follow``); no more of them
is kept. What else a check knows beforehand is not known yet, so

* rules are armed as if the trace had all that any could need. Those that it turns out to lack
  something for have found nothing, and are reported as not armed;
* what the locks did is counted when the trace is complete: that takes hardly any time;
* rules that look at the whole trace beforehand (``Listener.begun``) are judged when it is complete,
  but those that can tell then whether it would have made a difference (``Rule.stands``);
* pages count as watched from their declaration or first access on. What an earlier system call
  took away from one of them was not remembered then (``_Gaps``);
* a vCPU that is silent for long is not waited for. Its next record is assumed not to say that
  something had come to pass before: a lazy CPU (``Machine.can_use``), an entry that came back
  (``Aftermath.use``).

Wherever one of these may have made a difference the complete trace is checked once more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Final

import numpy as np

from shootdown.model.entries import Call
from shootdown.model.known import Known
from shootdown.model.listener import Listener
from shootdown.model.machine import Machine
from shootdown.model.overview import Overview
from shootdown.model.pagetables import PAGE_SHIFT
from shootdown.model.stream import NONE, Trace, Window
from shootdown.model.syscalls import area, operation
from shootdown.rules.base import Rule, RuleReport
from shootdown.rules.check import check, policy_of
from shootdown.rules.evidence import with_evidence
from shootdown.rules.feed import Feed
from shootdown.rules.panel import RULES, CheckReport, Panel
from shootdown.rules.scene import Policy, Scene, survey
from shootdown.rules.violation import Violation
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Probe, Watch

AHEAD: Final = "what came to pass beforehand matters"
LATE: Final = "judged when the trace is complete"
_REMEMBERED: Final = 1 << 20
"""Pages taken away that are told from others."""
_PATIENT: Final = 64
"""Stretches after which recording must have begun."""


class LiveCheck:
    """One check; ``doubt`` is why the complete trace is to be checked again, empty if it is not."""

    def __init__(self, arch: str, policy: str, kernel: Known | None = None) -> None:
        """``kernel`` as for ``check.check``. Raises UsageError for an unknown name."""
        self._machine: Final = Machine(arch)
        self._machine.kernel = kernel or self._machine.kernel
        self._arch: Final = self._machine.arch.name
        self._policy: Final = policy_of(policy)
        everything = _everything(self._arch, self._policy)
        self._panel: Final = Panel(
            self._machine,
            self._policy,
            lambda rule: LATE if looks_ahead(rule) else rule.idle(everything),
        )
        self._gaps: Final = _Gaps(self._machine)
        self._machine.listen(self._gaps)
        self._known: Final = Overview()
        self._scene = survey(NONE, self._arch, self._policy)
        self._begun_with: int | None = None
        self._waiting: list[Window] = []
        self._unforeseen: set[int] = set()
        self._told: dict[str, int] = {}
        self.doubt = ""

    def feed(self, window: Window) -> None:
        """Take in the next events."""
        for part in window.parts.values():
            self._known.add(part)
            self._scene = reduce(or_, [self._scene, survey(part, self._arch, self._policy)])
        self._look_back(window)
        self._waiting.append(window)
        if self._begun_with is None:
            if Kind.ARMED not in self._scene.kinds and len(self._waiting) < _PATIENT:
                return
            self._begin()
        self._watch_pages()
        for one in self._waiting:
            self._machine.feed(one)
        self._waiting.clear()

    def news(self) -> list[Violation]:
        """Described violations that were found since this was asked last, in order.

        Those of rules only that are armed by what the trace holds so far.
        """
        reports = [
            judged.report()
            for rule, judged in zip(RULES, self._panel.rules, strict=True)
            if judged.armed and not rule.idle(self._scene)
        ]
        fresh = [
            violation for report in reports for violation in report.found[self._seen(report) :]
        ]
        self._told |= {report.id: len(report.found) for report in reports}
        return sorted(fresh, key=lambda violation: violation.seq[-1])

    def finish(self, trace: Trace) -> CheckReport:
        """The report, once everything was fed; ``trace`` is the same, complete."""
        if self._begun_with is None:
            self._doubt("recording never began")
        armed = [rule for rule in RULES if not rule.idle(self._scene)]
        if late := [rule.id for rule in armed if looks_ahead(rule)]:
            self._doubt(f"{', '.join(late)}: {LATE}")
        if self._begun_with != self._known.stack_log2:
            self._doubt("the size of stacks was not known from the beginning")
        if not self.doubt:
            report = self._report(trace)
            if report is not None:
                return report
        return check(trace, self._policy, self._arch, kernel=self._machine.kernel)

    def _begin(self) -> None:
        log2 = self._known.stack_log2
        self._begun_with = log2
        self._machine.begin(sorted(self._known.pages), log2, thin=True)

    def _look_back(self, window: Window) -> None:
        """Whether the records of silent vCPUs, now that they are there, are as was assumed."""
        for cpu in self._unforeseen:
            part = window.parts.get(cpu, NONE)
            if len(part) and _looks_back(part[0]):
                self._doubt(f"CPU {cpu} was silent for long, and then told of what was before")
        self._unforeseen = {cpu for cpu, ahead in window.ahead.items() if not len(ahead)}

    def _watch_pages(self) -> None:
        pages = self._known.pages
        if len(pages) > len(self._machine.pages):
            if self._gaps.matter(pages.difference(self._machine.pages)):
                self._doubt("a page was watched after a system call had changed it")
            self._machine.pages = sorted(pages)

    def _doubt(self, why: str) -> None:
        self.doubt = self.doubt or why

    def _seen(self, report: RuleReport) -> int:
        return self._told.get(report.id, 0)

    def _report(self, trace: Trace) -> CheckReport | None:
        """None when it would have mattered to know the trace beforehand."""
        feed, idle = Feed(trace), {rule.id: rule.idle(self._scene) for rule in RULES}
        mine = [rule for rule in self._panel.rules if rule.armed]
        for rule in (rule for rule in mine if not idle[rule.id] and _may_stand(type(rule))):
            if not rule.stands(feed.of_kinds(sorted(rule.history))):
                self._doubt(f"{rule.id}: {AHEAD}")
        report = self._panel.report(feed.locks(self._known), self._known)
        rules, coverage = dict(report.rules), dict(report.coverage)
        for name, why in idle.items():
            rules[name] = replace(rules[name], armed=not why, note=why or rules[name].note)
        for rule in mine:
            if why := idle[rule.id]:
                if rules[rule.id].exercised or rules[rule.id].violations:
                    self._doubt(f"{rule.id} is not armed: {why}")
                coverage = {key: n for key, n in coverage.items() if key not in rule.coverage()}
                coverage |= type(rule)(self._machine, idle=why).coverage()
        return (
            None
            if self.doubt
            else with_evidence(replace(report, rules=rules, coverage=coverage), feed)
        )


class _Gaps(Listener):
    """Knows which pages were changed while nobody watched them."""

    def __init__(self, machine: Machine) -> None:
        self._machine: Final = machine
        self._gone: dict[int, set[int]] = {}
        """By address space, pages that calls took something away from."""
        self._count = 0
        self._open: dict[int, tuple[int, int]] = {}
        """By task, the range that its system call is changing: VAs, the end exclusive."""

    def matter(self, pages: Collection[int]) -> bool:
        """Whether one of these is among them, now that it is watched."""
        if self._count > _REMEMBERED:
            return True
        return any(not gone.isdisjoint(pages) for gone in self._gone.values()) or any(
            start <= page << PAGE_SHIFT < end
            for start, end in self._open.values()
            for page in pages
        )

    def entered(self, call: Call, event: object) -> None:
        """A call may be one that others are watched during."""
        if operation(call):
            self._open[call.task] = area(call)

    def returned(self, call: Call, event: object) -> None:
        """Note what is not remembered elsewhere (``Aftermath.returned``)."""
        self._open.pop(call.task, None)
        for what in call.took:
            if what.is_table or self._count > _REMEMBERED:
                continue
            gone = self._gone.setdefault(what.root, set())
            self._count -= len(gone)
            gone.update(range(what.va >> PAGE_SHIFT, what.end >> PAGE_SHIFT))
            self._count += len(gone)

    def forgotten(self, root: int) -> None:
        """The address space is gone."""
        if self._count <= _REMEMBERED:
            self._count -= len(self._gone.pop(root, ()))


def looks_ahead(rule: type[Rule]) -> bool:
    """Whether the rule has to see the trace beforehand."""
    return rule.begun is not Listener.begun and not _may_stand(rule)


def _may_stand(rule: type[Rule]) -> bool:
    return rule.stands is not Rule.stands


def _everything(arch: str, policy: Policy) -> Scene:
    """The scene of a trace that has all that there can be."""
    kinds, watches = frozenset(map(int, Kind)), frozenset(map(int, Watch))
    functions, probes = frozenset(map(int, Function)), frozenset(map(int, Probe))
    return Scene(arch, policy, kinds, watches, functions, probes)


def _looks_back(record: np.void) -> bool:
    """Whether a record may tell of what had come to pass before others were numbered."""
    lazy = record["kind"] == Kind.WATCH and record["id"] == Watch.IS_LAZY and bool(record["c"])
    return bool(lazy or record["kind"] == Kind.PTE_WRITE)
