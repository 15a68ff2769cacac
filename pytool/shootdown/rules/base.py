"""What a rule is, what it reports, and how findings are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from shootdown.model.entries import Superseded
from shootdown.model.listener import Listener
from shootdown.model.machine import Machine
from shootdown.model.stream import Event
from shootdown.rules.scene import Scene
from shootdown.rules.violation import Holder, Kind, Violation, fingerprint, shape
from shootdown.trace.schema import Kind as Schema
from shootdown.trace.types import Events

_KEPT: Final = 100
"""Findings of one fingerprint that are described; the others are counted only."""
_NO_NUMBERS: Final = np.zeros(0, np.uint64)


@dataclass
class Figures:
    """How often a rule's situation occurred, and how often it was broken."""

    exercised: int = 0
    may: int = 0
    witness: int = 0

    @property
    def violations(self) -> int:
        """Findings of both kinds."""
        return self.may + self.witness


@dataclass(frozen=True)
class RuleReport:
    """What became of one rule in one trace."""

    id: str
    armed: bool
    """Whether the trace holds what the rule needs, and the policy asks for it."""
    exercised: int
    violations: int
    may: int
    witness: int
    found: tuple[Violation, ...]
    """The findings, the first few of each fingerprint."""
    times: dict[str, int]
    """By fingerprint, how often it was found."""
    phases: dict[str, Figures]
    """The same figures for each phase of the guest; ``""`` outside of any."""
    note: str = ""


