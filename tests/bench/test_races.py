"""The campaign of planted races: what it keeps, and the table of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.bench import races, races_table
from shootdown.bench.races_log import Cell, Log, Row
from shootdown.errors import ExitCode, InfraError
from shootdown.race import find
from shootdown.race.planted import PLANTED, Planted, cells
from shootdown.report.result import Result, Violation
from shootdown.run import mutate

ROW = Row("no-flush/munmap", "arm64", "plain", 1, hit=True, exit_code=1, rules=("a", "b"))


def test_a_campaign_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(path)
    log.add(ROW)
    log.add(replace(ROW, seed=2, hit=False))
    path.write_text(path.read_text() + '{"bug": "no-fl')
    again = Log(path)
    assert again.rows == [ROW, replace(ROW, seed=2, hit=False)]
    assert again.seeds(ROW.cell) == {1, 2}
    assert again.seeds(Cell("no-flush/munmap", "arm64", "scripted")) == set()
    again.add(replace(ROW, seed=3))
    assert Log(path).rows == again.rows


def test_a_line_that_is_no_trial(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("{}\n")
    with pytest.raises(InfraError, match=r"log:1 is no trial .* remove that line"):
        Log(path)


def test_the_table_counts() -> None:
    rows = [replace(ROW, seed=seed, hit=seed < 4) for seed in range(1, 6)]
    rows += [replace(ROW, method="dice", hit=False)]
    text = races_table.document(rows, ("plain", "scripted"))
    assert "| planted | on | plain | scripted | dice |" in text
    assert "| `no-flush/munmap` | arm64 | 3 of 5 (23-88 %) |  | 0 of 1 (0-79 %) |" in text


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.bug)
def test_what_is_planted_is_there(planted: Planted) -> None:
    (script,) = find.find(planted.script)
    assert set(planted.arch) <= set(script.arch)
    assert script.plan.planned <= 2 * script.plan.repeat
    assert bool(planted.mutate) != planted.kernel.startswith("built:")
    mutate.validate(planted.mutate)


def test_enough_is_planted_on_both() -> None:
    names = {(planted.bug, arch) for planted, arch in cells()}
    assert len(names) == len(list(cells()))
    for arch in ("x86_64", "arm64"):
        assert sum(a == arch for _, a in names) >= 10


def test_a_hit_is_of_the_rule_and_the_call() -> None:
    planted = next(p for p in PLANTED if p.bug == "no-flush/munmap")
    found = Violation(
        *("stale-after-return", "may", "arm64", 1, 2, [0], "munmap", "", "f", [1]),
    )

    def hit(violation: Violation) -> bool:
        return planted.hit(Result(1, "arm64", violations=[violation]))

    assert hit(found)
    assert not hit(replace(found, site="exit_group"))
    assert not hit(replace(found, rule="table-free-before-flush"))
    assert not hit(replace(found, complete=False))


def test_names_are_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["races", "--log", str(tmp_path / "log"), "--out", str(tmp_path / "table")]
    monkeypatch.setattr("sys.argv", [*words, "--bug", "no-flash/munmap"])
    assert races.main() == ExitCode.USAGE
    assert "did you mean no-flush/munmap" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*words, "--table-only"])
    assert races.main() == ExitCode.PASS
    assert "| `leaf-flush/munmap` | arm64 |" in (tmp_path / "table").read_text()
