"""Delays in real guests: what was planned is what was made, and a search finds what is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown.arch.base import Arch
from shootdown.race import delays_file, draws, search
from shootdown.race.search import Found, Trial
from shootdown.report import result
from shootdown.run import experiment
from shootdown.run.experiment import Experiment
from shootdown.trace.reader import Trace
from shootdown.trace.schema import Kind

Decisions = dict[tuple[int, int, int], int]
"""Nanoseconds by vCPU, point and arrival."""


def munmap(arch: Arch, policy: str, **more: str) -> Experiment:
    return Experiment(
        arch.name, workloads="munmap", iterations=3, snapshot="auto", inject=policy, **more
    )


def decisions(run: Path) -> Decisions:
    made = Trace(run / "trace").events()
    made = made[made["kind"] == Kind.DELAY]
    assert (made["b"] >= made["a"]).all()
    keys = zip(*(made[name].tolist() for name in ("cpu", "id", "c")), strict=True)
    found = dict(zip(keys, made["a"].tolist(), strict=True))
    assert len(found) == len(made)
    return found


def foretold(run: Path, cpu: int, point: int, arrival: int) -> int:
    """From nothing but the files that were written before the guest started."""
    plan, seed = delays_file.load(run / "delays.toml"), experiment.load(run / "plan.toml").seed
    delay = plan.delays[point - 1]
    law = {"chance": delay.millionths, "min_ns": delay.min_ns, "octaves": delay.octaves}
    return draws.delay_ns(seed, cpu, point, arrival, **law)


@pytest.mark.guest
def test_the_same_seed_makes_the_same_decisions(arch: Arch, tmp_path: Path) -> None:
    plan = munmap(arch, "targeted", mutate="no-flush")  # a violation keeps its trace
    runs = []
    for name in ("first", "again"):
        (trial,) = search.search(plan, 1, tmp_path / name, print)
        assert trial.violates, trial.reason
        assert trial.delays > 0
        runs.append(trial.directory)
    first, again = map(decisions, runs)
    both = first.keys() & again.keys()
    assert both
    assert all(first[key] == again[key] for key in both)
    for run, made in zip(runs, (first, again), strict=True):
        assert all(foretold(run, *key) == ns for key, ns in made.items())
    told = result.load(runs[0] / "result.json")
    assert told.inject == "targeted"
    assert sum(delay["made"] for delay in told.delays) == len(first)


@pytest.mark.guest
@pytest.mark.parametrize("policy", ["pct", "random"])
def test_a_kernel_that_is_right_stays_so(arch: Arch, policy: str, tmp_path: Path) -> None:
    found = Found(munmap(arch, policy))
    found.trials.extend(search.search(found.experiment, 2, tmp_path, print))
    assert [trial.exit_code for trial in found.trials] == [0, 0], found.trials
    assert [trial.seed for trial in found.trials] == [1, 2]
    assert all(trial.delays for trial in found.trials)
    assert found.judged == 2 and not found.violating
    assert "--seed 2" in found.trials[1].reproduce
    assert not (found.trials[1].directory / "trace").exists()


def test_what_counts_for_a_rate(tmp_path: Path) -> None:
    trials = [Trial(n, tmp_path, code, "", "") for n, code in enumerate((0, 1, 0, 5, 7, 1))]
    found = Found(Experiment("x86_64"), trials)
    assert (len(found.violating), found.judged) == (2, 4)
    low, high = found.interval
    assert 0 < low < 0.5 < high < 1
