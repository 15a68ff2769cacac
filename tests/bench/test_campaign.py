from pathlib import Path
from typing import Any

import pytest

from shootdown.bench import campaign, verdicts
from shootdown.bench.campaign import Cell
from shootdown.errors import ExitCode, InfraError
from shootdown.run.verdict import NOTHING_CHECKED


def outcome(what: str, code: int = 0, **more: Any) -> dict[str, Any]:
    value = {
        "cell": {"kernel": "debian:6.12", "arch": "arm64", "what": what},
        "exit": code,
        "commit": "abcdef",
        "release": "6.12.1-cloud",
        "reasons": ["for a reason"],
        "events": 2_500_000,
        "windows": [],
        "rules": {"stale-after-return": [True, 1234, 0], "aliased-translation": [False, 5, 7]},
    }
    return value | more


def document(outcomes: list[dict[str, Any]], *planned: str) -> str:
    """The document, of a campaign that has those things planned on one kernel."""
    places = [{"kernel": "debian:6.12", "arch": "arm64", "what": what} for what in planned]
    return verdicts.document(outcomes, places)


def test_every_kernel_meets_everything_that_works_there():
    every = list(campaign.cells(campaign.KERNELS, "*"))
    assert len(every) == len(set(every))
    for arch in ("x86_64", "arm64"):
        of = {cell.what for cell in every if cell.arch == arch}
        assert {"map_fixed", "fork_cow", "stress-ng:mmapfixed"} <= of
    assert Cell("debian:6.12", "arm64", "stress-ng:vfork") not in every
    assert Cell("debian:6.12", "x86_64", "stress-ng:vfork") in every


def test_a_part_is_chosen_by_pattern():
    chosen = list(campaign.cells(["debian:7.2"], "* arm64 m*p"))
    assert chosen == [Cell("debian:7.2", "arm64", "munmap"), Cell("debian:7.2", "arm64", "mremap")]


def test_only_map_fixed_is_judged_as_glisse_asks():
    words = {what: Cell("k", "arm64", what).words(9, 8) for what in ("map_fixed", "munmap")}
    assert words["map_fixed"][-3] == "glisse"
    assert words["munmap"][-3] == "wilcox"


def test_what_is_known_is_not_run_again(tmp_path: Path):
    state = tmp_path / "state"
    state.write_text('{"cell": {"kernel": "k", "arch": "a", "what": "w"}, "exit": 7}\n')
    assert campaign.known(state) == {
        Cell("k", "a", "w"): {"cell": {"kernel": "k", "arch": "a", "what": "w"}, "exit": 7}
    }
    assert campaign.known(tmp_path / "none") == {}


def test_a_damaged_line_is_named(tmp_path: Path):
    state = tmp_path / "state"
    state.write_text('{"cell": {}}\n')
    with pytest.raises(InfraError, match="state:1 is damaged"):
        campaign.known(state)


def test_violations_stand_out():
    bad = outcome("munmap", ExitCode.VIOLATION, rules={"stale-after-return": [True, 9, 3]})
    text = document([outcome("mremap"), bad])
    assert "1,243, **3 violations**" in text
    assert "* debian:6.12 arm64, munmap: exit 1: for a reason" in text
    assert verdicts.failed(bad)


def test_the_document_says_what_ran_and_with_what():
    text = document([outcome("mremap"), outcome("munmap", release="6.12.2-cloud")])
    assert "(6.12.1-cloud, 6.12.2-cloud)" in text
    assert "Made with abcdef;" in text


def test_an_idle_rule_has_no_figure():
    assert "| `aliased-translation` | - |" in document([outcome("mremap")])


def test_map_fixed_says_whose_rule_was_kept():
    window = {"count": 40, "p50": 1, "p99": 2, "max": 3, "aliased": 5, "outlived": 6}
    window["observers"] = {"a": {"stale": 3}, "b": {"stale": 4, "new": 9}}
    rules = {"stale-after-return": [True, 300, 0], "aliased-translation": [True, 300, 5]}
    text = document([outcome("map_fixed", 1, windows=[window], rules=rules)])
    row = "| debian:6.12 arm64 | 300 | 40 | 1 | 2 | 3 | 7 | 5 | 6 | broken 5 times | kept |"
    assert row in text


