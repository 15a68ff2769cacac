"""Saved guests, in the cache: booted once, then restored for every trial.

An entry is a directory named by everything that decides what is in it (``key``). It holds QEMU's
state in one sparse file, in which every page of RAM has a fixed place (``mapped-ram``), and what
was known of the guest when it was saved. Entries appear whole or not at all, are never changed, and
may be removed at any time: whoever restores one has its file open.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from shootdown.kernel.cache import read_json, sha256, write_json
from shootdown.vm.agent import Hello
from shootdown.vm.command import GuestConfig, Sockets, command
from shootdown.vm.process import qemu_version

FORMAT: Final = 3
"""Goes up when what an entry holds, or how it is found, changes."""
LIMIT_BYTES: Final = 4 << 30
"""Disk space that all entries together may take; the least recently used ones go first."""
STATE: Final = "state"
CONSOLE: Final = "console.log"
_ABOUT: Final = "snapshot.json"
_PART: Final = ".part-"


@dataclass(frozen=True)
class Snapshot:
    """A saved guest: its agent had said that it is ready, and no task was running."""

    entry: Path
    """Its directory."""
    hello: Hello
    workloads: Mapping[str, str]
    """The agent's workloads: headline by name."""
    registers: tuple[Mapping[str, int], ...]
    """Of each vCPU: the registers that hold translation roots, by gdb's names."""
    mms: Mapping[int, int]
    """VA of every mm_struct, and VA of its root table."""
    kernel_root: int
    """PA of the kernel's root table."""
    kernel_levels: int
    """Levels of the kernel's page tables."""
    kernel_slots: int
    """Entries of the kernel's root table."""
    slide: int
    """Bytes that KASLR has added to the kernel's VAs."""

    @property
    def state(self) -> Path:
        """What QEMU saved."""
        return self.entry / STATE

    @property
    def console(self) -> bytes:
        """The console's output up to then. Raises OSError."""
        return (self.entry / CONSOLE).read_bytes()


def key(config: GuestConfig, described_by: Sequence[Path]) -> str:
    """Name of the entry for a configuration.

    It covers QEMU's version and its whole command line, but for what a restored guest may have
    otherwise (plugin, gdbstub, seed, threads), and the content of kernel and initramfs instead of
    their names. ``described_by`` are the files that symbols and types were read from: with others,
    an entry would hold other things. Raises OSError when they cannot be read, InfraError without
    QEMU.
    """
    line = command(
        replace(
            bootable(config),
            kernel=Path(sha256(config.kernel)),
            initramfs=Path(sha256(config.initramfs)),
        ),
        Sockets(Path("DIR")),
    )
    sums = [sha256(file) for file in described_by]
    parts = [FORMAT, qemu_version(config.arch.machine.qemu), line, sums]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def bootable(config: GuestConfig) -> GuestConfig:
    """The guest that is booted to be saved: plain, whatever it will be restored for."""
    return replace(
        config,
        plugin=None,
        plan=None,
        seed=GuestConfig.seed,
        thread=GuestConfig.thread,
        gdb=True,
        start_paused=False,
        incoming=False,
    )


def restorable(config: GuestConfig) -> GuestConfig:
    """The guest that a saved state is loaded into."""
    return replace(config, start_paused=True, incoming=True)


def root(cache_root: Path) -> Path:
    """Directory of the entries."""
    return cache_root / "snapshots"


def find(directory: Path, name: str) -> Snapshot | None:
    """The entry ``key`` names below ``root``; None when there is none that is whole."""
    entry = directory / name
    about = read_json(entry / _ABOUT)
    try:
        if about is None or (entry / STATE).stat().st_size != about["state_bytes"]:
            return None
        os.utime(entry)  # used last: now
        return Snapshot(
            entry=entry,
            hello=Hello(**about["hello"]),
            workloads=about["workloads"],
            registers=tuple(about["registers"]),
            mms={int(mm, 16): int(pgd, 16) for mm, pgd in about["mms"].items()},
            kernel_root=about["kernel_root"],
            kernel_levels=about["kernel_levels"],
            kernel_slots=about["kernel_slots"],
            slide=about["slide"],
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


@contextmanager
def staged(directory: Path, name: str) -> Iterator[Path]:
    """A directory to make an entry in; what is left of it afterwards is removed."""
    part = directory / f"{_PART}{name}-{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def publish(part: Path, snapshot: Snapshot) -> None:
    """Make the staged files, described by ``snapshot``, its entry. Raises OSError."""
    about = {
        "hello": {"arch": snapshot.hello.arch, "release": snapshot.hello.release},
        "workloads": dict(snapshot.workloads),
        "registers": [dict(values) for values in snapshot.registers],
        "mms": {hex(mm): hex(pgd) for mm, pgd in snapshot.mms.items()},
        "kernel_root": snapshot.kernel_root,
        "kernel_levels": snapshot.kernel_levels,
        "kernel_slots": snapshot.kernel_slots,
        "slide": snapshot.slide,
        "state_bytes": (part / STATE).stat().st_size,
    }
    write_json(part / _ABOUT, about)
    shutil.rmtree(snapshot.entry, ignore_errors=True)  # one that was not whole
    part.rename(snapshot.entry)


def prune(directory: Path, limit: int = LIMIT_BYTES) -> list[str]:
    """Remove the least recently used entries beyond ``limit`` bytes; return their names.

    The newest stays, and what a killed process was making goes. Nothing is raised: what cannot be
    removed stays.
    """
    entries: list[tuple[float, int, Path]] = []
    for path in directory.iterdir():
        if path.name.startswith(_PART):
            _remove_abandoned(path)
        elif path.is_dir():
            entries.append((path.stat().st_mtime, _disk_bytes(path), path))
    gone = []
    room = limit
    for number, (_, size, path) in enumerate(sorted(entries, reverse=True)):
        room -= size
        if room < 0 and number:
            shutil.rmtree(path, ignore_errors=True)
            gone.append(path.name)
    return gone


def _remove_abandoned(part: Path) -> None:
    pid = part.name.rpartition("-")[2]
    if pid.isdecimal() and not Path("/proc", pid).exists():
        shutil.rmtree(part, ignore_errors=True)


def _disk_bytes(entry: Path) -> int:
    return sum(512 * file.stat().st_blocks for file in entry.iterdir())
