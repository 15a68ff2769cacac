"""Races as tests, in a pytest of their own; none of these starts a guest."""

from __future__ import annotations

import pytest

from shootdown.kernel.cache import cache_root

pytest_plugins = ["pytester"]

CACHE = cache_root()
"""As it is here; pytester gives its pytests another home."""

FILE = """
import pytest
from shootdown.race import Script, race
from shootdown.races.munmap import load_before_flush

@race(workload="munmap", arch=["x86_64", "arm64"])
def misspelt(r: Script) -> None:
    with r.hold(at=r.thread("mapper").enters("flush_tlb_mm_rang")):
        r.pause(5)

def test_fixtures(verdict):
    assert False
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("SHOOTDOWN_CACHE", str(CACHE))
    pytester.makepyfile(test_races=FILE)
    return pytester


def test_a_race_is_a_test_for_each_architecture(suite: pytest.Pytester) -> None:
    shown = suite.runpytest_subprocess("--collect-only", "-q")
    shown.stdout.fnmatch_lines(
        ["test_races.py::misspelt?x86_64?", "test_races.py::misspelt?arm64?"]
    )
    shown.stdout.no_fnmatch_line("*load_before_flush*")  # imported: another file's
    some = suite.runpytest_subprocess("--collect-only", "-q", "--race-arch", "aarch64")
    some.stdout.no_fnmatch_line("*x86_64*")


def test_errors_are_one_sentence(suite: pytest.Pytester) -> None:
    shown = suite.runpytest_subprocess("-n", "2", "--race-arch", "x86_64")
    shown.assert_outcomes(failed=1, errors=1)
    shown.stdout.fnmatch_lines(["*no function flush_tlb_mm_rang; did you mean flush_tlb_mm_range*"])
    shown.stdout.fnmatch_lines(["*the fixtures of a race need @pytest.mark.race(RACE)*"])
    shown.stdout.no_fnmatch_line("*Traceback*")
