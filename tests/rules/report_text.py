"""The whole report of every trace of the corpus as text, next to the trace: ``NAME.report``.

The header of a trace says what the checker must find. The report beside it holds every word and
figure that it says, so that none of them changes unseen. After a change that is meant,
``python -m tests.rules.report_text`` writes them anew; the difference is what to review.
"""

from collections.abc import Iterator
from dataclasses import asdict, fields

from shootdown.model.windows import Windows
from shootdown.rules.base import RuleReport
from shootdown.rules.check import CheckReport
from shootdown.rules.violation import Violation
from tests.rules.corpus import CORPUS, Case, cases

HEXADECIMAL = ("mm", "va", "pc", "before", "after")


def render(report: CheckReport) -> str:
    """The report as text, a line for each fact."""
    lines = [line for rule in report.rules.values() if rule.armed for line in _rule(rule)]
    lines += [line for windows in report.windows for line in _windows(windows)]
    for name, threads in report.observers.items():
        lines += [f"{name}: {thread} saw {_pairs(saw)}" for thread, saw in threads.items()]
    lines += [f"{name}: {count}" for name, count in report.coverage.items() if count]
    lines += [f"tasks: {', '.join(report.tasks)}"]
    lines += [line for violation in report.violations for line in _violation(violation)]
    return "\n".join(lines) + "\n"


def _rule(rule: RuleReport) -> Iterator[str]:
    for phase, figures in rule.phases.items():
        where = f" in {phase}" if phase else ""
        yield f"{rule.id}{where}: {_pairs(asdict(figures))}"
    if rule.note:
        yield f"{rule.id}: {rule.note}"


def _windows(windows: Windows) -> Iterator[str]:
    values = {key: value for key, value in asdict(windows).items() if value}
    yield f"windows of {values.pop('operation')}: {_pairs(values)}"


def _violation(violation: Violation) -> Iterator[str]:
    yield ""
    for field in fields(violation):
        value = getattr(violation, field.name)
        if value or value == 0:
            text = f"{value:#x}" if field.name in HEXADECIMAL else str(value)
            yield f"{field.name}: {text}"


def _pairs(values: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def write() -> None:
    """Write the report of every trace anew."""
    written = {case.path.with_suffix(".report"): render(case.run()) for case in cases()}
    for old in CORPUS.glob("*/*.report"):
        old.unlink()
    for path, text in written.items():
        path.write_text(text)


def kept(case: Case) -> str:
    """The report that lies beside a trace."""
    path = case.path.with_suffix(".report")
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    write()
