"""What ``shootdown doctor --kernel`` says of kernels that can be used, and of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.kernel import debian
from shootdown.kernel.cache import cache_root

from .conftest import Cli


@pytest.mark.parametrize("name", arch.names())
def test_stock_kernel(cli: Cli, name: str) -> None:
    code, out, err = cli("doctor", "--kernel", debian.DEFAULT, "--arch", name, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["arch"] == name
    assert report["image"] == str(debian.resolve(debian.DEFAULT, arch.get(name), cache_root()).path)
    states = {entry["source"]: entry["state"] for entry in report["symbols"] + report["types"]}
    assert list(states) == [
        "ELF symbol table",
        "System.map",
        "kallsyms in the image",
        "/proc/kallsyms",
        "BTF",
        "DWARF",
    ]
    assert [source for source, state in states.items() if state == "used"] == [
        "kallsyms in the image",
        "BTF",
    ]
    assert all(report["rules"].values()) and not report["problem"]


def test_what_is_wrong_is_named(cli: Cli, tmp_path: Path) -> None:
    stock = debian.resolve(debian.DEFAULT, arch.get("x86_64"), cache_root()).path
    other = debian.resolve("debian:6.12", arch.get("arm64"), cache_root()).path
    (tmp_path / "bzImage").symlink_to(stock)
    (tmp_path / "vmlinux").symlink_to(other)
    code, out, err = cli("doctor", "--kernel", tmp_path / "bzImage")
    assert code == 3
    assert "1. ELF symbol table       WRONG" in out
    assert "3. kallsyms in the image  spare" in out
    assert "stale-after-return: DISARMED" in out
    assert "are of different kernels (architecture arm64 and x86_64)" in err.splitlines()[-1]


def test_what_is_no_kernel(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("doctor", "--kernel", "/nonexistent")
    assert (code, "does not exist" in err) == (2, True)
    (tmp_path / "kernel").write_text("#!/bin/sh\n")
    code, _, err = cli("doctor", "--kernel", "kernel")
    assert (code, "no kernel image of a known form" in err) == (3, True)