class Rule(Listener):
    """A rule: a listener with a text of its own, and the counting that all rules share."""

    id: ClassVar[str]
    title: ClassVar[str]
    text: ClassVar[str]
    """The rule in full, Markdown."""
    reference: ClassVar[tuple[str, ...]]
    """Kernel source and manuals it follows from."""
    archs: ClassVar[tuple[str, ...]]
    """Architectures it is about."""

    needs: ClassVar[tuple[Schema, ...]] = (Schema.PTE_WRITE, Schema.ROOT_LOAD, Schema.RET_USER)
    """Kinds of events it cannot judge without."""

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        """Judge on ``machine``; ``idle`` is why the rule is not armed, empty when it is."""
        self.machine: Final = machine
        self._idle: Final = idle
        self._phases: dict[str, Figures] = {}
        self._foreseen = _NO_NUMBERS
        self._found: list[Violation] = []
        self._times: Counter[str] = Counter()

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Why the rule cannot, or shall not, judge such a trace; empty when it does."""
        if scene.arch not in cls.archs:
            return f"about {', '.join(cls.archs)} only"
        return scene.lacks(kinds=cls.needs)

    @property
    def armed(self) -> bool:
        """Whether it judges."""
        return not self._idle

    def report(self) -> RuleReport:
        """The outcome, after the machine has run."""
        self._count_foreseen()
        figures = self._phases.values()
        return RuleReport(
            id=self.id,
            armed=self.armed,
            exercised=sum(f.exercised for f in figures),
            violations=sum(f.violations for f in figures),
            may=sum(f.may for f in figures),
            witness=sum(f.witness for f in figures),
            found=tuple(self._found),
            times=dict(self._times),
            phases=dict(self._phases),
            note=self._idle or self._note(),
        )

    def stands(self, events: Events) -> bool:
        """Whether ``begun`` would have changed nothing; for rules that judge without it, too.

        ``events`` are what it would have been told, now that the trace is over. Where this is
        true, ``coverage`` is as if it had been told.
        """
        return False

    def _note(self) -> str:
        """What a report says beside the figures of an armed rule."""
        return ""

    def coverage(self) -> dict[str, int]:
        """What the rule saw beyond its figures, by names for ``CheckReport.coverage``."""
        return {}

    def exercised(self) -> None:
        """The rule's situation has occurred once more."""
        self._figures().exercised += 1

    def exercised_at(self, seqs: npt.NDArray[np.uint64]) -> None:
        """So it has at all these numbers, as a look at the whole trace beforehand has found."""
        self._foreseen = np.concatenate([self._foreseen, seqs])

    def _count_foreseen(self) -> None:
        for phase, count in self.machine.phases.count(self._foreseen).items():
            self._figures(phase).exercised += count
        self._foreseen = _NO_NUMBERS

    def found(
        self,
        kind: Kind,
        what: Superseded,
        *,
        operation: str,
        cpus: Iterable[int],
        seq: Iterable[int],
        summary: str,
        missing: str,
        count: int = 1,
        va: int | None = None,
        holders: Iterable[Holder] | None = None,
        details: dict[str, object] | None = None,
        mark: str = "",
    ) -> None:
        """Report a violation about ``what``; ``va`` when it is about one page of it.

        ``holders`` are by default ``cpus`` as they are now. ``mark`` tells defects of one rule
        apart that look alike otherwise.
        """
        arch = self.machine.arch.name
        mark = fingerprint(self.id, kind, arch, f"{operation}{mark}", *shape(what))
        if not self._counted(kind, mark):
            return
        mine = sorted(set(cpus))
        violation = Violation(
            rule=self.id,
            kind=kind,
            arch=arch,
            mm=self.machine.mm(what.root),
            va=what.va if va is None else va,
            cpus=mine,
            site=what.call.name if what.call else "background",
            summary=summary,
            fingerprint=mark,
            seq=list(seq),
            pc=what.pc,
            operation=operation,
            task=what.task,
            cpu=what.cpu,
            level=what.level,
            before=what.old,
            after=what.new,
            missing=missing,
            stack=what.stack,
            holders=tuple(map(self.holder, mine) if holders is None else holders),
            workload=self.machine.phases.now,
            count=count,
            details=details or {},
        )
        self._found.append(violation)

    def found_at(
        self,
        event: Event,
        *,
        operation: str,
        mm: int,
        seq: Iterable[int],
        summary: str,
        missing: str,
        before: int = 0,
        after: int = 0,
        kind: Kind = "may",
        va: int | None = None,
        holders: Iterable[int] = (),
        details: dict[str, object] | None = None,
        mark: str = "",
    ) -> None:
        """Report what the CPU of ``event`` does, where it is not about one superseded entry.

        ``before`` and ``after`` are raw entries of the event's level, where it has one; ``va`` is
        by default that of the event's entry. ``holders`` are CPUs that it hurts. ``mark`` tells
        defects of one rule apart that look alike otherwise.
        """
        words = (operation, str(event.level), *([mark] if mark else []))
        mark = fingerprint(self.id, kind, self.machine.arch.name, *words)
        if not self._counted(kind, mark):
            return
        task = self.machine.tasks.cpu(event.cpu).task
        violation = Violation(
            rule=self.id,
            kind=kind,
            arch=self.machine.arch.name,
            mm=mm,
            va=va if va is not None else event.d if event.level else 0,
            cpus=[event.cpu],
            site=operation,
            summary=summary,
            fingerprint=mark,
            seq=sorted(seq),
            pc=event.pc,
            operation=operation,
            task=str(task),
            cpu=event.cpu,
            level=event.level,
            before=before,
            after=after,
            missing=missing,
            stack=self.machine.calls.of(event.cpu),
            holders=tuple(map(self.holder, sorted(holders))),
            workload=self.machine.phases.now,
            details=details or {},
        )
        self._found.append(violation)

    def holder(self, cpu: int) -> Holder:
        """The CPU as it is now."""
        task = self.machine.tasks.cpu(cpu).task
        return Holder(cpu, str(task), self.machine.calls.of(cpu))

    def _counted(self, kind: Kind, mark: str) -> bool:
        """Count a finding; whether it is still to be described."""
        figures = self._figures()
        if kind == "may":
            figures.may += 1
        else:
            figures.witness += 1
        self._times[mark] += 1
        return self._times[mark] <= _KEPT

    def _figures(self, phase: str | None = None) -> Figures:
        name = self.machine.phases.now if phase is None else phase
        found = self._phases.get(name)
        if found is None:
            found = self._phases[name] = Figures()
        return found
