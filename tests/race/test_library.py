"""The library's races on stock kernels: every hold fires, and no rule is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown.arch.base import Arch
from shootdown.race import find, trial
from shootdown.report.result import Result
from shootdown.report.text import render
from shootdown.run import directory
from shootdown.run.experiment import Experiment

KERNELS = ("debian:6.1", "debian:6.12", "debian:7.2")
EVERYWHERE = (
    *("fork::store_before_flush", "map_fixed::load_before_flush", "mprotect::store_before_flush"),
    *("mremap::load_before_flush", "munmap::load_before_flush"),
)
QUICK = ("touch::found_then_unmapped", "touch::fault_outlives_munmap")


def run(call: str, arch: str, path: Path, kernel: str = "debian:6.12") -> Result:
    (race,) = find.find(call)
    if arch not in race.arch:
        pytest.skip(f"not on {arch}")
    disks = race.plan.swap or race.plan.disk
    experiment = Experiment(arch, kernel=kernel, snapshot="off" if disks else "auto")
    staged = trial.stage(race.plan, experiment, print)
    result = trial.trial(staged, directory.create(path), print, seed=1)
    print(render(result))
    return result


def check(result: Result) -> None:
    assert result.verdict == "pass", result.reasons
    assert result.holds["fired"] == result.holds["planned"]
    for hold in result.held:
        assert hold["timed_out"] or not hold["infeasible"]


@pytest.mark.guest
@pytest.mark.parametrize("call", QUICK)
def test_quick(arch: Arch, call: str, tmp_path: Path) -> None:
    result = run(call, arch.name, tmp_path / "run")
    check(result)
    (hold,) = result.held
    assert hold["timed_out"] == hold["infeasible"]
    words = " ".join(render(result).split())
    assert ("as it has to here" in words) == hold["infeasible"]


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("call", [race.call for race in find.library()])
def test_each(arch: Arch, call: str, tmp_path: Path) -> None:
    if call.startswith("drop_move::guard"):
        pytest.skip("6.12 has no guards")
    check(run(call, arch.name, tmp_path / "run"))


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("call", EVERYWHERE)
def test_other_kernels(arch: Arch, kernel: str, call: str, tmp_path: Path) -> None:
    check(run(call, arch.name, tmp_path / "run", kernel))


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("call", ["drop_move::dontunmap", "drop_move::guard"])
def test_what_findings_tell_of(call: str, tmp_path: Path) -> None:
    """Stock 7.2 returns before what another thread cleared is flushed."""
    result = run(call, "x86_64", tmp_path / "run", "debian:7.2")
    assert result.verdict == "fail"
    assert {(v.rule, v.kind) for v in result.violations} == {
        ("stale-after-return", "may"),
        ("stale-after-return", "witness"),
    }


@pytest.mark.guest
@pytest.mark.slow
def test_the_data_loss_of_2008(arch: Arch, tmp_path: Path) -> None:
    """O_DIRECT of 6.1 references its pages and does not pin them; no rule is broken."""
    result = run("direct::fork_during_read", arch.name, tmp_path / "run", "debian:6.1")
    assert result.verdict == "inconclusive"
    assert "lost their data" in result.reasons[0]
    assert not result.violations
