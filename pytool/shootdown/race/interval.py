"""How sure a rate is that was seen in few trials."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

# No library of the core's has it; scipy, which does, is too large for six lines.
_Z = NormalDist().inv_cdf(0.975)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a rate, 95 %: lower and upper bound, both from 0 to 1.

    E. B. Wilson, Journal of the American Statistical Association 22 (1927). Without trials it is
    everything.
    """
    if not trials:
        return 0.0, 1.0
    rate, square = hits / trials, _Z * _Z / trials
    middle = (rate + square / 2) / (1 + square)
    half = _Z * sqrt(rate * (1 - rate) / trials + square / (4 * trials)) / (1 + square)
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == trials else middle + half)


def shown(hits: int, trials: int) -> str:
    """Such as ``9 of 10 (60 % to 98 %)``."""
    low, high = wilson(hits, trials)
    return f"{hits} of {trials} ({100 * low:.0f} % to {100 * high:.0f} %)"
