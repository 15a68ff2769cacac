"""What stress-ng is told, and what is read of what it says."""

from __future__ import annotations

import pytest

from shootdown.errors import UsageError
from shootdown.loads.stress_ng import (
    STRESSORS,
    arguments,
    choose,
    cut_short,
    figures,
    kernel_arguments,
    skipped,
    swap,
)

# As 0.19.02 writes it; shortened.
RAN = """---
build-info:
      compiler: 'gcc 14.2.0'

system-info:
      stress-ng-version: '0.19.02'
      pagesize: 4096

metrics:
    - stressor: numa
      bogo-ops: 8
      bogo-ops-per-second-real-time: 7.886799
      wall-clock-time: 1.014353
      max-rss: 7564
      numa-hits-per-sec: 100211.922026

...
"""
SKIPPED = RAN[: RAN.index("    - stressor")] + "\n...\n"


def test_figures() -> None:
    found = figures(RAN)
    assert found == {"bogo-ops": "8", "wall-clock-time": "1.014353", "max-rss": "7564"}
    assert not skipped(0, found)


@pytest.mark.parametrize("text", ["", SKIPPED, "metrics", "\nmetrics:\n    - stressor: \x1b[2J\n"])
def test_nothing_ran(text: str) -> None:
    assert figures(text) == {}
    assert skipped(0, {})


@pytest.mark.parametrize(("status", "left_out"), [(1, False), (2, False), (3, True), (4, True)])
def test_exit_status(status: int, left_out: bool) -> None:
    assert skipped(status, {}) == left_out


def test_choose() -> None:
    assert choose("stress-ng:mremap", "x86_64") == ["mremap"]
    assert choose("stress-ng:mremap,brk", "x86_64") == ["mremap", "brk"]
    assert choose("stress-ng:mr*,m*", "x86_64")[0] == "mremap"
    assert choose("stress-ng:*", "x86_64") == list(STRESSORS)


@pytest.mark.parametrize("load", ["", "mremap", "stress-ng", "ltp:mremap", "stress-ng:"])
def test_no_load(load: str) -> None:
    with pytest.raises(UsageError, match="stress-ng"):
        choose(load, "x86_64")


def test_unknown_stressor_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'mrmap'.*mremap"):
        choose("stress-ng:mrmap", "x86_64")


@pytest.mark.parametrize("name", STRESSORS)
def test_arguments(name: str) -> None:
    words = arguments(name, 7, 3)
    assert words[0].startswith("--")
    assert words[words.index("--timeout") + 1] == "7"
    assert all(word.split() == [word] for word in words)  # the agent splits at blanks
    assert len(name) <= 16  # the name of the phase


def test_another_name_for_the_same_stressor() -> None:
    assert arguments("ksm", 1, 1)[:3] == ["--vm", "2", "--ksm"]


def test_what_ended_before_its_time() -> None:
    assert cut_short("vfork", {"wall-clock-time": "0.3"}, 20)
    assert not cut_short("vfork", {"wall-clock-time": "19.8"}, 20)
    assert not cut_short("tlb-shootdown", {"wall-clock-time": "2.0"}, 20)  # bounded by operations


def test_what_the_guest_needs() -> None:
    assert kernel_arguments(["brk"]) == ()
    assert kernel_arguments(["brk", "mmaphuge"]) == ("hugepages=16",)
    assert swap(["brk"]) == 0
    assert swap(["brk", "pageswap", "pressure"]) == STRESSORS["pressure"].swap > 0


def test_what_does_not_work_is_run_only_when_named() -> None:
    assert "vfork" in choose("stress-ng:*", "x86_64")
    assert "vfork" not in choose("stress-ng:*", "arm64")
    assert choose("stress-ng:vfork", "arm64") == ["vfork"]
