"""Guests that misbehave, and runs that are cut short: the exit code, one sentence, what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cli

pytestmark = pytest.mark.guest

SMALL = ("--arch", "x86_64", "--smp", "2", "--mem", "256", "--out", "out")


def result(directory: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((directory / "result.json").read_text())
    return value


def test_panic_shows_the_console(cli: Cli, naughty: Path, tmp_path: Path) -> None:
    code, out, err = cli("run", *SMALL, "--", naughty, "panic")
    assert code == 5
    assert "VERDICT: CRASH (exit 5)" in out
    assert "sysrq" in out.lower()
    assert "Traceback" not in err
    found = result(tmp_path / "out")
    assert found["workloads"][0]["status"] == "crash"
    assert found["guest"]["tail"]


def test_early_panic_is_no_pass(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("record", *SMALL, "--append", "rdinit=/nonexistent init=/nonexistent")
    assert code == 5
    assert err.splitlines()[-1].startswith("shootdown: error: ")
    assert "  | " in err and "panic" in err


def test_guest_that_ends_by_itself(cli: Cli, naughty: Path) -> None:
    code, out, _ = cli("run", *SMALL, "--", naughty, "poweroff")
    assert code == 5
    assert "without a panic" in " ".join(out.split())


def test_flood_and_a_program_that_fails(cli: Cli, naughty: Path, tmp_path: Path) -> None:
    code, out, _ = cli("run", *SMALL, "--no-plugin", "--", naughty, "flood")
    assert code == 7
    console = (tmp_path / "out" / "console.log").read_bytes()
    assert b"flood 4999" in console
    assert "\033" not in out


def test_nothing_exercised_is_inconclusive(cli: Cli, naughty: Path, tmp_path: Path) -> None:
    code, out, _ = cli("run", *SMALL, "--", naughty, "fail")
    assert code == 7
    assert "PASS" not in out
    reasons = " ".join(result(tmp_path / "out")["reasons"])
    assert "status 9" in reasons
    # The same directory again, offline, and as KTAP.
    again, tap, _ = cli("check", "out", "--format", "ktap")
    assert again == 7
    assert "not ok 1 naughty # status 9" in tap
    assert result(tmp_path / "out")["audit"]["mismatches"] == 0


def wait_for(path: Path, text: str, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.2)
    raise AssertionError(process.communicate())


def qemu_of(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        if "qemu-system" in Path(f"/proc/{child}/cmdline").read_text():
            return int(child)
    raise AssertionError(children)


Background = Callable[..., "subprocess.Popen[str]"]


def test_terminated_run_can_be_checked(
    cli: Cli, background: Background, naughty: Path, tmp_path: Path
) -> None:
    process = background("run", *SMALL, "--", naughty, "hang")
    wait_for(tmp_path / "out" / "agent.log", "start exec", process)
    qemu = qemu_of(process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert err.splitlines()[-1] == "shootdown: terminated"
    with pytest.raises(ProcessLookupError):
        os.kill(qemu, 0)
    code, out, _ = cli("check", "out")
    assert code == 7
    assert "the recording was interrupted" in out
    assert result(tmp_path / "out")["lost"] == 0  # QEMU ended in order: nothing is missing


def test_killed_qemu_leaves_a_directory_to_check(
    cli: Cli, background: Background, naughty: Path, tmp_path: Path
) -> None:
    process = background("run", *SMALL, "--", naughty, "hang")
    wait_for(tmp_path / "out" / "agent.log", "start exec", process)
    os.kill(qemu_of(process), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "signal 9" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert result(tmp_path / "out")["verdict"] == "error"
    code, _, err = cli("check", "out")
    assert code == 3
    assert "Traceback" not in err


def test_hang_is_a_timeout(cli: Cli, naughty: Path, tmp_path: Path) -> None:
    code, out, _ = cli("run", *SMALL, "--timeout", "5", "--", naughty, "hang")
    assert code == 6
    assert "VERDICT: TIMEOUT (exit 6)" in out
    assert result(tmp_path / "out")["workloads"][0]["status"] == "timeout"
