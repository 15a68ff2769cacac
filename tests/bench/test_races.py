"""The campaign of planted races: what it keeps, and the table of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown.bench import races, races_table
from shootdown.bench.races_log import Cell, Row, of_list
from shootdown.bench.races_trial import METHODS, contents
from shootdown.bench.trials import Campaign, Log
from shootdown.errors import ExitCode, InfraError
from shootdown.race import find, policies
from shootdown.race.delays import Delays
from shootdown.race.planted import PLANTED, Planted, cells
from shootdown.report.result import Result, Violation
from shootdown.run import mutate

CELL = Cell("no-flush/munmap", "arm64", "plain")
ROW = Row(
    *CELL,
    *(1, True, 1, 0, 0, 0.5, "6.12.1-arm64"),
    contents=contents(CELL),
)


def at(cell: Cell, row: Row = ROW) -> Row:
    return replace(row, method=cell.method, contents=contents(cell))


def test_a_campaign_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(path, of_list)
    log.add(ROW)
    log.add(replace(ROW, seed=2, hit=False))
    assert all(len(line) < 120 for line in path.read_text().splitlines())
    path.write_text(path.read_text() + '["no-fl')
    again = Log(path, of_list)
    assert again.rows == [ROW, replace(ROW, seed=2, hit=False)]
    assert again.of(CELL, ROW.contents) == again.rows
    assert again.of(CELL, "other") == []
    assert again.of(CELL._replace(method="scripted"), ROW.contents) == []
    again.add(replace(ROW, seed=3))
    assert Log(path, of_list).rows == again.rows


@pytest.mark.parametrize("line", ["{}", "[1]", "1", '["no-flush/munmap","arm64","plain",1,1]'])
def test_a_line_that_is_no_trial(line: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{line}\n")
    with pytest.raises(InfraError, match=r"log:1 is no trial .* remove that line"):
        Log(path, of_list)


def test_the_table_counts() -> None:
    rows = [replace(ROW, seed=seed, hit=seed < 4) for seed in range(1, 6)]
    rows += [replace(ROW, contents="of another script", seed=seed) for seed in range(6, 9)]
    rows += [at(CELL._replace(method="pct"), replace(ROW, hit=False))]
    text = races_table.document(rows)
    assert "| planted | on | plain | scripted |" in text
    assert "| `no-flush/munmap` | arm64 | 3 of 5 (23-88 %) |  |  | 0 of 1 (0-79 %) |" in text
    assert "next to nothing" not in text
    assert "| plain | 1 | 5 | 0.50 | 1 |" in text


def test_the_table_says_what_a_method_is_worth_where_plain_trials_find_nothing() -> None:
    targeted = CELL._replace(method="targeted")
    rows = [replace(ROW, seed=seed, hit=False) for seed in range(200)]
    rows += [at(targeted, replace(ROW, seed=seed, hit=seed < 3)) for seed in range(4)]
    text = races_table.document(rows)
    # 3 of 4 over Wilson's bound of 0 of 200, 1.9 %.
    assert "| `no-flush/munmap` | arm64 | 0 of 200 |  | > 39.8 |" in text


def test_other_contents_are_another_trial() -> None:
    cells = [CELL._replace(method=method) for method in METHODS]
    assert len({contents(cell) for cell in cells}) == len(METHODS)
    assert contents(CELL) == contents(CELL._replace(arch="x86_64"))
    assert contents(CELL) != contents(CELL._replace(bug="local-flush/munmap"))


def test_cells_with_the_fewest_trials_come_first(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", of_list)
    log.add(ROW)
    scripted = CELL._replace(method="scripted")
    campaign = Campaign(log, [CELL, scripted], contents, 2)
    assert campaign.next() == (scripted, 1)
    assert campaign.next() == (CELL, 2)
    assert campaign.next() == (scripted, 2)
    assert campaign.next() is None
    for _ in range(3):  # a trial that could not be run is missing, until patience ends
        campaign.failed(scripted, 2, InfraError("no room"))
        assert campaign.next() in ((scripted, 2), None)
    assert campaign.next() is None
    campaign.done(replace(ROW, seed=2))
    assert len(Log(tmp_path / "log", of_list).of(CELL, ROW.contents)) == 2


def test_a_policy_is_what_it_chooses() -> None:
    (policy, *_) = policies.POLICIES.values()
    assert policy.contents == policy.contents

    def longer(subject: policies.Subject) -> Delays:
        chosen = policy.choose(subject)
        return replace(chosen, delays=tuple(replace(d, octaves=0) for d in chosen.delays))

    assert replace(policy, choose=longer).contents != policy.contents
    assert replace(policy, about="in other words").contents == policy.contents


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
