"""Findings as files, and what of a run directory is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.errors import UsageError
from shootdown.race import find, finding, plan_file
from shootdown.race.finding import Expected, Finding, expected_of
from shootdown.report.result import Result, Violation
from shootdown.run import directory
from shootdown.run.experiment import Experiment

STALE = Expected("stale-after-return", "munmap", "witness", "0123456789ab")
FREED = Expected("free-before-flush", "munmap", "may", "ba9876543210")


def violation(expected: Expected, count: int = 1, *, complete: bool = True) -> Violation:
    return Violation(
        **vars(expected),
        **{"arch": "arm64", "mm": 1, "va": 2, "cpus": [0], "summary": "", "seq": [1]},
        **{"count": count, "complete": complete},
    )


@pytest.fixture
def found() -> Finding:
    (race,) = find.find("munmap::load_before_flush")
    experiment = Experiment("arm64", workloads="munmap", mutate="no-flush", seed=7)
    return Finding(race.plan, experiment, (STALE, FREED))


def test_a_file_holds_all_of_it(found: Finding, tmp_path: Path) -> None:
    path = tmp_path / finding.NAME
    finding.save(found, path)
    assert finding.load(path) == found
    assert plan_file.load(path) == found.plan, "a finding is a race, too"
    plain = replace(found, plan=None)
    finding.save(plain, path)
    assert finding.load(path) == plain


def test_what_was_used_and_what_was_often_is_looked_for_first() -> None:
    other = replace(STALE, fingerprint="0" * 12)
    torn = replace(STALE, fingerprint="f" * 12)
    known = [violation(FREED, 90), violation(STALE), violation(other, 2), violation(STALE, 1)]
    assert expected_of([*known, violation(torn, 99, complete=False)]) == (other, STALE, FREED)


def test_rule_and_site_make_it_the_same() -> None:
    assert STALE.same(violation(replace(STALE, kind="may", fingerprint="0" * 12)))
    assert not STALE.same(violation(replace(STALE, site="mremap")))
    assert not STALE.same(violation(replace(STALE, rule="free-before-flush")))


def test_another_rule_can_be_looked_for(found: Finding) -> None:
    assert found.looking_for("free-before-flush").expected == (FREED, STALE)
    with pytest.raises(UsageError, match="no violation of stale-after; did you mean stale-after-r"):
        found.looking_for("stale-after")


def test_a_run_directory_is_a_finding(found: Finding, tmp_path: Path) -> None:
    run = directory.create(tmp_path / "run")
    with pytest.raises(UsageError, match="is no run directory"):
        finding.load(run.path)
    directory.write_text(run.plan, found.experiment.to_toml())
    with pytest.raises(UsageError, match="holds no violation"):
        finding.load(run.path)
    result = Result(1, "arm64", violations=[violation(STALE), violation(FREED)])
    directory.write_json(run.result, result.to_json())
    assert finding.load(run.path) == replace(found, plan=None)
    assert found.plan is not None
    directory.write_text(run.race, plan_file.to_toml(found.plan))
    assert finding.load(run.path) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema = 1", "needs \\[experiment\\] and \\[\\[expect\\]\\]"),
        ("[[expect]]\n[experiment]\nkernel = 'x'", "key arch is missing"),
        ("[[expect]]\nrule = 'r'\n[experiment]\narch = 'arm64'", "has exactly rule, site"),
        ("[experiment]\narch = 'arm64'\n[[expect]]\nrule=1\nsite=''\nkind=''\nfingerprint=''",
         "has strings"),
        ("schema = 2\nname='n'\nworkload='w'\n[experiment]\narch='arm64'\n[[hold]]\n[[expect]]",
         "schema is 2"),
        ("= 1", "Invalid"),
    ],
)  # fmt: skip
def test_files_that_are_none(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        finding.load(path)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        finding.load(tmp_path / "none.toml")
