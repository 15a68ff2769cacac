"""What is kept of a trial of a planted race."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, NamedTuple


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

    @property
    def told(self) -> str:
        """For the terminal."""
        word = "hit" if self.hit else f"no hit, exit {self.exit_code}"
        return f"{' '.join(self.cell)}: {word}, {self.seconds} s"

    def to_list(self) -> list[Any]:
        """What is kept."""
        return [int(v) if isinstance(v, bool) else v for v in astuple(self)]


def of_list(value: list[Any]) -> Row:
    """What ``to_list`` made. Raises TypeError or ValueError when it did not."""
    bug, arch, method, seed, hit, *others = value
    return Row(bug, arch, method, seed, bool(hit), *others)
