from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from shootdown.cli.ci import Job, gravest

from .conftest import Cli


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


def test_names_of_jobs() -> None:
    """They are directories, and result lines of KTAP."""
    assert Job("arm64").name == "arm64"
    assert Job("arm64", "stress-ng:shm-sysv").name == "arm64-shm-sysv"


def test_load_that_is_none_is_said_before_anything_runs(cli: Cli) -> None:
    for command in ("ci", "run", "record"):
        code, _, err = cli(command, "--load", "stress-ng:mrmap")
        assert code == 2
        assert "no stressor of stress-ng is called 'mrmap'" in err
    assert not list(Path().iterdir())


def test_load_and_program_exclude_each_other(cli: Cli) -> None:
    code, _, err = cli("run", "--load", "stress-ng:brk", "--", "/bin/true")
    assert code == 2
    assert "exclude each other" in err
