from __future__ import annotations

import itertools

import pytest

from shootdown.cli.ci import gravest


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 4], 0),
        ([4, 4], 4),
        ([0, 7], 7),
        ([6, 7], 6),
        ([5, 6], 5),
        ([1, 5], 1),
        ([3, 1], 3),
        ([0, 143], 143),
        ([-9, 0], -9),
    ],
)
def test_gravest(codes: list[int], worst: int) -> None:
    assert gravest(codes) == worst
    assert gravest(codes[::-1]) == worst


def test_no_failure_is_outvoted() -> None:
    for pair in itertools.product(range(9), repeat=2):
        assert (gravest(list(pair)) in (0, 4)) == all(code in (0, 4) for code in pair)
