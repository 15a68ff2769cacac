"""Races in real guests: a hold that fires, and an order that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown.arch.base import Arch
from shootdown.race import Hold, Pause, Plan, Point, find, plan_file, trial
from shootdown.report.result import Result
from shootdown.report.text import render
from shootdown.run import directory
from shootdown.run.experiment import Experiment


def run(plan: Plan, experiment: Experiment, path: Path) -> Result:
    staged = trial.stage(plan, experiment, print)
    return trial.trial(staged, directory.create(path), print, seed=3, reproduce="again")


@pytest.mark.guest
def test_holds_fire_and_the_kernel_is_right(arch: Arch, tmp_path: Path) -> None:
    """One race of the library, and a thread that is held at the entry of a function meanwhile."""
    (race,) = find.find("munmap::load_before_flush")
    plan = race.plan
    result = run(plan, Experiment(arch.name), tmp_path / "run")
    text = render(result)
    assert result.verdict == "pass", text
    assert result.holds["planned"] == result.holds["fired"] == plan.planned
    assert result.holds["timed_out"] < plan.planned, text
    assert "holds: 3 planned, 3 fired" in text
    assert result.reproduce == "again"
    assert plan_file.load(tmp_path / "run" / "race.toml") == plan
    held = directory.read_json(tmp_path / "run" / "holds.json")
    assert all(hold["task"].startswith("mapper/") for hold in held["held"])
    assert any("unmap_page_range+" in place for place in held["points"][str(plan.holds[0].point)])


@pytest.mark.guest
def test_an_order_that_cannot_be(arch: Arch, tmp_path: Path) -> None:
    """munmap does not return while the CPU of a reader stands, if its flush is an interrupt."""
    reader = Point(event="load", thread="observer0", when="after", of="window", nth=20)
    returns = Point(event="return", thread="mapper", function="munmap")
    never = Point(event="enter", thread="nobody", function="tlb_finish_mmu")
    plan = Plan(
        name="stands",
        workload="munmap",
        holds=(Hold(reader, (returns,)), Hold(never, (Pause(1),))),
    )
    result = run(plan, Experiment(arch.name), tmp_path / "run")
    assert result.verdict == "inconclusive"
    (held,) = result.held
    assert "1 of 2 holds never fired" in result.reasons[0]
    if held["timed_out"]:
        assert arch.name == "x86_64"
        assert "smp_call_function_many_cond" in " ".join(held["why"])
        assert "CPUs it interrupted have answered" in " ".join(held["why"])
        assert any("every hold timed out" in reason for reason in result.reasons)
    else:
        assert arch.name == "arm64"  # TLBI needs nobody's answer


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("workload", ["map_fixed", "munmap", "mprotect"])
def test_a_kernel_without_flushes_is_caught(arch: Arch, workload: str, tmp_path: Path) -> None:
    race = find.find(workload)[0]
    result = run(race.plan, Experiment(arch.name, mutate="no-flush"), tmp_path / "run")
    assert result.verdict == "fail", render(result)
    assert result.holds["fired"] == result.holds["planned"]
