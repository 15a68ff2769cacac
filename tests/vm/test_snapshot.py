from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shootdown import arch as architectures
from shootdown.vm import snapshot
from shootdown.vm.agent import Hello
from shootdown.vm.command import GuestConfig
from shootdown.vm.snapshot import Snapshot


@pytest.fixture
def config(tmp_path: Path) -> GuestConfig:
    for name in ("vmlinuz", "initramfs"):
        (tmp_path / name).write_text(name)
    return GuestConfig(
        arch=architectures.get("x86_64"),
        kernel=tmp_path / "vmlinuz",
        initramfs=tmp_path / "initramfs",
        run_dir=tmp_path / "run",
    )


def key(config: GuestConfig) -> str:
    return snapshot.key(config, [config.kernel])


@pytest.mark.parametrize(
    "other",
    [
        {"smp": 3},
        {"mem_mib": 256},
        {"cmdline": ("nopti",)},
        {"qemu_args": ("-nic", "none")},
        {"arch": architectures.get("arm64")},
    ],
)
def test_another_machine_has_another_snapshot(config: GuestConfig, other: dict[str, Any]) -> None:
    assert key(replace(config, **other)) != key(config)


@pytest.mark.parametrize("name", ["kernel", "initramfs"])
def test_content_counts_and_names_do_not(config: GuestConfig, tmp_path: Path, name: str) -> None:
    before = key(config)
    file: Path = getattr(config, name)
    moved = file.rename(tmp_path / "moved")
    same = replace(config, **{name: moved})
    assert snapshot.key(same, [same.kernel]) == before
    moved.write_text("other content")
    assert snapshot.key(same, [same.kernel]) != before


def test_symbols_count(config: GuestConfig, tmp_path: Path) -> None:
    (tmp_path / "System.map").write_text("0 T start")
    files = [config.kernel, tmp_path / "System.map"]
    assert snapshot.key(config, files) != key(config)


def test_what_is_free_to_change_after_a_restore(config: GuestConfig) -> None:
    other = replace(
        config,
        seed=7,
        thread="single",
        plugin=Path("/p"),
        plan=Path("/plan"),
        gdb=True,
        start_paused=True,
        run_dir=Path("/elsewhere"),
    )
    assert key(other) == key(config)
    assert key(snapshot.restorable(other)) == key(config)


Publish = Callable[..., Snapshot]


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Make an entry with so many bytes, used so many seconds ago."""

    def make(name: str, size: int = 4096, age: float = 0) -> Snapshot:
        directory = tmp_path / "snapshots"
        made = Snapshot(
            entry=directory / name,
            hello=Hello("x86_64", "6.12"),
            workloads={"munmap": "goes"},
            registers=({"cr3": 0x1000}, {"cr3": 0x2000}),
            mms={0xFFFF888000001000: 0xFFFF888000002000},
            kernel_root=0x2000,
            kernel_levels=4,
            kernel_slots=512,
            slide=0x200000,
        )
        with snapshot.staged(directory, name) as part:
            (part / snapshot.STATE).write_bytes(b"x" * size)
            (part / snapshot.CONSOLE).write_bytes(b"booted")
            snapshot.publish(part, made)
        os.utime(made.entry, (time.time() - age,) * 2)
        return made

    return make


def test_what_was_saved_is_found(publish: Publish, tmp_path: Path) -> None:
    made = publish("one")
    assert snapshot.find(tmp_path / "snapshots", "one") == made
    assert made.console == b"booted"
    assert snapshot.find(tmp_path / "snapshots", "two") is None


def test_half_an_entry_is_none(publish: Publish, tmp_path: Path) -> None:
    made = publish("one")
    made.state.write_bytes(b"x" * 100)
    assert snapshot.find(tmp_path / "snapshots", "one") is None
    made = publish("one")  # takes its place
    for damage in ("{", "[]", '{"state_bytes": 4096}'):
        (made.entry / "snapshot.json").write_text(damage)
        assert snapshot.find(tmp_path / "snapshots", "one") is None
    made.state.unlink()
    assert snapshot.find(tmp_path / "snapshots", "one") is None


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyError), snapshot.staged(tmp_path, "one") as part:
        (part / "state").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_go(publish: Publish, tmp_path: Path) -> None:
    directory = tmp_path / "snapshots"
    for name, age in (("old", 300), ("middle", 200), ("new", 100)):
        publish(name, size=1 << 20, age=age)
    assert snapshot.find(directory, "old")  # used just now
    assert snapshot.prune(directory, limit=5 << 19) == ["middle"]
    assert sorted(path.name for path in directory.iterdir()) == ["new", "old"]
    assert snapshot.prune(directory, limit=1) == ["new"]  # the newest stays, whatever its size


def test_what_the_dead_were_making_goes(publish: Publish, tmp_path: Path) -> None:
    publish("one")
    directory = tmp_path / "snapshots"
    for pid in (os.getpid(), 2**22 + 1):
        (directory / f".part-two-{pid}").mkdir()
    assert snapshot.prune(directory) == []
    assert sorted(path.name for path in directory.iterdir()) == [f".part-two-{os.getpid()}", "one"]
