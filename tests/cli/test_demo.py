"""The demonstration, which needs no QEMU and no kernel."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from shootdown.demo import bundle
from shootdown.race import plan_file
from shootdown.run import directory

from .conftest import Cli


def test_without_anything(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/none")
    monkeypatch.setenv("SHOOTDOWN_CACHE", str(tmp_path / "cache"))
    code, out, err = cli("demo", "--out", "out")
    assert code == 0, err
    assert "hold mapper before pte_write present -> none" in out
    assert "VERDICT: FAIL (exit 1)" in out
    assert "BUG: shootdown: stale-after-return in mmap" in out
    assert "unmap_page_range+0x" in out
    assert "to repeat:\n  shootdown demo --live" in out
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["holds"] == {"planned": 1, "fired": 1, "timed_out": 0}
    again, text, _ = cli("check", "out")
    assert again == 1
    assert text in out


def test_a_recording_that_shows_nothing_is_no_success(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = directory.create(tmp_path / "run", 0)
    bundle.unpack(run)
    run.audit.write_text('{"error": "nobody looked"}')
    for trace in run.trace.iterdir():  # the boot alone
        trace.write_bytes(trace.read_bytes()[: 4096 + 64 * 1000])
    (tmp_path / "cut.tar.xz").write_bytes(b"")
    with tarfile.open(tmp_path / "cut.tar.xz", "w:xz") as file:
        file.add(run.path, ".")
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path / "cut.tar.xz")
    code, _, err = cli("demo")
    assert code == 3
    assert "the violation was not found" in err


def test_the_bundle_says_nothing_of_the_machine_it_was_made_on() -> None:
    with tarfile.open(bundle.BUNDLE) as file:
        for member in file:
            assert (member.uname, member.gname, member.uid) == ("", "", 0)
        command = file.extractfile("command.json")
        assert command is not None
        value = json.loads(command.read())
    kernel = value["kernel"]
    assert "/" not in kernel["image"] + "".join(kernel["files"])
    assert "/home" not in value["qemu_line"] and "/root" not in value["qemu_line"]


def test_the_recorded_plan_is_the_live_one(tmp_path: Path) -> None:
    run = directory.create(tmp_path / "run", 0)
    bundle.unpack(run)
    assert plan_file.load(run.race) == plan_file.load(bundle.PLAN)


@pytest.mark.guest
@pytest.mark.slow
def test_live(cli: Cli) -> None:
    code, out, err = cli("demo", "--live")
    assert code == 0, err
    assert "BUG: shootdown: stale-after-return in mmap" in out
