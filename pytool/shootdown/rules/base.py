"""What a rule is, what it reports, and how findings are counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeAlias

from shootdown.model.entries import Superseded
from shootdown.model.listener import Listener
from shootdown.model.machine import Machine

Kind: TypeAlias = Literal["may", "witness"]
"""A CPU may still hold what it must not, or it was seen using it."""

Policy: TypeAlias = Literal["wilcox", "glisse"]
"""When a stale translation is an offence: once the system call has returned, or from the first
moment another translation is live."""

_KEPT: Final = 100
"""Findings of one fingerprint that are described; the others are counted only."""


@dataclass(frozen=True)
class Violation:
    """One finding. ``mm`` is the VA of the mm_struct (or the root's PA when that is not known)."""

    rule: str
    kind: Kind
    arch: str
    mm: int
    va: int
    cpus: list[int]
    """CPUs that may hold, or used, the stale entry."""
    site: str
    """The system call that took the entry away, or ``background``."""
    summary: str
    fingerprint: str
    """Equal for the same defect in another run: made of no address, number or seed."""
    seq: list[int]
    """Numbers of the events it rests on, in order."""
    pc: int
    """VA of the store that superseded the entry."""
    operation: str
    """The operation whose deadline was missed."""
    task: str
    level: int
    before: int
    """The superseded entry, raw."""
    after: int
    """What replaced it, raw."""
    missing: str
    """The flush that should have been there."""
    workload: str = ""
    """Phase of the guest (Mark.BEGIN) in which it was found."""
    count: int = 1
    """Stale copies (of pages, on CPUs) that this finding stands for."""
    details: dict[str, object] = field(default_factory=dict)


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

    def __init__(self, machine: Machine, *, armed: bool = True) -> None:
        self.machine: Final = machine
        self._armed = armed
        self._phases: dict[str, Figures] = {}
        self._found: list[Violation] = []
        self._described: Counter[str] = Counter()

    def report(self) -> RuleReport:
        """The outcome, after the machine has run."""
        figures = self._phases.values()
        return RuleReport(
            id=self.id,
            armed=self._armed,
            exercised=sum(f.exercised for f in figures),
            violations=sum(f.violations for f in figures),
            may=sum(f.may for f in figures),
            witness=sum(f.witness for f in figures),
            found=tuple(self._found),
            phases=dict(self._phases),
        )

    def exercised(self) -> None:
        """The rule's situation has occurred once more."""
        self._figures().exercised += 1

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
        details: dict[str, object] | None = None,
    ) -> None:
        """Report a violation about ``what``; ``va`` when it is about one page of it."""
        figures = self._figures()
        if kind == "may":
            figures.may += 1
        else:
            figures.witness += 1
        mark = fingerprint(self.id, kind, self.machine.arch.name, operation, what)
        self._described[mark] += 1
        if self._described[mark] > _KEPT:
            return
        violation = Violation(
            rule=self.id,
            kind=kind,
            arch=self.machine.arch.name,
            mm=self.machine.mm(what.root),
            va=what.va if va is None else va,
            cpus=sorted(set(cpus)),
            site=what.call.name if what.call else "background",
            summary=summary,
            fingerprint=mark,
            seq=list(seq),
            pc=what.pc,
            operation=operation,
            task=what.task,
            level=what.level,
            before=what.old,
            after=what.new,
            missing=missing,
            workload=self.machine.phase,
            count=count,
            details=details or {},
        )
        self._found.append(violation)

    def _figures(self) -> Figures:
        return self._phases.setdefault(self.machine.phase, Figures())


def fingerprint(rule: str, kind: Kind, arch: str, operation: str, what: Superseded) -> str:
    """Twelve hex digits that are the same for the same defect in another run or build."""
    site = what.call.name if what.call else "background"
    shape = f"level {what.level}{' table' if what.is_table else ''}"
    words = "|".join((rule, kind, arch, operation, site, what.reason, shape))
    return hashlib.sha256(words.encode()).hexdigest()[:12]
