"""A fixed piece of work, to compare figures of other times and machines by.

It is made of what a check is made of: small objects, dictionaries and numpy over columns.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np

_OBJECTS: Final = 500_000
_NUMBERS: Final = 2_000_000


def seconds() -> float:
    """Processor seconds that the work takes."""
    start = time.process_time()
    known: dict[int, tuple[int, int]] = {}
    for number in range(_OBJECTS):
        known[number & 1023] = number, number + 1
        if number & 7 == 0:
            known.pop(number & 1023)
    numbers = np.arange(_NUMBERS, dtype=np.uint64)[::-1] * np.uint64(3)
    np.sort(numbers[numbers % np.uint64(7) == 0], kind="stable").tolist()
    return time.process_time() - start
