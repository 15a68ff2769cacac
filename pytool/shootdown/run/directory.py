"""The run directory: every file of a run, by name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shootdown.errors import InfraError, UsageError

ROOM_BYTES: Final = 1 << 30
"""Free bytes asked for at the start of a recording; all workloads write hundreds of MiB."""


@dataclass(frozen=True)
class RunDir:
    """Paths below one run directory; nothing is created by looking at them."""

    path: Path

    @property
    def command(self) -> Path:
        """Tool, versions, QEMU line, kernel, seed, workloads (JSON)."""
        return self.path / "command.json"

    @property
    def plan(self) -> Path:
        """The experiment (TOML); written before anything else."""
        return self.path / "plan.toml"

    @property
    def plugin_plan(self) -> Path:
        """What the plugin watches."""
        return self.path / "plugin.plan"

    @property
    def console(self) -> Path:
        """The guest's console."""
        return self.path / "console.log"

    @property
    def agent(self) -> Path:
        """What was said on the agent's channel."""
        return self.path / "agent.log"

    @property
    def trace(self) -> Path:
        """Directory of the trace files, one per vCPU."""
        return self.path / "trace"

    @property
    def guest(self) -> Path:
        """Workload results and how the guest ended (JSON)."""
        return self.path / "guest.json"

    @property
    def audit(self) -> Path:
        """The rebuilt page tables compared with guest memory (JSON)."""
        return self.path / "audit.json"

    @property
    def symbols(self) -> Path:
        """Symbols of the kernel (System.map), in a run that was made to be read elsewhere."""
        return self.path / "symbols.map"

    @property
    def symbol_file(self) -> Path:
        """Symbols of the kernel (ELF) for gdb, in a run whose guest was paused."""
        return self.path / "kernel.elf"

    @property
    def vmcoreinfo(self) -> Path:
        """What the kernel tells drgn of itself, in a run whose guest was paused."""
        return self.path / "vmcoreinfo"

    @property
    def drgn(self) -> Path:
        """A Python script that has drgn look at a guest that was paused."""
        return self.path / "look.py"

    @property
    def race(self) -> Path:
        """The schedule (TOML) of a race; written before the guest starts."""
        return self.path / "race.toml"

    @property
    def delays(self) -> Path:
        """The delays (TOML) that the plugin was to make; written before the guest starts."""
        return self.path / "delays.toml"

    @property
    def holds(self) -> Path:
        """What became of a race's holds (JSON)."""
        return self.path / "holds.json"

    @property
    def result(self) -> Path:
        """The verdict and its figures (JSON); the report is made from this file alone."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The report for a reader."""
        return self.path / "report.txt"

    @property
    def ktap(self) -> Path:
        """The report for a CI system."""
        return self.path / "ktap.txt"


def create(path: Path, room: int = ROOM_BYTES) -> RunDir:
    """Make an empty run directory that can hold ``room`` bytes.

    Raises UsageError when the directory holds something already: an earlier result must never be
    taken for the new one. Raises InfraError when it cannot be written or its disk is full.
    """
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(
                f"output directory {path} is not empty; name another with --out or remove it"
            )
        free = shutil.disk_usage(path).free
    if free < room:
        raise InfraError(
            f"output directory {path} has {free >> 20} MiB free and a recording needs "
            f"{room >> 20} MiB; make room or name another with --out"
        )
    return RunDir(path)


def create_numbered(parent: Path, name: str, room: int = ROOM_BYTES) -> RunDir:
    """Make ``parent/NNNN-name`` with the first number not in use."""
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        used = [int(p.name[:4]) for p in parent.iterdir() if p.name[:4].isdecimal()]
    for number in range(max(used, default=0) + 1, 10000):
        try:
            return create(parent / f"{number:04}-{name}", room)
        except UsageError:  # somebody else was faster
            continue
    raise InfraError(f"{parent} holds 9999 runs; remove some")


def existing(path: Path) -> RunDir:
    """The run directory at ``path``; raises UsageError when there was never a run in it."""
    if not path.is_dir():
        raise UsageError(f"{path} is no directory; name a run directory")
    if not (path / "plan.toml").is_file():
        raise UsageError(f"{path} is no run directory: it holds no plan.toml")
    return RunDir(path)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the file system says about ``path`` into one sentence."""
    try:
        yield
    except OSError as e:
        where = e.filename or path
        raise InfraError(
            f"cannot write {where}: {os.strerror(e.errno or 0)}; check the disk and --out"
        ) from e


def write_text(path: Path, text: str) -> None:
    """Write a whole file, or leave the old one: a reader never sees half of it.

    What is no file, such as /dev/null or a pipe, is written to and stays what it is.
    """
    part = path.with_name(path.name + ".part")
    with disk_errors(path):
        if path.exists() and not path.is_file():
            path.write_text(text)
            return
        part.write_text(text)
        part.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON; see write_text."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read an object written by write_json; a missing file is an empty one.

    Raises InfraError when the file is damaged.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        raise InfraError(f"{path} cannot be read ({e}); record the run again") from e
    if not isinstance(value, dict):
        raise InfraError(f"{path} does not hold a JSON object; record the run again")
    return value
