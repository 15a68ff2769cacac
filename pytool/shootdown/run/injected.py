"""What of a run's delays was made, from its trace."""

from __future__ import annotations

from typing import Any

import numpy as np

from shootdown.race import delays_file
from shootdown.race.delays import Delays
from shootdown.run.directory import RunDir
from shootdown.trace.reader import Trace
from shootdown.trace.schema import DTYPE, Kind
from shootdown.trace.types import Events


def summary(run: RunDir, trace: Trace) -> list[dict[str, Any]]:
    """Each delay of the run's plan: what it is, how often it was made, and for how long in all.

    Nothing for a run without delays. Raises UsageError when their file is damaged.
    """
    if not run.delays.is_file():
        return []
    plan = delays_file.load(run.delays)
    parts = [events[events["kind"] == Kind.DELAY] for events in trace.per_cpu]
    return of_events(plan, np.concatenate([np.zeros(0, DTYPE), *parts]))


def of_events(plan: Delays, made: Events) -> list[dict[str, Any]]:
    """The same, from the events DELAY."""
    return [
        {
            "point": str(delay),
            "made": len(here),
            "asked_ms": round(int(here["a"].sum()) / 1e6, 3),
            "took_ms": round(int(here["b"].sum()) / 1e6, 3),
        }
        for number, delay in enumerate(plan.delays, 1)
        for here in [made[made["id"] == number]]
    ]
