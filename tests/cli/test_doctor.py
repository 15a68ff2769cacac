"""What ``shootdown doctor --kernel`` says of kernels that can be used, and of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.kernel import debian
from shootdown.kernel.cache import cache_root
from shootdown.rules.check import RULES
from tests.kernel import lock_structs, synthetic
from tests.kernel.lock_structs import RT, SMALL

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
    assert report["rules"] == {rule.id: name in rule.archs for rule in RULES}
    assert not report["problem"]
    assert report["locks"] == {
        "mmap_lock": "rw_semaphore with a count of readers and a writer bit",
        "per-VMA lock": "vm_lock, a pointer to an rw_semaphore",
        "mm_lock_seq": "a seqcount_t",
        "page-table lock": "a spinlock in the table's descriptor",
    }


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


def test_what_cannot_be_used_is_said_as_run_says_it(cli: Cli, tmp_path: Path) -> None:
    blob = lock_structs.btf(tmp_path, lock_structs.structs(locks=RT + SMALL))
    image = synthetic.image()
    refused = {
        "is a PREEMPT_RT kernel": image + blob + bytes(-len(blob) % 8),
        "with pages of 16 KiB": image[:24] + b"\x0c" + image[25:],
        "with pages of 64 KiB": image[:24] + b"\x0e" + image[25:],
    }
    for number, (why, data) in enumerate(refused.items()):
        (tmp_path / "Image").write_bytes(data)
        run = ("run", "--arch", "arm64", "--out", f"out{number}")
        said = []
        for command in (("doctor",), run):
            code, _, err = cli(*command, "--kernel", tmp_path / "Image")
            assert code == 3
            said.append(err.splitlines()[-1])
        assert why in said[0] and said[0] == said[1]
