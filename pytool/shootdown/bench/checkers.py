"""How fast both checkers are, and how much memory the fast one takes, on a synthetic trace.

Times are of the processor, so that other work on the machine counts for less; each check runs in
a process of its own, whose largest resident size is taken from the operating system. The work of
``calibration`` is done beside each, for machines differ, and one machine from hour to hour.
"""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from shootdown.bench import calibration, synthetic
from shootdown.bench.ratio import Figure, figure, ratios
from shootdown.rules.check import check
from shootdown.rules.feed import FAST, REFERENCE, How
from shootdown.trace.reader import Trace

LONG: Final = 20_000_000
_SHORT: Final = 1_000_000
_TIMES: Final = 3


def measure(scratch: Path, events: int = LONG) -> dict[str, Figure]:
    """Figures of both checkers; ``events`` is the length of the trace that memory is taken on."""
    short = synthetic.write(scratch / "short", _SHORT)
    fast: list[float] = []
    reference: list[float] = []
    fixed: list[float] = []
    for _ in range(_TIMES):
        fixed.append(calibration.seconds())
        fast.append(_apart(scratch / "short", FAST)[0])
        reference.append(_apart(scratch / "short", REFERENCE)[0])
    number = synthetic.write(scratch / "long", events)
    seconds, peak = _apart(scratch / "long", FAST)
    return {
        "checker_events_per_s": figure([short / s for s in fast], "events/s"),
        "reference_events_per_s": figure([short / s for s in reference], "events/s"),
        "reference_over_checker": ratios(reference, fast),
        "calibration": figure(fixed, "s"),
        "checker_events_per_calibration": figure(
            [short * c / s for c, s in zip(fixed, fast, strict=True)], "events"
        ),
        "checker_events_per_s_long": figure([number / seconds], "events/s"),
        "checker_peak_memory_long": figure([peak], "MiB"),
    }


def _apart(trace: Path, how: How) -> tuple[float, float]:
    # Spawned, because a forked process begins with its parent's memory.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_check, trace, how).result()


class _Long(Trace):
    arch = "x86_64"


def _check(path: Path, how: How) -> tuple[float, float]:
    """Processor seconds of a check, and the process's largest resident size in MiB."""
    start = time.process_time()
    report = check(_Long(path), how=how)
    spent = time.process_time() - start
    assert report.coverage["returns to user"], "the synthetic trace is not what it should be"
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