def test_a_load_with_nothing_to_judge_is_skipped():
    load = outcome("stress-ng:brk", ExitCode.INCONCLUSIVE, reasons=[NOTHING_CHECKED])
    text = document([load, outcome("stress-ng:vm")])
    assert "| `brk` | skipped |" in text
    assert "| `vm` | 1,234 (2.50) |" in text
    assert text.endswith("did not pass\n\nNothing.\n")


def test_a_run_without_a_result_is_told():
    text = document([{k: outcome("munmap", 3)[k] for k in ("cell", "exit", "commit")}])
    assert "* debian:6.12 arm64, munmap: exit 3: \n" in text


def test_how_much_of_the_campaign_has_been_run():
    planned = ("mremap", "munmap", "stress-ng:vm", "stress-ng:brk")
    text = document([outcome("mremap"), outcome("stress-ng:vm"), outcome("fork_cow")], *planned)
    assert "2 of 4 cells have been run." in text
    assert "| `munmap` | not run |" in text
    assert "| `brk` | not run |" in text
    assert "| `fork_cow` | 1,234 (2.50) |" in text


def test_a_run_without_a_result_is_not_run():
    failed = {key: outcome("munmap", 3)[key] for key in ("cell", "exit", "commit")}
    text = document([failed], "munmap")
    assert "0 of 1 cells have been run." in text
    assert "| `munmap` | not run |" in text


def test_what_does_not_work_somewhere_is_no_cell_there():
    other = outcome("stress-ng:vfork")
    other["cell"] = other["cell"] | {"arch": "x86_64"}
    text = document([other], "stress-ng:brk")
    assert "| `vfork` | - | 1,234 (2.50) |" in text
    assert "| `brk` | not run | - |" in text


def test_rows_of_deadlines_are_counted_by_kernel():
    runs = [
        outcome("mremap", deadlines={"D7": 1000, "no row": 3}),
        outcome("stress-ng:vm", deadlines={"D7": 500}),
        outcome("munmap"),
    ]
    text = document(runs)
    assert "2 of 3 runs have kept count" in text
    assert "| D7, mremap | 1,500 |" in text
    assert "| D10, zap | 0 |" in text
    assert "| no row | 3 |" in text


def test_runs_from_before_rows_were_counted_are_read():
    text = document([outcome("munmap")])
    assert "0 of 1 runs have kept count" in text
    assert "| D7, mremap | ? |" in text


def test_of_the_coverage_the_rows_that_were_exercised_are_kept():
    result = {
        "kernel": {"release": "6.12.1-cloud"},
        "reasons": [],
        "events": {"ptes": 3},
        "lost": 0,
        "audit": {"mismatches": 0, "unknown_tables": 0},
        "windows": [],
        "rules": {},
        "coverage": {"flush:cr3_load": 9, "deadline:D3": 4, "deadline:D4": 0, "deadline:no row": 2},
    }
    assert verdicts.figures(result)["deadlines"] == {"D3": 4, "no row": 2}


@pytest.mark.parametrize("code", [0, 3])
def test_a_cell_whose_qemu_gave_up_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
):
    monkeypatch.setattr(campaign, "run", lambda cell, out, options: outcome(cell.what, code))
    words = f"--state {tmp_path}/state --runs {tmp_path}/runs --out {tmp_path}/out".split()
    words += ["--only", "* arm64 munmap", "debian:6.12"]
    monkeypatch.setattr("sys.argv", ["campaign", *words])
    assert campaign.main() == 0
    known = campaign.known(tmp_path / "state")
    assert list(known) == ([] if code else [Cell("debian:6.12", "arm64", "munmap")])
