"""The set-up scripts on a machine that lacks something, and on one that lacks nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

REPOSITORY = Path(__file__).parents[2]
SETUP = REPOSITORY / "images" / "setup"


def run(
    script: Path | str, *args: str, user: int | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *args],
        cwd=REPOSITORY,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        user=user,
        check=False,
    )


def program(directory: Path, name: str, body: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH of one directory: every program of this machine, to take away from and to replace."""
    programs = tmp_path / "bin"
    link_programs(programs)
    return programs


def link_programs(into: Path) -> None:
    into.mkdir()
    for directory in reversed(os.environ["PATH"].split(":")):
        for original in Path(directory).glob("*"):
            link = into / original.name
            link.unlink(missing_ok=True)
            link.symlink_to(original)


def test_machine_that_lacks_nothing_is_not_touched(path: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    (path / "apt-get").unlink()
    program(path, "apt-get", f"touch {touched}")
    done = run(SETUP / "packages", PATH=str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not touched.exists()


@pytest.mark.parametrize(
    ("name", "package"), [("lzop", "lzop"), ("qemu-system-aarch64", "qemu-system-arm")]
)
def test_not_root_is_told_the_one_command(name: str, package: str) -> None:
    nobody = 65534 if os.geteuid() == 0 else None
    # A copy, where nobody can read it.
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        scripts, path = Path(directory, "setup"), Path(directory, "bin")
        shutil.copytree(SETUP, scripts)
        link_programs(path)
        (path / name).unlink()
        done = run(scripts / "packages", user=nobody, PATH=str(path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert package in done.stderr
    assert done.stderr.endswith(f"sudo {scripts}/packages\n")


def test_packages_for_kernels_are_a_set_of_their_own(path: Path) -> None:
    """Who boots kernels and builds none does not need pahole."""
    (path / "pahole").unlink(missing_ok=True)
    (path / "apt-get").unlink()
    assert run(SETUP / "packages", PATH=str(path)).returncode == 0
    done = run(SETUP / "packages", "kernel", PATH=str(path))
    assert done.returncode == 3
    assert "install the equivalents of" in done.stderr
    assert "dwarves" in done.stderr
    assert run(SETUP / "packages", "kernels").returncode == 2


def test_not_root_is_told_the_command_for_kernels() -> None:
    nobody = 65534 if os.geteuid() == 0 else None
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        scripts, path = Path(directory, "setup"), Path(directory, "bin")
        shutil.copytree(SETUP, scripts)
        link_programs(path)
        (path / "bison").unlink(missing_ok=True)
        done = run(scripts / "packages", "kernel", user=nobody, PATH=str(path))
    assert done.returncode == 2
    assert done.stderr.endswith(f"sudo {scripts}/packages kernel\n")
    assert "bison" in done.stderr


def test_old_qemu_is_as_good_as_none(path: Path) -> None:
    (path / "qemu-system-x86_64").unlink()
    (path / "apt-get").unlink()
    program(path, "qemu-system-x86_64", "echo QEMU emulator version 7.2.0")
    done = run(SETUP / "packages", PATH=str(path))
    assert done.returncode == 3
    assert "no apt-get: install the equivalents of qemu-system-x86\n" in done.stderr


def test_header_is_kept_by_version_of_qemu(path: Path, tmp_path: Path) -> None:
    (path / "qemu-system-x86_64").unlink()
    (path / "apt-get").unlink()
    program(path, "qemu-system-x86_64", "echo 'QEMU emulator version 99.1.2 (of a test)'")
    target = tmp_path / "include" / "qemu-plugin.h"
    cache = {"PATH": str(path), "SHOOTDOWN_CACHE": str(tmp_path / "cache")}

    unknown = run(SETUP / "plugin-header", str(target), **cache)
    assert unknown.returncode == 3
    assert unknown.stderr.count("\n") == 1
    assert "qemu-plugin.h of QEMU 99.1.2 was not found" in unknown.stderr
    assert not target.exists()

    kept = tmp_path / "cache" / "qemu" / "99.1.2" / "qemu-plugin.h"
    kept.parent.mkdir(parents=True)
    kept.write_text("#define QEMU_PLUGIN_VERSION 99\n")
    assert run(SETUP / "plugin-header", str(target), **cache).returncode == 0
    assert target.read_text() == kept.read_text()


def test_header_beside_qemu_comes_first(path: Path, tmp_path: Path) -> None:
    (path / "qemu-system-x86_64").unlink()
    program(path, "qemu-system-x86_64", "echo QEMU emulator version 99.1.2")
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "qemu-plugin.h").write_text("#define QEMU_PLUGIN_VERSION 98\n")
    target = tmp_path / "out.h"
    done = run(
        SETUP / "plugin-header", str(target), PATH=str(path), SHOOTDOWN_CACHE=str(tmp_path / "c")
    )
    assert done.returncode == 0
    assert "98" in target.read_text()


def test_package_index_out_of_reach(tmp_path: Path) -> None:
    done = run(
        SETUP / "venv",
        str(tmp_path / "venv"),
        PIP_INDEX_URL="http://127.0.0.1:9/",
        PIP_CONFIG_FILE="/dev/null",
        PIP_RETRIES="0",
        PIP_FIND_LINKS="",
        PIP_NO_CACHE_DIR="1",
    )
    assert done.returncode == 3
    assert "pip could not install" in done.stderr.splitlines()[-1]


def test_second_setup_does_nothing() -> None:
    # pytest runs below make: its flags are not for this one.
    assert run("make", "setup", MAKEFLAGS="").returncode == 0
    done = run("make", "--question", "setup", MAKEFLAGS="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
