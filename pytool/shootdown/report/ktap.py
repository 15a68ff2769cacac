"""KTAP, as Documentation/dev-tools/ktap.rst has it: nested subtests, stable names.

Names hold no addresses and no seeds, so that two runs can be compared line by line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shootdown.errors import ExitCode
from shootdown.report.result import Result, Rule, Workload

Outcome = Literal["pass", "fail", "skip", "error"]


@dataclass(frozen=True)
class Case:
    """One result line, with the results it is made of."""

    name: str
    outcome: Outcome
    reason: str = ""
    milliseconds: int | None = None
    subtests: Sequence[Case] = ()
    diagnostics: Sequence[str] = field(default=())


def document(tests: Sequence[Case]) -> str:
    """A whole KTAP document, its totals counted over the innermost tests."""
    counts = Counter(leaf.outcome for test in tests for leaf in _leaves(test))
    lines = ["KTAP version 1", f"1..{len(tests)}"]
    for number, test in enumerate(tests, 1):
        lines += _lines(test, number)
    lines.append(
        f"# Totals: pass:{counts['pass']} fail:{counts['fail']} xfail:0 xpass:0 "
        f"skip:{counts['skip']} error:{counts['error']}"
    )
    return "\n".join(lines) + "\n"


def from_result(result: Result) -> Case:
    """The test of one architecture: its workloads with their rules, then what makes them true."""
    tests = [_workload(workload) for workload in result.workloads]
    tests += [_rule(name, rule) for name, rule in result.rules.items()]
    tests += [_guest(result), _trace(result), _audit(result)]
    return Case(
        result.arch,
        _overall(result),
        result.reasons[0] if result.reasons and result.exit_code == ExitCode.SKIPPED else "",
        _milliseconds(result.timing["boot_s"] + result.timing["record_s"]),
        tests,
        [f"{result.verdict}: {reason}" for reason in result.reasons],
    )


def failed_to_run(name: str, message: str) -> Case:
    """The test of a run that left no result."""
    return Case(name, "error", message)


def not_run(name: str, why: str) -> Case:
    """The test of a run that does not apply."""
    return Case(name, "skip", why)


def _overall(result: Result) -> Outcome:
    if result.exit_code == ExitCode.PASS:
        return "pass"
    if result.exit_code == ExitCode.SKIPPED:
        return "skip"
    if result.exit_code in (ExitCode.USAGE, ExitCode.INFRA):
        return "error"
    return "fail"


def _workload(workload: Workload) -> Case:
    rules = [_rule(name, rule) for name, rule in workload.rules.items()]
    ended: Outcome = "pass"
    if workload.status == "skip":
        ended = "skip"
    elif workload.status != "pass":
        ended = "fail"
    completed = Case("completed", ended, workload.message)
    tests = [completed, *rules]
    worst: Outcome = ended
    if any(test.outcome == "fail" for test in tests):
        worst = "fail"
    return Case(workload.name, worst, workload.message, _milliseconds(workload.seconds), tests)


def _rule(name: str, rule: Rule) -> Case:
    if rule.violations and rule.armed:
        return Case(name, "fail", f"{rule.witness} witness, {rule.may} may")
    if not rule.armed:
        return Case(name, "skip", rule.note or "not armed")
    if not rule.exercised:
        return Case(name, "skip", "not exercised")
    return Case(name, "pass")


def _guest(result: Result) -> Case:
    good = result.guest.ended == "done"
    tail = [] if good else result.guest.tail.splitlines()[-10:]
    return Case("guest", "pass" if good else "fail", result.guest.message, diagnostics=tail)


def _trace(result: Result) -> Case:
    if result.lost:
        return Case("trace", "fail", f"{result.lost} events lost")
    if not sum(result.events.values()):
        return Case("trace", "fail", "empty")
    return Case("trace", "pass")


def _audit(result: Result) -> Case:
    audit = result.audit
    if not audit.done:
        return Case("audit", "fail", "not done")
    if audit.mismatches or audit.unknown_tables:
        return Case(
            "audit",
            "fail",
            f"{audit.mismatches} mismatches, {audit.unknown_tables} unknown tables",
            diagnostics=audit.samples,
        )
    return Case("audit", "pass")


def _lines(test: Case, number: int) -> Iterator[str]:
    if test.subtests:
        yield "  KTAP version 1"
        yield f"  # Subtest: {_safe(test.name)}"
        yield f"  1..{len(test.subtests)}"
        for inner, subtest in enumerate(test.subtests, 1):
            for line in _lines(subtest, inner):
                yield "  " + line
    for text in test.diagnostics:
        yield f"# {_safe(text)}"
    yield _result_line(test, number)


def _result_line(test: Case, number: int) -> str:
    word = "ok" if test.outcome in ("pass", "skip") else "not ok"
    directive = {"skip": "SKIP", "error": "ERROR"}.get(test.outcome, "")
    time = "" if test.milliseconds is None else f"time={test.milliseconds}ms"
    remark = " ".join(part for part in (directive, _safe(test.reason), time) if part)
    return f"{word} {number} {_safe(test.name)}" + (f" # {remark}" if remark else "")


def _safe(text: str) -> str:
    # Guests write some of these words; a line break or a hash would make them KTAP.
    return "".join(c if c.isprintable() and c != "#" else " " for c in text)


def _leaves(test: Case) -> Iterator[Case]:
    if not test.subtests:
        yield test
    for subtest in test.subtests:
        yield from _leaves(subtest)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
