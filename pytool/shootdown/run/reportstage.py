"""From result.json to the files that people and CI systems read."""

from __future__ import annotations

from shootdown.report import ktap, text
from shootdown.report.result import Result
from shootdown.run import directory
from shootdown.run.directory import RunDir


def write(run: RunDir, result: Result) -> None:
    """Write report.txt and ktap.txt. Raises InfraError when the disk does not take them."""
    directory.write_text(run.report, text.render(result))
    directory.write_text(run.ktap, ktap.document([ktap.from_result(result)]))
