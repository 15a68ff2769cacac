"""Call instructions in kernel text, found by numpy over the whole of it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Calls = tuple[NDArray[np.uint64], NDArray[np.uint64]]
"""VAs of call instructions, and the VA each of them calls."""


def _x86_64(data: bytes, va: int) -> Calls:
    """``call rel32`` (e8): every place where one could be; the bytes alone cannot tell."""
    octets = np.frombuffer(data, np.uint8)
    sites = np.flatnonzero(octets[:-4] == 0xE8)
    distance = np.zeros(len(sites), dtype=np.uint32)
    for byte in range(4):
        distance |= octets[sites + 1 + byte].astype(np.uint32) << np.uint32(8 * byte)
    vas = sites.astype(np.uint64) + np.uint64(va)
    signed = distance.view(np.int32).astype(np.int64).view(np.uint64)
    return vas, vas + np.uint64(5) + signed


def _arm64(data: bytes, va: int) -> Calls:
    """``bl`` (top six bits 100101), the distance in words in the low 26 bits."""
    words = np.frombuffer(data, "<u4", len(data) // 4)
    sites = np.flatnonzero(words >> np.uint32(26) == 0b100101)
    # Shifted up to lose the opcode, then down arithmetically: the sign of bit 25 spreads.
    distance = (words[sites] << np.uint32(6)).view(np.int32).astype(np.int64) >> np.int64(4)
    vas = sites.astype(np.uint64) * np.uint64(4) + np.uint64(va)
    return vas, vas + distance.view(np.uint64)


CALLS: Final[dict[str, Callable[[bytes, int], Calls]]] = {"x86_64": _x86_64, "arm64": _arm64}
"""By architecture: the calls in text that starts at a VA."""
