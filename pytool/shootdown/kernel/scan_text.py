"""Calls and jumps in kernel text, found by numpy over the whole of it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Calls = tuple[NDArray[np.uint64], NDArray[np.uint64]]
"""VAs of instructions, and the VA each of them goes to."""


_Octets = NDArray[np.uint8]
_Places = NDArray[np.intp]


def _x86_calls(data: bytes, va: int) -> Calls:
    """``call rel32`` (e8): every place where one could be; the bytes alone cannot tell."""
    octets = np.frombuffer(data, np.uint8)
    return _relative(octets, np.flatnonzero(octets[:-4] == 0xE8) + 1, va)


def _x86_jumps(data: bytes, va: int) -> Calls:
    """``jmp rel32`` (e9) and ``jcc rel32`` (0f 80 to 0f 8f), wherever they could be."""
    octets = np.frombuffer(data, np.uint8)
    always = np.flatnonzero(octets[:-4] == 0xE9) + 1
    maybe = np.flatnonzero((octets[:-5] == 0x0F) & (octets[1:-4] >> 4 == 8)) + 2
    return _relative(octets, np.sort(np.concatenate([always, maybe])), va)


def _relative(octets: _Octets, distances: _Places, va: int) -> Calls:
    """Instructions that end in a distance of 32 bits, by where that is; ``va`` is of the first
    octet. An instruction's own VA is taken to be the octet before its distance."""
    distance = np.zeros(len(distances), dtype=np.uint32)
    for byte in range(4):
        distance |= octets[distances + byte].astype(np.uint32) << np.uint32(8 * byte)
    vas = distances.astype(np.uint64) + np.uint64(va)
    signed = distance.view(np.int32).astype(np.int64).view(np.uint64)
    return vas - np.uint64(1), vas + np.uint64(4) + signed


def _arm64_calls(data: bytes, va: int) -> Calls:
    """``bl`` (top six bits 100101)."""
    return _branches(data, va, 0b100101)


def _arm64_jumps(data: bytes, va: int) -> Calls:
    """``b`` (top six bits 000101); conditional branches do not reach other functions."""
    return _branches(data, va, 0b000101)


def _branches(data: bytes, va: int, opcode: int) -> Calls:
    """Branches with the distance in words in the low 26 bits."""
    words = np.frombuffer(data, "<u4", len(data) // 4)
    sites = np.flatnonzero(words >> np.uint32(26) == opcode)
    # Shifted up to lose the opcode, then down arithmetically: the sign of bit 25 spreads.
    distance = (words[sites] << np.uint32(6)).view(np.int32).astype(np.int64) >> np.int64(4)
    vas = sites.astype(np.uint64) * np.uint64(4) + np.uint64(va)
    return vas, vas + distance.view(np.uint64)


CALLS: Final[dict[str, Callable[[bytes, int], Calls]]] = {
    "x86_64": _x86_calls,
    "arm64": _arm64_calls,
}
"""By architecture: the calls in text that starts at a VA."""
JUMPS: Final[dict[str, Callable[[bytes, int], Calls]]] = {
    "x86_64": _x86_jumps,
    "arm64": _arm64_jumps,
}
"""By architecture: the jumps there that could leave a function."""
