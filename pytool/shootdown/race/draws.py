"""The random numbers of delays, as the plugin draws them (``plugin/delay.c``).

What an arrival at a point gets depends on the seed, the vCPU, the point's number and how often that
vCPU has been there, so it can be foretold without running anything. Written down here, as in the
plugin, because the two must agree to the bit: splitmix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", 2014).
"""

from __future__ import annotations

from typing import Final

MILLION: Final = 1_000_000
_GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
_WORD: Final = (1 << 64) - 1
_HALF: Final = (1 << 32) - 1


def mixed(x: int) -> int:
    """splitmix64's finaliser: a bijection of 64-bit words."""
    x = (x ^ x >> 30) * 0xBF58_476D_1CE4_E5B9 & _WORD
    x = (x ^ x >> 27) * 0x94D0_49BB_1331_11EB & _WORD
    return x ^ x >> 31


def share(random: int, n: int) -> int:
    """One of 0 to ``n`` - 1, by the upper half of a random word."""
    return (random >> 32) * n >> 32


def number(state: int, nth: int) -> int:
    """The ``nth`` number (from 1) of the stream that starts at ``state``."""
    return mixed(state + nth * _GOLDEN & _WORD)


def delay_ns(
    seed: int, cpu: int, point: int, arrival: int, *, chance: int, min_ns: int, octaves: int
) -> int:
    """Nanoseconds that the ``arrival`` (from 1) of a vCPU at a point is delayed by; 0 for none.

    ``chance`` is in a million; a delay lies in [``min_ns``, ``min_ns << octaves``), and is
    ``min_ns`` where ``octaves`` is 0.
    """
    state = mixed(seed + _GOLDEN * (cpu << 16 | point) & _WORD)
    first, second = number(state, 2 * arrival - 1), number(state, 2 * arrival)
    if share(first, MILLION) >= chance:
        return 0
    if not octaves:
        return min_ns
    ns = min_ns << share(second, octaves)
    return ns + (ns * (second & _HALF) >> 32)
