"""Checking real guests while they run: the same verdict, a stop at a violation, a look at it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shootdown.cli.main import main
from shootdown.report.result import load
from shootdown.run import checkstage
from shootdown.run.directory import RunDir
from shootdown.trace.reader import Trace

pytestmark = pytest.mark.guest

GUEST = ("--smp", "2", "--mem", "256", "--kernel", "debian:6.12")
SECONDS = 300
# Where the stretches of a live check end is chance. One in a dozen or so ends between what a page
# lost and its declaration, and then the trace is checked again, as it has to be.
RUNS = 3


def judged(value: dict[str, Any]) -> dict[str, Any]:
    """A result but for how long it took."""
    return {key: item for key, item in value.items() if key != "timing"}


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_live_and_afterwards_are_the_same(
    arch: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--arch", arch, "--workload", "map_fixed", "--iterations", "40", *GUEST]
    for attempt in range(RUNS):
        out = tmp_path / str(attempt)
        assert main(["run", *words, "--out", str(out)]) == 0
        _, said = capfd.readouterr()
        if "again: a page was watched" not in said:
            break
    assert "again" not in said and "failed" not in said
    assert not re.search(r"^check \d+ events", said, re.MULTILINE)  # it was checked already
    run = RunDir(out)
    live = load(run.result)
    assert live.rules["stale-after-return"].exercised > 0
    again = checkstage.check(run, lambda text: None)
    assert judged(live.to_json()) == judged(again.to_json())


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_violation_stops_the_guest(
    arch: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the flush init alone violates a rule: the guest does not come to its workload."""
    words = ["--arch", arch, "--workload", "map_fixed", "--mutate", "no-flush", *GUEST]
    run = RunDir(tmp_path / "run")
    assert main(["run", *words, "--stop-on-violation", "--out", str(run.path)]) == 1
    out, _ = capfd.readouterr()
    assert "the guest ran on for" in out
    result = load(run.result)
    assert result.guest.ended == "stopped"
    assert result.audit.done and not result.audit.mismatches
    first = min(violation.seq[-1] for violation in result.violations)
    assert result.stopped["seq"] == first
    trace = Trace(run.trace)
    assert trace.complete and not trace.lost
    whole = sum(map(len, trace.per_cpu))
    assert result.stopped["events"] == whole - first - 1
    assert all(workload.status != "pass" for workload in result.workloads)


def test_paused_guest_can_be_looked_at(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    words = ["run", "--workload", "map_fixed", "--mutate", "no-flush", *GUEST, "--pause"]
    command = [sys.executable, "-m", "shootdown.cli", *words, "--out", str(run.path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line.strip())
                if line.startswith("press ^C"):
                    break
            (debugger,) = [line for line in said if line.startswith("gdb-multiarch")]
            look = (
                "-batch -ex 'p/x $pc' -ex 'info symbol rest_init' -ex 'info threads' -ex disconnect"
            )
            seen = subprocess.run(
                f"{debugger} --nx {look}",
                shell=True,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=True,
            ).stdout
            process.send_signal(signal.SIGTERM)
            out, rest = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert re.search(r"^\$1 = 0x[0-9a-f]+$", seen, re.MULTILINE), seen
    assert "rest_init in section .text" in seen
    assert "CPU#1" in seen
    assert process.returncode == 1, rest
    assert "BUG: shootdown:" in out
    assert Trace(run.trace).complete
    assert load(run.result).audit.done
    assert b"OSRELEASE=" in run.vmcoreinfo.read_bytes()
