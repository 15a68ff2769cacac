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
    text = verdicts.document([outcome("mremap"), bad])
    assert "1,243, **3 violations**" in text
    assert "* debian:6.12 arm64, munmap: exit 1: for a reason" in text
    assert verdicts.failed(bad)


def test_the_document_says_what_ran_and_with_what():
    text = verdicts.document([outcome("mremap"), outcome("munmap", release="6.12.2-cloud")])
    assert "(6.12.1-cloud, 6.12.2-cloud)" in text
    assert "Made with abcdef;" in text


def test_an_idle_rule_has_no_figure():
    assert "| `aliased-translation` | - |" in verdicts.document([outcome("mremap")])


def test_map_fixed_says_whose_rule_was_kept():
    window = {"count": 40, "p50": 1, "p99": 2, "max": 3, "aliased": 5, "outlived": 6}
    window["observers"] = {"a": {"stale": 3}, "b": {"stale": 4, "new": 9}}
    rules = {"stale-after-return": [True, 300, 0], "aliased-translation": [True, 300, 5]}
    text = verdicts.document([outcome("map_fixed", 1, windows=[window], rules=rules)])
    row = "| debian:6.12 arm64 | 300 | 40 | 1 | 2 | 3 | 7 | 5 | 6 | broken 5 times | kept |"
    assert row in text


def test_a_load_with_nothing_to_judge_is_skipped():
    load = outcome("stress-ng:brk", ExitCode.INCONCLUSIVE, reasons=[NOTHING_CHECKED])
    text = verdicts.document([load, outcome("stress-ng:vm")])
    assert "| `brk` | skipped |" in text
    assert "| `vm` | 1,234 (2.50) |" in text
    assert text.endswith("did not pass\n\nNothing.\n")


def test_a_run_without_a_result_is_told():
    text = verdicts.document([{k: outcome("munmap", 3)[k] for k in ("cell", "exit", "commit")}])
    assert "* debian:6.12 arm64, munmap: exit 3: \n" in text
