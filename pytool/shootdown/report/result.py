"""result.json: the verdict of a run and every figure the reports are made from.

The field names are a contract. Additions are allowed within one ``SCHEMA``; a rename or a removal
is a new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from shootdown.errors import ExitCode, InfraError
from shootdown.report import schema

SCHEMA: Final = 1

Kind = Literal["may", "witness"]
VERDICTS: Final[Mapping[ExitCode, str]] = {
    ExitCode.PASS: "pass",
    ExitCode.VIOLATION: "fail",
    ExitCode.USAGE: "error",
    ExitCode.INFRA: "error",
    ExitCode.CRASH: "crash",
    ExitCode.TIMEOUT: "timeout",
    ExitCode.INCONCLUSIVE: "inconclusive",
}


@dataclass(frozen=True)
class Kernel:
    """Which kernel ran."""

    release: str = ""
    build_id: str = ""
    source: str = ""
    """As named on the command line."""


@dataclass(frozen=True)
class Workload:
    """How one workload ended."""

    name: str
    status: str
    """``pass``, ``fail``, ``skip``, ``crash``, ``timeout`` or ``missing`` (never ran)."""
    seconds: float
    message: str = ""
    stats: dict[str, str] = field(default_factory=dict)
    """What the workload counted itself."""
    rules: dict[str, Rule] = field(default_factory=dict)
    """The rules' figures between the workload's begin and end."""


@dataclass(frozen=True)
class Rule:
    """What became of one rule."""

    armed: bool
    """Whether a violation of it decides the verdict."""
    exercised: int
    """How often its situation occurred; zero means that nothing was checked."""
    violations: int
    may: int
    witness: int
    note: str = ""


@dataclass(frozen=True)
class Violation:
    """One finding; ``before`` and ``after`` are raw page-table entries."""

    rule: str
    kind: Kind
    arch: str
    mm: int
    va: int
    cpus: list[int]
    site: str
    """The system call that took the entry away, or ``background``; the same in every build."""
    summary: str
    fingerprint: str
    """Equal for the same defect in another run."""
    seq: list[int]
    """Numbers of the events it rests on, in order."""
    pc: str = ""
    """Where exactly: function+offset."""
    operation: str = ""
    """The system call the deadline belongs to."""
    task: str = ""
    """Who made the store."""
    cpu: int = -1
    """Where the store was made; -1 in results that do not say so."""
    stack: list[str] = field(default_factory=list)
    """Kernel functions that the store was inside of, the outermost first, where recorded."""
    holders: list[dict[str, Any]] = field(default_factory=list)
    """CPUs that may hold the entry, or used it, at the moment of the finding (the deadline that was
    missed, or the access): ``cpu``, ``task`` and ``stack``, which is like that of the store."""
    came: list[dict[str, Any]] = field(default_factory=list)
    """Invalidations that came between the store and the moment of the finding, where there are
    holders: ``rules.violation.Invalidation``, its VAs ``start`` and ``end`` in hexadecimal."""
    came_others: int = 0
    """How many more there were."""
    workload: str = ""
    level: int = 0
    before: int = 0
    after: int = 0
    before_text: str = ""
    after_text: str = ""
    missing: str = ""
    """The flush that should have been there."""
    complete: bool = True
    """Whether all evidence lies before any loss of events."""
    count: int = 1
    """How often it was seen; the first one is described."""
    locks: list[dict[str, Any]] = field(default_factory=list)
    """Who held which lock at the store, as far as recorded: ``lock``, ``how`` (``read``,
    ``write``, ``held``), ``of`` (VA of the mm_struct or vm_area_struct, PA of the table), ``task``,
    ``cpu`` and ``since`` (number of the event that took it, 0 when that was not seen)."""
    details: dict[str, Any] = field(default_factory=dict)
    """What its rule says besides, by name: addresses, page-table entries and other words in
    hexadecimal. ``access_pc`` and ``pa`` of an access or page, ``row`` and ``deadline`` that was
    missed, ``new`` entry, ``table``, ``word`` with what it was ``before`` and ``after``, ``vma``
    with its ``start``, ``end`` (exclusive) and ``flags``, ``pins`` (each ``by``, ``task``, ``seq``,
    ``refs`` and ``class``)."""


@dataclass(frozen=True)
class Windows:
    """Aliased-translation windows of one operation, in guest instructions of all vCPUs."""

    operation: str
    replacements: int
    """Live translations that were replaced or removed."""
    count: int
    """Windows: another CPU could hold the old translation after the change."""
    p50: int
    p99: int
    max: int
    closed: int
    """Closed before the system call returned."""
    outlived: int
    """Open when the system call returned."""
    reused: int
    """The old frame was mapped elsewhere while still visible."""
    observers: dict[str, dict[str, int]] = field(default_factory=dict)
    """What each observing thread saw: ``old``, ``new``, ``fault`` and other counts."""
    deferred: int = 0
    """Open when the system call returned, but nobody could use the old translation any more."""
    aliased: int = 0
    """In which another page became live at the address."""
    unfinished: int = 0
    """Open when the trace ended; not among the lengths."""


@dataclass(frozen=True)
class Audit:
    """The rebuilt tables compared with guest memory."""

    tables_checked: int = 0
    entries_checked: int = 0
    mismatches: int = 0
    nonzero: int = 0
    unknown_tables: int = 0
    done: bool = False
    """Whether the comparison took place at all."""
    samples: list[str] = field(default_factory=list)
    """The first differences, in words."""


@dataclass(frozen=True)
class Guest:
    """How the guest ended."""

    ended: str = "done"
    message: str = ""
    tail: str = ""
    """Last console lines, where the guest is at fault."""


@dataclass(frozen=True)
class Result:
    """Everything result.json holds."""

    exit_code: int
    arch: str
    kernel: Kernel = field(default_factory=Kernel)
    qemu: str = ""
    seed: int = 0
    plan: str = "plan.toml"
    reasons: list[str] = field(default_factory=list)
    """Why the verdict is what it is, the decisive one first."""
    workloads: list[Workload] = field(default_factory=list)
    rules: dict[str, Rule] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    audit: Audit = field(default_factory=Audit)
    holds: dict[str, int] = field(
        default_factory=lambda: {"planned": 0, "fired": 0, "timed_out": 0}
    )
    held: list[dict[str, Any]] = field(default_factory=list)
    """What became of each hold, in order: ``race.director.Held``."""
    inject: str = ""
    """Which policy, or file, chose the delays."""
    delays: list[dict[str, Any]] = field(default_factory=list)
    """What became of each delay, in order: ``run.injected``."""
    digest: str = ""
    """Of a deterministic run: ``trace.digest``, the same for the same seed."""
    timing: dict[str, float] = field(
        default_factory=lambda: {"boot_s": 0.0, "record_s": 0.0, "check_s": 0.0}
    )
    windows: list[Windows] = field(default_factory=list)
    coverage: dict[str, int] = field(default_factory=dict)
    """How often each thing that could have happened did: ``flush:KIND``, ``pte write:FUNCTION``
    (stores to user tables), ``lock:MOVE``, ``call:OPERATION`` and others."""
    policy: str = "wilcox"
    mutate: str = ""
    reproduce: str = ""
    """The one line which repeats the run."""
    guest: Guest = field(default_factory=Guest)
    stopped: dict[str, int] = field(default_factory=dict)
    """Where a violation stopped the guest: ``seq`` of the event that showed it, and how many
    ``events`` and ``instructions`` of all vCPUs came after it; empty when none did."""
    tool: str = ""
    schema: int = SCHEMA

    @property
    def verdict(self) -> str:
        """The exit code as a word."""
        return VERDICTS[ExitCode(self.exit_code)]

    def to_json(self) -> dict[str, Any]:
        """The object that result.json holds."""
        value = asdict(self)
        for violation in value["violations"]:  # 64-bit numbers are no JSON numbers to everybody
            for key in ("mm", "va", "before", "after"):
                violation[key] = f"{violation[key]:#x}"
        first = {key: value.pop(key) for key in ("schema", "tool")}
        return {**first, "verdict": self.verdict, **value}


def from_json(value: Mapping[str, Any]) -> Result:
    """The Result in ``value``; raises InfraError that names the first thing wrong with it."""
    problems = schema.problems(value)
    if problems:
        raise InfraError(f"result.json is damaged: {problems[0]}; check the run again")
    known = {key: value[key] for key in value if key in Result.__dataclass_fields__}
    known["kernel"] = Kernel(**value["kernel"])
    known["audit"] = Audit(**value["audit"])
    known["guest"] = Guest(**value.get("guest", {}))
    known["rules"] = _rules(value["rules"])
    known["workloads"] = [
        Workload(**{**w, "rules": _rules(w.get("rules", {}))}) for w in value["workloads"]
    ]
    known["windows"] = [Windows(**w) for w in value.get("windows", [])]
    known["violations"] = [_violation(v) for v in value["violations"]]
    return Result(**known)


def load(path: Path) -> Result:
    """Read result.json; raises InfraError when there is none or it is damaged."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise InfraError(f"{path} does not exist; run `shootdown check {path.parent}`") from None
    except (OSError, ValueError) as e:
        raise InfraError(f"{path} cannot be read ({e}); check the run again") from e
    try:
        return from_json(value)
    except TypeError as e:  # a field that no dataclass has
        raise InfraError(f"{path} is damaged ({e}); check the run again") from e


def _rules(value: Mapping[str, Any]) -> dict[str, Rule]:
    return {name: Rule(**rule) for name, rule in value.items()}


def _violation(value: Mapping[str, Any]) -> Violation:
    numbers = {key: int(value[key], 16) for key in ("mm", "va", "before", "after") if key in value}
    return Violation(**{**value, **numbers})
