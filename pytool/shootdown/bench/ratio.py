"""Numbers of a benchmark: a few values, their median, and where they lie."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One line of the table and one entry of bench.json."""

    median: float
    min: float
    max: float
    unit: str
    pairs: int
    """How many values, or pairs of values, it is made of."""

    def json(self) -> dict[str, Any]:
        """As bench.json has it."""
        return asdict(self)


def figure(values: Sequence[float], unit: str) -> Figure:
    """The figure of some values; raises ValueError when there are none."""
    if not values:
        raise ValueError("a figure needs at least one value")
    return Figure(
        median=round(statistics.median(values), 4),
        min=round(min(values), 4),
        max=round(max(values), 4),
        unit=unit,
        pairs=len(values),
    )


def ratios(over: Sequence[float], under: Sequence[float]) -> Figure:
    """Pair by pair, so that a machine whose speed drifts does not decide the result."""
    return figure([a / b for a, b in zip(over, under, strict=True)], "ratio")


def table(figures: dict[str, Figure]) -> str:
    """All figures, one a line."""
    width = max(map(len, figures))
    lines = [f"{'':{width}}  {'median':>10} {'min':>10} {'max':>10}  unit (values)"]
    for name, f in figures.items():
        lines.append(
            f"{name:{width}}  {f.median:>10.4g} {f.min:>10.4g} {f.max:>10.4g}  {f.unit} ({f.pairs})"
        )
    return "\n".join(lines)
