"""The random numbers of delays."""

from __future__ import annotations

from collections import Counter

from shootdown.race import draws


def test_splitmix64() -> None:
    """The generator's published first numbers for the seed 1234567 (prng.di.unimi.it)."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [draws.number(1234567, n) for n in (1, 2, 3)] == known


def test_a_chance_is_one() -> None:
    made = [draws.delay_ns(1, 0, 1, n, chance=250_000, min_ns=5, octaves=0) for n in range(1, 4001)]
    assert set(made) == {0, 5}
    assert 0.22 < made.count(5) / len(made) < 0.28
    assert not any(draws.delay_ns(1, 0, 1, n, chance=0, min_ns=5, octaves=0) for n in range(1, 99))


def test_every_octave_is_as_likely() -> None:
    made = [
        draws.delay_ns(9, 2, 3, n, chance=10**6, min_ns=1000, octaves=8) for n in range(1, 8001)
    ]
    assert min(made) >= 1000 and max(made) < 1000 << 8
    octaves = Counter((ns // 1000).bit_length() for ns in made)
    assert set(octaves) == set(range(1, 9))
    assert all(850 < count < 1150 for count in octaves.values())
