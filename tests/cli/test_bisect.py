"""What ``shootdown bisect`` tells git: never that a kernel is bad when something else is."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shootdown.cli import bisect
from shootdown.errors import InconclusiveError
from shootdown.report.result import Kind, Result, Rule, Violation

from .conftest import Cli

RULE = "stale-after-return"
OTHER = "aliased-translation"


def test_every_code_but_a_verdict_is_skipped() -> None:
    verdicts = {0: 0, 1: 1}
    for code in range(128):
        assert bisect.translate(code) == verdicts.get(code, 125)
    assert [bisect.translate(code) for code in (130, 143)] == [130, 143]  # git stops


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--bogus"], "--bogus"),
        (["--workload", "map_fxed"], "did you mean map_fixed?"),
        (["--expect", "stale-after-retrun"], "did you mean stale-after-return or"),
        (["--kernel", "debian:6.12"], "debian:6.12 is the same kernel at every commit"),
        (["--dry-run"], "use `shootdown run --dry-run`"),
        (["--plan", "none.toml"], "none.toml cannot be read"),
        (["--kernel", "arch/x86/boot/bzImage"], "arch/x86/boot/bzImage does not exist"),
        ([], "is no kernel build tree"),
    ],
)
def test_what_is_wrong_is_no_bad_kernel(
    cli: Cli, tmp_path: Path, words: list[str], says: str
) -> None:
    code, out, err = cli("bisect", *words)
    assert (code, out) == (125, "")
    error, last = err.splitlines()
    assert error.startswith("shootdown: error: ") and says in error
    assert last == "shootdown: exit code 2 is 125 for git: skip"
    assert not any(tmp_path.iterdir())


def test_no_kernel_is_no_bad_kernel(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "Image").write_bytes(b"not a kernel" * 1000)
    code, _, err = cli("--debug", "bisect", "--kernel", "Image")
    assert code == 125
    assert "no kernel image of a known form" in err


@pytest.mark.parametrize(
    ("build", "how"),
    [
        ("echo compiling; exit 1", "ended with 1"),
        ("echo compiling; kill -9 $$", "was ended by signal 9"),
        ("echo compiling; read answer", "ended with 1"),  # nobody is asked
    ],
)
def test_failing_build(cli: Cli, tmp_path: Path, build: str, how: str) -> None:
    code, out, err = cli("bisect", "--build", build)
    assert (code, out) == (125, "")
    assert "compiling" in err.splitlines()
    assert f"shootdown: error: the build {how}: {build}; nothing of this commit was run" in err
    assert not any(tmp_path.iterdir())


def test_nothing_is_built_for_a_wrong_command_line(cli: Cli, tmp_path: Path) -> None:
    code, _, _ = cli("bisect", "--build", "touch built", "--workload", "map_fxed")
    assert code == 125
    assert not any(tmp_path.iterdir())


def test_interrupted_build(
    background: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    build = "echo $$ > pid; sleep 1000 & wait"
    process = background("bisect", "--build", build)
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)  # also waits for the last writer: sleep
    assert process.returncode == 143
    assert err.splitlines()[-1] == "shootdown: terminated"


def test_a_bug_of_ours_is_no_bad_kernel(tmp_path: Path) -> None:
    """Python ends with 1 after a traceback and with 120 when it cannot flush its output."""
    script = "sys.exit(bisect.guarded(lambda: print('report') or {}))"
    for action in ("1 // 0", "sys.stdout.flush()"):
        code = f"import sys; from shootdown.cli import bisect; {script.format(action)}"
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 125
        assert b"Traceback" in done.stderr


def result(code: int, rule: Rule, *broken: str) -> Result:
    kind: Kind = "may"
    common = {"kind": kind, "arch": "x86_64", "mm": 0, "va": 0, "cpus": [0], "site": "munmap"}
    found = [
        Violation(rule=name, summary="", fingerprint="", seq=[1], **common)  # type: ignore[arg-type]
        for name in broken
    ]
    return Result(code, "x86_64", rules={RULE: rule}, violations=found)


ARMED = Rule(armed=True, exercised=1, violations=0, may=0, witness=0)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (result(1, ARMED, OTHER), f"not {RULE} was broken, but {OTHER}"),
        (result(0, Rule(False, 0, 0, 0, 0)), "was not armed"),
        (result(0, Rule(True, 0, 0, 0, 0)), "was not exercised"),
    ],
)
def test_verdicts_about_another_rule(found: Result, why: str) -> None:
    with pytest.raises(InconclusiveError, match=why):
        bisect._demand(RULE, found)


def test_verdicts_about_the_rule() -> None:
    bisect._demand(RULE, result(0, ARMED))
    bisect._demand(RULE, result(1, ARMED, OTHER, RULE))
    bisect._demand(RULE, result(5, ARMED))
