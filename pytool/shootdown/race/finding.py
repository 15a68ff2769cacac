"""A violation and all that is needed to see it again, in one file.

The file is a plan (``plan_file``; without holds for a run that was no race) with two tables more:
the experiment, and what is expected of it. It can be kept, sent, replayed and shrunk.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from shootdown.errors import UsageError
from shootdown.race import plan_file
from shootdown.race.points import Plan, nearest
from shootdown.report import result as results
from shootdown.report.result import Violation
from shootdown.run import directory, experiment
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment, toml_value

NAME: Final = "finding.toml"
_HEAD: Final = "# a violation; see it again: shootdown replay THIS_FILE\n"
_KEYS: Final = ("rule", "site", "kind", "fingerprint")


@dataclass(frozen=True)
class Expected:
    """What a violation is known by in another run."""

    rule: str
    site: str
    """System call that took the entry away, or ``background``."""
    kind: str
    """``may`` or ``witness``."""
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.rule} in {self.site}"

    def same(self, violation: Violation) -> bool:
        """Whether a violation is this one: rule and site; whether it was seen used may differ."""
        return (violation.rule, violation.site) == (self.rule, self.site)


@dataclass(frozen=True)
class Finding:
    """A saved trial and the violations that came of it, the one that is looked for first."""

    plan: Plan | None
    """None: a run without holds."""
    experiment: Experiment
    expected: tuple[Expected, ...]

    def looking_for(self, rule: str) -> Finding:
        """The same with the violation of ``rule`` first. Raises UsageError when there is none."""
        chosen = [one for one in self.expected if one.rule == rule]
        if not chosen:
            known = sorted({one.rule for one in self.expected})
            raise UsageError(f"the finding has no violation of {rule}{nearest(rule, known)}")
        others = [one for one in self.expected if one.rule != rule]
        return replace(self, expected=(*chosen, *others))

    def to_toml(self) -> str:
        """The file; of the experiment what differs from the defaults."""
        lines = [plan_file.to_toml(self.plan)] if self.plan else [f"schema = {plan_file.SCHEMA}\n"]
        default = asdict(Experiment(self.experiment.arch)) | {"arch": ""}
        lines += ["[experiment]"]
        lines += [
            f"{key} = {toml_value(value)}"
            for key, value in asdict(self.experiment).items()
            if value != default[key]
        ]
        for one in self.expected:
            lines += ["", "[[expect]]", *(f"{k} = {toml_value(v)}" for k, v in asdict(one).items())]
        return _HEAD + "\n".join(lines) + "\n"


def expected_of(violations: Iterable[Violation]) -> tuple[Expected, ...]:
    """What to look for: each fingerprint once, what was seen used and what was seen often first."""
    complete = [one for one in violations if one.complete]
    ordered = sorted(complete, key=lambda one: (one.kind != "witness", -one.count))
    found = (Expected(*(getattr(one, key) for key in _KEYS)) for one in ordered)
    return tuple(dict.fromkeys(found))


def save(finding: Finding, path: Path) -> None:
    """Write the file. Raises InfraError when the disk does not take it."""
    directory.write_text(path, finding.to_toml())


def load(path: Path) -> Finding:
    """Read a file, or what a run directory holds.

    Raises UsageError that says what is missing or wrong, InfraError when a result is damaged.
    """
    if path.is_dir():
        return _of_run(directory.existing(path))
    try:
        table = tomllib.loads(path.read_text())
        return _of_table(table, path.read_text())
    except OSError as error:
        raise UsageError(f"finding {path} cannot be read: {error.strerror}") from None
    except (UsageError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"finding {path}: {error}") from None


def _of_run(run: RunDir) -> Finding:
    plan = plan_file.load(run.race) if run.race.exists() else None
    known = results.load(run.result).violations if run.result.exists() else []
    expected = expected_of(known)
    if not expected:
        raise UsageError(f"{run.path} holds no violation, so there is nothing to see again")
    return Finding(plan, experiment.load(run.plan), expected)


def _of_table(table: dict[str, Any], text: str) -> Finding:
    what, expect = table.get("experiment"), table.get("expect")
    if not isinstance(what, dict) or not isinstance(expect, list) or not expect:
        raise UsageError("it is no finding: it needs [experiment] and [[expect]]")
    plan = plan_file.of_toml(text) if "hold" in table else None
    return Finding(plan, experiment.of_table(what), tuple(_expected(one) for one in expect))


def _expected(table: Any) -> Expected:
    known = {field.name for field in fields(Expected)}
    if not isinstance(table, dict) or set(table) != known:
        raise UsageError(f"an [[expect]] has exactly {', '.join(_KEYS)}, not {table!r}")
    if not all(isinstance(value, str) for value in table.values()):
        raise UsageError(f"an [[expect]] has strings, not {table!r}")
    return Expected(**table)
