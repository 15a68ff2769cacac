"""A program with its libraries, from the real mirror."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.errors import InfraError
from shootdown.kernel.cache import cache_root
from shootdown.loads import debian
from shootdown.loads.elf import linkage

OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.mark.parametrize("name", arch.names())
def test_everything_that_is_needed_is_there(name: str) -> None:
    program = debian.fetch("stress-ng", arch.get(name), cache_root())
    places = dict(program.files)
    assert program.path == "/usr/bin/stress-ng"
    assert linkage(places[program.path]).interpreter in places
    for file in places.values():
        linked = linkage(file)
        assert linked.machine == arch.get(name).machine.elf_machine
        assert {f"/lib/{soname}" for soname in linked.needed} <= set(places), file
    assert program.version


def test_second_use_needs_neither_network_nor_apt() -> None:
    first = debian.fetch("stress-ng", arch.get("x86_64"), cache_root())
    code = (
        "from shootdown import arch; from shootdown.kernel.cache import cache_root;"
        "from shootdown.loads import debian;"
        "print(debian.fetch('stress-ng', arch.get('x86_64'), cache_root()).files[0][1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **OFFLINE, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == (str(first.files[0][1]), "")


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(InfraError, match="cannot keep stress-ng in"):
        debian.fetch("stress-ng", arch.get("x86_64"), in_the_way)


@pytest.fixture(scope="module")
def shared_lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of its own that has the package lists of the machine's, read an hour ago at most."""
    debian.fetch("stress-ng", arch.get("arm64"), cache_root())
    cache = tmp_path_factory.mktemp("cache")
    (cache / "apt").mkdir()
    subprocess.run(["cp", "-a", cache_root() / "apt" / "arm64", cache / "apt"], check=True)
    return cache


def test_fetch(shared_lists: Path) -> None:
    """Another program, small: found, fetched, unpacked and closed over its libraries."""
    program = debian.fetch("hello", arch.get("arm64"), shared_lists)
    assert [place for place, _ in program.files] == [
        "/usr/bin/hello",
        "/lib/ld-linux-aarch64.so.1",
        "/lib/libc.so.6",
    ]
    assert not list((shared_lists / "loads" / "arm64").glob(".fetch-*"))


def test_no_such_package(shared_lists: Path) -> None:
    with pytest.raises(InfraError, match="no package no-such-load"):
        debian.fetch("no-such-load", arch.get("arm64"), shared_lists)


def test_package_without_a_program(shared_lists: Path) -> None:
    with pytest.raises(InfraError, match="holds no program libmd0"):
        debian.fetch("libmd0", arch.get("arm64"), shared_lists)
