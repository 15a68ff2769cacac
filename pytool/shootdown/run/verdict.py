"""From evidence to one exit code.

Precedence: infrastructure (3), then a violation whose evidence was complete before any loss or
crash (1), a crash (5), a timeout (6), and everything that leaves the evidence in doubt (7). Only
what is left is a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shootdown.errors import ExitCode

NOTHING_CHECKED: Final = "no armed rule was exercised: nothing was checked"
ALL_SKIPPED: Final = "every workload was skipped: nothing was run"


@dataclass(frozen=True)
class Evidence:
    """What a run left behind, as far as the verdict depends on it."""

    infra: str = ""
    """What of ours failed, in one sentence."""
    violations: int = 0
    """Violations of armed rules whose evidence lies before any loss of events."""
    tainted: int = 0
    """Violations of armed rules whose evidence spans a loss."""
    crash: str = ""
    timeout: str = ""
    doubts: Sequence[str] = ()
    """Everything else that forbids a pass, a sentence each."""
    exercised: int = 0
    """Situations of armed rules that occurred."""


@dataclass(frozen=True)
class Verdict:
    """An exit code and its reasons, the decisive one first."""

    code: ExitCode
    reasons: tuple[str, ...]


def decide(evidence: Evidence) -> Verdict:
    """Weigh the evidence; every reason is kept, whichever decides."""
    found: list[tuple[ExitCode, str]] = []
    if evidence.infra:
        found.append((ExitCode.INFRA, evidence.infra))
    if evidence.violations:
        found.append((ExitCode.VIOLATION, _count(evidence.violations, "violation")))
    if evidence.crash:
        found.append((ExitCode.CRASH, evidence.crash))
    if evidence.timeout:
        found.append((ExitCode.TIMEOUT, evidence.timeout))
    if evidence.tainted:
        text = _count(evidence.tainted, "violation") + " with evidence that spans a loss of events"
        found.append((ExitCode.INCONCLUSIVE, text))
    found += [(ExitCode.INCONCLUSIVE, doubt) for doubt in evidence.doubts]
    if not evidence.exercised and not evidence.violations:
        found.append((ExitCode.INCONCLUSIVE, NOTHING_CHECKED))
    if not found:
        return Verdict(ExitCode.PASS, (f"{evidence.exercised} situations checked, no violation",))
    return Verdict(found[0][0], tuple(reason for _, reason in found))


def inapplicable(code: int, reasons: Sequence[str]) -> bool:
    """Whether a run only lacks its subject: it ran in order and had nothing to judge."""
    return code == ExitCode.INCONCLUSIVE and set(reasons) <= {NOTHING_CHECKED, ALL_SKIPPED}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")
