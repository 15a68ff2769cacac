"""Trials of planted races, a line of JSON each, that outlive an interrupted campaign.

A line is a list, in the order of ``Row``'s fields: there are thousands of them, in the repository.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

from shootdown.errors import InfraError
from shootdown.run.directory import disk_errors


class Cell(NamedTuple):
    """A place of the table."""

    bug: str
    arch: str
    method: str
    """``plain``, ``scripted``, or a policy."""


@dataclass(frozen=True)
class Row:
    """One trial."""

    bug: str
    arch: str
    method: str
    seed: int
    hit: bool
    exit_code: int
    fired: int
    """Holds that fired; of them ``timed_out`` ended by their bound."""
    timed_out: int
    seconds: float
    """From restoring the guest to the verdict, with all that a trial needs."""
    kernel: str
    """Release."""
    contents: str
    """Digest of what was run; see ``races_trial.contents``."""

    @property
    def cell(self) -> Cell:
        """Where it counts, if its contents are still those of the cell."""
        return Cell(self.bug, self.arch, self.method)


class Log:
    """The file; what is added is on the disk before the next trial starts."""

    def __init__(self, path: Path) -> None:
        """Read what is there. Raises InfraError when a line, but for a last one cut off, is none.

        A line that was cut off by an interruption is dropped from the file.
        """
        self._path = path
        self.rows: list[Row] = []
        text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self.rows.append(_row(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise InfraError(
                    f"{path}:{number} is no trial ({error}); remove that line"
                ) from error
        if whole != text:
            with disk_errors(path):
                path.write_text(whole)

    def add(self, row: Row) -> None:
        """Append one. Raises InfraError when the disk does not take it."""
        value = [int(v) if isinstance(v, bool) else v for v in astuple(row)]
        with disk_errors(self._path), self._path.open("a") as file:
            file.write(json.dumps(value, separators=(",", ":")) + "\n")
        self.rows.append(row)

    def seeds(self, cell: Cell, contents: str) -> set[int]:
        """Seeds of the cell's trials that had these contents."""
        return {row.seed for row in self.rows if row.cell == cell and row.contents == contents}


def _row(value: Sequence[object]) -> Row:
    bug, arch, method, seed, hit, *others = value
    return Row(bug, arch, method, seed, bool(hit), *others)  # type: ignore[arg-type]
