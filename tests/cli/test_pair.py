"""The same kernels with and without their flushes: silence, and both kinds of violation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shootdown import arch
from tests.report.ktap_parser import parse

from .conftest import Cli

pytestmark = pytest.mark.guest

WORKLOADS = "map_fixed,munmap"
RULE = "stale-after-return"


def results(out: Path) -> dict[str, dict[str, Any]]:
    return {name: json.loads((out / name / "result.json").read_text()) for name in arch.names()}


def test_stock_kernels_are_silent(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("ci", "--workload", WORKLOADS, "--iterations", "100", "--out", "out")
    assert code == 0, out
    *tap, last = out.splitlines()
    assert last.startswith("# x86_64 pass, arm64 pass")
    assert [case.name for case in parse("\n".join(tap))] == list(arch.names())
    for result in results(tmp_path / "out").values():
        assert result["rules"][RULE]["exercised"] > 50
        told = [workload["rules"][RULE]["exercised"] for workload in result["workloads"]]
        assert min(told) > 10  # each workload provokes what it is for
        assert sum(told) <= result["rules"][RULE]["exercised"]
        assert result["lost"] == 0
        assert result["audit"]["nonzero"] > 1000
        assert result["audit"]["mismatches"] == result["audit"]["unknown_tables"] == 0
        loud = next(w for w in result["windows"] if w["operation"] == "mmap(MAP_FIXED)")
        assert loud["count"] > 0 and loud["outlived"] == 0
        assert sum(sum(saw.values()) for saw in loud["observers"].values()) > 0


def test_without_flushes_both_kinds_are_found(cli: Cli, tmp_path: Path) -> None:
    words = ("--workload", WORKLOADS, "--iterations", "100", "--mutate", "no-flush")
    code, out, _ = cli("ci", *words, "--out", "out")
    assert code == 1, out
    for name, result in results(tmp_path / "out").items():
        assert result["exit_code"] == 1, name
        assert result["rules"][RULE]["may"] > 0, name
        assert result["rules"][RULE]["witness"] > 0, name
        assert result["audit"]["mismatches"] == 0, name
        report = (tmp_path / "out" / name / "report.txt").read_text()
        assert f"BUG: shootdown: {RULE} in " in report
        assert "--mutate no-flush" in report
