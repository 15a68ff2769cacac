"""Campaigns of trials: a file that outlives an interruption, and the trials that it lacks.

A trial is a line of JSON, a list in the order of its row's fields: there are thousands of them, in
the repository. It carries a digest of what was run, so that trials of a script or policy that was
changed are told from those of today's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from shootdown.errors import ExitCode, InfraError, ShootdownError
from shootdown.run.directory import disk_errors, write_text

JOBS: Final = 2
"""Of a trial's time a good part is one thread's work: start, restore, check."""
_PATIENCE: Final = 3
"""Failures of the host or of the kernel's image after which a cell is left alone."""


class Row(Protocol):
    """One trial."""

    @property
    def cell(self) -> Hashable:
        """The place of the table where it counts."""

    @property
    def seed(self) -> int:
        """Which trial of the cell."""

    @property
    def contents(self) -> str:
        """Digest of what was run."""

    @property
    def told(self) -> str:
        """A line for the terminal."""

    def to_list(self) -> list[Any]:
        """What is kept."""


R = TypeVar("R", bound=Row)
C = TypeVar("C", bound=Hashable)


class Log(Generic[R]):
    """The file; what is added is on the disk before the next trial starts."""

    def __init__(self, path: Path, row: Callable[[list[Any]], R]) -> None:
        """Read what is there. Raises InfraError when a line, but for a last one cut off, is none.

        A line that was cut off by an interruption is dropped from the file. ``row`` makes a row of
        ``to_list``'s.
        """
        self._path = path
        self.rows: list[R] = []
        text = path.read_text() if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self.rows.append(row(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise InfraError(
                    f"{path}:{number} is no trial ({error}); remove that line"
                ) from error
        if whole != text:
            with disk_errors(path):
                path.write_text(whole)

    def add(self, row: R) -> None:
        """Append one. Raises InfraError when the disk does not take it."""
        with disk_errors(self._path), self._path.open("a") as file:
            file.write(json.dumps(row.to_list(), separators=(",", ":")) + "\n")
        self.rows.append(row)

    def of(self, cell: Hashable, contents: str) -> list[R]:
        """The cell's trials that had these contents."""
        return [row for row in self.rows if row.cell == cell and row.contents == contents]


class Campaign(Generic[C, R]):
    """The trials that are missing; those of the cells with the fewest come first.

    So a table of a campaign that was stopped is even.
    """

    def __init__(
        self, log: Log[R], wanted: Iterable[C], contents: Callable[[C], str], trials: int
    ) -> None:
        """``trials``: how many each of the ``wanted`` cells is to have."""
        self._log = log
        self._known = {cell: {r.seed for r in log.of(cell, contents(cell))} for cell in wanted}
        self._trials = trials
        self._failed: Counter[Hashable] = Counter()
        self.error: ShootdownError | None = None
        """Why a cell was left alone."""

    def next(self) -> tuple[C, int] | None:
        """The next trial's cell and seed, which count as run from now on; None at the end."""
        left = [c for c in self._known if self._failed[c] < _PATIENCE and self._missing(c)]
        if not left:
            return None
        cell = min(left, key=lambda c: len(self._known[c]))
        seed = self._missing(cell)[0]
        self._known[cell].add(seed)
        return cell, seed

    def _missing(self, cell: C) -> list[int]:
        return [n for n in range(1, self._trials + 1) if n not in self._known[cell]]

    def done(self, row: R) -> None:
        """Keep a trial."""
        self._log.add(row)
        self._failed[row.cell] = 0
        _tell(f"{row.told} ({row.seed} of {self._trials})")

    def failed(self, cell: C, seed: int, error: ShootdownError) -> None:
        """Forget a trial that could not be run."""
        self._known[cell].discard(seed)
        self._failed[cell] += 1
        self.error = error
        _tell(f"{cell}, {seed} of {self._trials}: error: {error}")

    def play(self, run: Callable[[C, int], R], jobs: int) -> None:
        """Run all, ``jobs`` at a time, in processes that keep what they learn of kernels."""
        with ProcessPoolExecutor(jobs) as pool:
            running: dict[Future[R], tuple[C, int]] = {}
            while True:
                while len(running) < jobs and (following := self.next()):
                    running[pool.submit(run, *following)] = following
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    cell, seed = running.pop(future)
                    try:
                        self.done(future.result())
                    except ShootdownError as error:
                        self.failed(cell, seed, error)


@dataclass(frozen=True)
class Work(Generic[C, R]):
    """What a campaign does."""

    contents: Callable[[C], str]
    """Digest of what a cell's trials run."""
    run: Callable[[C, int], R]
    """One trial, by its seed."""
    document: Callable[[Sequence[R]], str]
    """The table, of all trials."""


def parser(name: str, doc: str, trials: int, log: Path, table: Path) -> argparse.ArgumentParser:
    """What every campaign can be told."""
    made = argparse.ArgumentParser(prog=name, description=doc.split("\n", maxsplit=1)[0])
    made.add_argument("-n", type=int, default=trials, help=f"of each cell (default: {trials})")
    made.add_argument("--jobs", type=int, default=JOBS, help=f"at a time (default: {JOBS})")
    made.add_argument("--arch", action="append", help="only this; may be given again")
    made.add_argument(
        "--kernel", action="append", help="only this; may be given again; built ones are built"
    )
    made.add_argument("--log", type=Path, default=log, help=f"trials (default: {log})")
    made.add_argument("--out", type=Path, default=table, help=f"table (default: {table})")
    made.add_argument("--table-only", action="store_true", help="run nothing")
    return made


def carry_out(
    options: argparse.Namespace,
    row: Callable[[list[Any]], R],
    wanted: Callable[[argparse.Namespace], Sequence[C]],
    work: Work[C, R],
) -> int:
    """Run what is missing of a campaign and write its table; returns the exit code."""
    try:
        log = Log(options.log, row)
        cells = [] if options.table_only else wanted(options)
        campaign = Campaign(log, cells, work.contents, options.n)
        campaign.play(work.run, options.jobs)
        write_text(options.out, work.document(log.rows))
        if campaign.error:
            raise campaign.error
    except ShootdownError as error:
        print(f"shootdown: error: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.PASS)


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def line(words: Iterable[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(words) + " |"
