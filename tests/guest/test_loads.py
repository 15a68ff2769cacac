"""Real loads in real guests: stress-ng of the distribution's, judged as workloads are."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown import arch as arches
from shootdown.cli.main import main
from shootdown.loads.stress_ng import STRESSORS
from shootdown.run import directory

SMALL = ["--smp", "2", "--seconds", "3"]


def run(out: Path, *words: str) -> tuple[int, dict[str, object]]:
    code = main(["run", *SMALL, "--out", str(out), *words])
    return code, directory.read_json(out / "result.json")


@pytest.mark.guest
def test_a_stressor_is_a_workload(tmp_path: Path) -> None:
    """Threads share an address space here, so there is something to judge."""
    code, result = run(tmp_path / "run", "--arch", "x86_64", "--load", "stress-ng:vma")
    assert code == 0, result["reasons"]
    (load,) = result["workloads"]
    assert (load["name"], load["status"]) == ("stress-ng:vma", "pass")
    assert int(load["stats"]["bogo-ops"]) > 0
    assert float(load["stats"]["wall-clock-time"]) >= 3
    # The phase of the trace is the stressor's: what was exercised, was so by it.
    assert load["rules"]["stale-after-return"]["exercised"] > 0
    assert result["lost"] == result["audit"]["mismatches"] == 0
    again = main(["run", "--plan", str(tmp_path / "run" / "plan.toml"), "--dry-run"])
    assert again == 0


@pytest.mark.guest
def test_a_stressor_that_cannot_run_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As apparmor's, in a kernel that has none switched on."""
    table = {**STRESSORS, "apparmor": STRESSORS["brk"]}
    monkeypatch.setattr("shootdown.loads.stress_ng.STRESSORS", table)
    code, result = run(
        *(tmp_path / "run", "--arch", "x86_64", "--load", "stress-ng:apparmor"),
        *("--append", "apparmor=0"),
    )
    assert code == 7
    (load,) = result["workloads"]
    assert load["status"] == "skip"
    assert "apparmor cannot run here" in load["message"]
    assert "every workload was skipped" in " ".join(result["reasons"])
    assert "PASS" not in capfd.readouterr().out


@pytest.mark.guest
@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.2"])
@pytest.mark.parametrize(
    ("arch", "name"),
    [
        (arch, name)
        for arch in arches.names()
        for name, stressor in STRESSORS.items()
        if arch not in stressor.not_on
    ],
)
def test_stock_kernels_break_no_rule(arch: str, kernel: str, name: str, tmp_path: Path) -> None:
    """No finding, no lost event, an audit that agrees; some loads give nothing to judge."""
    words = ["--arch", arch, "--kernel", f"debian:{kernel}", "--load", f"stress-ng:{name}"]
    code, result = run(tmp_path / "run", *words)
    assert code in (0, 7)
    assert not result["violations"]
    assert result["lost"] == 0
    assert result["audit"]["mismatches"] == result["audit"]["unknown_tables"] == 0
    assert [load["status"] for load in result["workloads"]] == ["pass"]
