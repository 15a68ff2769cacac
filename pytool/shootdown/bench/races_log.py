"""Trials of planted races, a line of JSON each, that outlive an interrupted campaign."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from shootdown.errors import InfraError
from shootdown.run.directory import disk_errors


class Cell(NamedTuple):
    """A place of the table."""

    bug: str
    arch: str
    method: str


@dataclass(frozen=True)
class Row:
    """One trial."""

    bug: str
    arch: str
    method: str
    """Column of the table: ``plain``, ``scripted``, or a policy."""
    seed: int
    hit: bool
    exit_code: int
    rules: tuple[str, ...] = ()
    """All that were violated."""
    holds: dict[str, int] = field(default_factory=dict)
    """Planned, fired and timed out."""
    kernel: str = ""
    """Release."""

    @property
    def cell(self) -> Cell:
        """Where it counts."""
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
                value = json.loads(line)
                self.rows.append(Row(**{**value, "rules": tuple(value["rules"])}))
            except (ValueError, TypeError, KeyError) as error:
                raise InfraError(
                    f"{path}:{number} is no trial ({error}); remove that line"
                ) from error
        if whole != text:
            with disk_errors(path):
                path.write_text(whole)

    def add(self, row: Row) -> None:
        """Append one. Raises InfraError when the disk does not take it."""
        with disk_errors(self._path), self._path.open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        self.rows.append(row)

    def seeds(self, cell: Cell) -> set[int]:
        """Seeds of the cell's trials."""
        return {row.seed for row in self.rows if row.cell == cell}
