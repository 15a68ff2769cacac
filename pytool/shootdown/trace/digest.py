"""One number for all that was recorded while workloads ran."""

from __future__ import annotations

import hashlib

import numpy as np

from shootdown.trace.schema import DTYPE, Kind, Mark
from shootdown.trace.types import Events


def digest(events: Events) -> str:
    """SHA-256, hexadecimal, of all events up to the end of the last phase (``Mark.END``).

    ``events`` are in the order of ``seq``. What comes after that depends on when the host stops the
    guest. Every field counts, numbers and instruction counts too. Empty when no phase has ended.
    """
    ends = np.flatnonzero((events["kind"] == Kind.MARK) & (events["id"] == Mark.END))
    if not len(ends):
        return ""
    assert events.dtype == DTYPE
    return hashlib.sha256(np.ascontiguousarray(events[: ends[-1] + 1]).tobytes()).hexdigest()
