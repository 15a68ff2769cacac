"""Findings of real guests: they come back, they do not, and they get smaller."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.arch.base import Arch
from shootdown.cli.main import main
from shootdown.errors import ExitCode
from shootdown.race import find, finding, plan_file, reduce, trial
from shootdown.report.text import render
from shootdown.run import directory
from shootdown.run.experiment import Experiment

MUTANT = "flush-no-wait"


def found(arch: Arch, call: str, path: Path, mutate: str) -> Path:
    """The run directory of a race that violates a rule."""
    (race,) = find.find(call)
    experiment = Experiment(arch.name, mutate=mutate, snapshot="auto")
    staged = trial.stage(race.plan, experiment, print)
    run = directory.create(path)
    result = trial.trial(staged, run, print, seed=3)
    assert result.exit_code == ExitCode.VIOLATION, render(result)
    assert result.holds["fired"] == race.plan.planned
    return run.path


@pytest.mark.guest
def test_a_finding_comes_back_and_is_gone_on_a_sound_kernel(
    arch: Arch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = found(arch, "planted_flush::read_before_munmap", tmp_path / "run", "no-flush")
    saved = finding.load(run / finding.NAME)
    assert saved.plan == plan_file.load(run / "race.toml")
    capsys.readouterr()
    words = ["replay", str(run), "-n", "2", f"--out={tmp_path / 'again'}", "--json"]
    assert main(words) == ExitCode.PASS
    told = json.loads(capsys.readouterr().out)
    assert (told["reproduced"], told["trials"], told["verdict"]) == (2, 2, "reliable")
    assert (tmp_path / "again" / "1" / "trace").is_dir()
    assert not (tmp_path / "again" / "2" / "trace").exists()

    sound = tmp_path / "sound.toml"
    finding.save(replace(saved, experiment=replace(saved.experiment, mutate="")), sound)
    words = ["replay", str(sound), "-n", "1", f"--out={tmp_path / 'never'}"]
    assert main(words) == ExitCode.NOT_REPRODUCED
    text = capsys.readouterr().out
    assert "not reproduced, 0 of 1 (0 % to 79 %)" in text
    assert "no violation" in text


@pytest.mark.guest
@pytest.mark.slow
def test_a_race_shrinks(arch: Arch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = found(arch, "planted_wait::munmap_goes_on", tmp_path / "run", MUTANT)
    capsys.readouterr()
    words = ["shrink", str(run), "-n", "3", "--tries", "2", f"--out={tmp_path / 'small'}"]
    assert main([*words, "--json"]) == ExitCode.PASS
    told = json.loads(capsys.readouterr().out)
    small = finding.load(Path(told["finding"]))
    assert told["holds"] <= 2
    assert told["words"].startswith("needs ")
    assert told["verified"]["reproduced"] >= 1
    before = finding.load(run).plan
    assert before is not None
    assert small.plan is None or reduce.size(small.plan) <= reduce.size(before)


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("snapshot", ["auto", "off"])
def test_a_kernel_that_was_moved(arch: Arch, snapshot: str, tmp_path: Path) -> None:
    (race,) = find.find("munmap::load_before_flush")
    experiment = Experiment(arch.name, profile="kaslr", snapshot=snapshot)
    staged = trial.stage(race.plan, experiment, print)
    assert not staged.target.stays
    result = trial.trial(staged, directory.create(tmp_path / "run"), print, seed=3)
    assert result.verdict == "pass", render(result)
    assert result.holds["fired"] == race.plan.planned
    assert all("unmap_page_range+" in held["at"] for held in result.held)


def test_wrong_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words, says in (
        (["replay", str(tmp_path)], "is no run directory"),
        (["replay", "none.toml"], "cannot be read: No such file"),
        (["replay", "none.toml", "-n", "0"], "-n is 0"),
        (["shrink", "none.toml", "--", "true"], "takes no guest command"),
    ):
        assert main(words) == ExitCode.USAGE
        assert says in capsys.readouterr().err


def test_what_has_no_holds_is_not_shrunk(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    expected = finding.Expected("stale-after-return", "munmap", "may", "0" * 12)
    path = tmp_path / "f.toml"
    finding.save(finding.Finding(None, Experiment("x86_64"), (expected,)), path)
    assert main(["shrink", str(path)]) == ExitCode.USAGE
    assert "has no holds" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
