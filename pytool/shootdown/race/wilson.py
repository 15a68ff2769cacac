"""How sure one can be of a rate: the interval of Wilson (1927), which fits few trials and rates
near 0 and 1. Written down here, as four lines do not make scipy a dependency."""

from __future__ import annotations

import math
from typing import Final

Z: Final = 1.959963984540054
"""Of the normal distribution: 95 % lie within."""


def interval(k: int, n: int) -> tuple[float, float]:
    """Bounds, inclusive, of the rate behind ``k`` of ``n``, at 95 %; all of 0 to 1 for no trial."""
    if not n:
        return 0.0, 1.0
    rate, slack = k / n, Z * Z / n
    middle = (rate + slack / 2) / (1 + slack)
    half = Z * math.sqrt(rate * (1 - rate) / n + slack / (4 * n)) / (1 + slack)
    return max(0.0, middle - half), min(1.0, middle + half)
