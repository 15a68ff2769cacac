"""What is wrong with a command line is said in one sentence, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.cli.main import main
from shootdown.kernel import debian
from shootdown.kernel.cache import cache_root
from shootdown.run.experiment import Experiment

from .conftest import Cli


def one_sentence(err: str) -> str:
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("shootdown: error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--workload", "map_fxed"], "did you mean map_fixed?"),
        (["run", "--kernel", "/nonexistent"], "/nonexistent does not exist"),
        (["run", "--kernel", "/proc"], "/proc is no kernel build tree"),
        (["run", "--arch", "riscv"], "riscv"),
        (["run", "--policy", "wilcock"], "did you mean wilcox?"),
        (["run", "--thread", "both"], "unknown thread 'both'"),
        (["run", "--mutate", "noflush"], "did you mean no-flush or"),
        (["run", "--iterations", "-1"], "iterations is -1"),
        (["run", "--iterations", "x"], "--iterations"),
        (["run", "--"], "nothing stands behind --"),
        (["run", "--", "/nonexistent"], "program /nonexistent does not exist"),
        (["run", "--plan", "none.toml"], "none.toml cannot be read"),
        (["run", "--bogus"], "--bogus"),
        (["run", "--kernel", "built:6.12+nosuch"], "there is no variant nosuch"),
        (["run", "--kernel", "built:6.12+tlbi-no-dsb"], "is for arm64, not x86_64"),
        (["ci", "--kernel", "built:six"], "'built:six' is no built kernel"),
        (["build-kernel", "6.12"], "'6.12' is no built kernel"),
        (["build-kernel", "built:6.12", "--arch", "riscv"], "riscv"),
        (["ci", "--workload", "map_fxed"], "did you mean map_fixed?"),
        (["ci", "--kernel", "/nonexistent"], "/nonexistent does not exist"),
        (["ci", "--jobs", "0"], "--jobs is 0"),
        (["ci", "--", "/bin/true"], "ci takes no guest command"),
        (["race"], "name a race"),
        (["race", "munmap", "--trials", "0"], "--trials is 0"),
        (["race", "munmap", "--", "/bin/true"], "race takes no guest command"),
        (["race", "munmap::load_befor_flush"], "did you mean munmap::load_before_flush"),
        (["search", "--trials", "0"], "--trials is 0"),
        (["search", "--inject", "targetted"], "did you mean targeted?"),
        (["search", "--inject", "none.toml"], "none.toml cannot be read"),
        (["search", "--inject", "pct", "--thread", "single"], "needs --thread multi"),
        (["search", "--deterministic"], "needs --thread multi"),
        (["run", "--inject", "random", "--deterministic"], "needs --thread multi"),
        (["run", "--inject", "plain", "--no-plugin"], "needs the plugin"),
        (["run", "--deterministic", "--thread", "multi"], "needs --thread single"),
        (["race", "none.py"], "there is no file none.py"),
        (["race", "none.toml"], "none.toml cannot be read"),
        (["race", "munmap", "--arch", "riscv"], "riscv"),
        (["race", "munmap", "--kernel", "/nonexistent"], "/nonexistent does not exist"),
        (["race", "munmap", "--mutate", "noflush"], "did you mean no-flush or"),
        (["check", "nowhere"], "nowhere is no directory"),
        (["report", "."], "no plan.toml"),
        (["explain", "stale-after-retrun"], "did you mean stale-after-return"),
        (["fetch", "--arch", "riscv"], "riscv"),
        (["frobnicate"], "frobnicate"),
        ([], "COMMAND"),
    ],
)
def test_usage_errors(cli: Cli, tmp_path: Path, words: list[str], says: str) -> None:
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert says in one_sentence(err)
    assert not any(tmp_path.iterdir())


def test_build_tree_without_image(cli: Cli, tmp_path: Path) -> None:
    tree = tmp_path / "linux"
    tree.mkdir()
    (tree / ".config").touch()
    code, _, err = cli("run", "--kernel", tree)
    assert code == 2
    assert "without a boot image" in one_sentence(err)


def test_output_directory_in_use(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text("old")
    code, _, err = cli("run", "--out", "out")
    assert code == 2
    assert "not empty" in one_sentence(err)
    assert (tmp_path / "out" / "result.json").read_text() == "old"


@pytest.mark.parametrize("command", ["run", "ci", "record"])
def test_unwritable_output_directory(cli: Cli, command: str) -> None:
    code, _, err = cli(command, "--out", "/proc/shootdown")
    assert code == 3
    assert "cannot write /proc/shootdown" in one_sentence(err)


def test_full_output_directory(cli: Cli, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs takes root")
    try:
        code, _, err = cli("run", "--out", full / "out")
    finally:
        subprocess.run(["umount", full], check=True)
    assert code == 3
    assert "MiB free" in one_sentence(err)


def test_no_debian_kernel(cli: Cli) -> None:
    code, _, err = cli("run", "--kernel", "debian:abc")
    assert code == 2
    assert "'debian:abc' is no Debian kernel" in err.splitlines()[-1]


def test_no_kernel_at_all(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"not a kernel" * 1000)
    code, _, err = cli("run", "--kernel", "vmlinuz", "--out", "out")
    assert code == 3
    assert "vmlinuz" in err.splitlines()[-1]
    # What was tried, and why it failed, is on record.
    assert json.loads((tmp_path / "out" / "result.json").read_text())["verdict"] == "error"
    assert (tmp_path / "out" / "plan.toml").is_file()


def test_kernel_of_another_architecture(cli: Cli) -> None:
    image = debian.resolve(debian.DEFAULT, arch.get("arm64"), cache_root()).path
    code, _, err = cli("run", "--arch", "x86_64", "--kernel", image, "--out", "out")
    assert code == 3
    last = err.splitlines()[-1]
    assert last.startswith("shootdown: error: ")
    assert "arm64" in last and "x86_64" in last


def test_qemu_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    qemu_version = __import__("shootdown.vm.process", fromlist=["x"]).qemu_version
    qemu_version.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = cli("run", "--out", "out")
    qemu_version.cache_clear()
    assert code == 3
    assert "qemu-system-x86_64" in err.splitlines()[-1]


def test_nothing_built(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHOOTDOWN_BUILD", str(tmp_path / "empty"))
    code, _, err = cli("run", "--out", "out")
    assert code == 3
    assert "run `make" in err.splitlines()[-1]


def test_debug_shows_where(cli: Cli) -> None:
    _, _, quiet = cli("check", "nowhere")
    _, _, loud = cli("--debug", "check", "nowhere")
    assert "Traceback" not in quiet
    assert "Traceback" in loud and loud.splitlines()[-1] == quiet.splitlines()[-1]


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        "run",
        "ci",
        "bisect",
        "record",
        "check",
        "report",
        "explain",
        "fetch",
        "doctor",
    ):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert f"shootdown {command}" in capsys.readouterr().out


def test_lone_json_swallows_no_argument(cli: Cli) -> None:
    code, out, _ = cli("explain", "--json", "stale-after-return")
    assert code == 0
    assert json.loads(out)["id"] == "stale-after-return"


def test_json_to_a_file_keeps_the_text(cli: Cli, tmp_path: Path) -> None:
    _, out, _ = cli("explain", "stale-after-return", "--json=rule.json")
    assert out.startswith("stale-after-return: ")
    assert json.loads((tmp_path / "rule.json").read_text())["id"] == "stale-after-return"


def test_dry_run_prints_the_qemu_line(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("run", "--dry-run", "--smp", "2", "--append", "loglevel=7")
    assert code == 0
    assert out.startswith("qemu-system-x86_64 ") and "-smp 2" in out and "loglevel=7" in out
    assert not any(tmp_path.iterdir())


def test_plan_and_options_together(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(Experiment("x86_64", smp=4, mem=300).to_toml())
    _, out, _ = cli("run", "--dry-run", "--plan", "plan.toml", "--mem", "310")
    assert "-smp 4" in out and "-m 310M" in out


def test_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "shootdown.cli", "explain", "stale-after-return"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    os.close(write)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_a_defect_does_not_look_like_a_violation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> int:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("shootdown.cli.explain.execute", broken)
    assert main(["explain", "stale-after-return"]) == 3
    said = one_sentence(capsys.readouterr().err)
    assert "defect of shootdown: ZeroDivisionError in test_usage.py" in said
    assert main(["--debug", "explain", "stale-after-return"]) == 3
    assert "Traceback" in capsys.readouterr().err
