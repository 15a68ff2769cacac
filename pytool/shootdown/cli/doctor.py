"""shootdown doctor: what is here, what is missing, what to do"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from shootdown import arch
from shootdown.cli import doctor_kernel, given, options
from shootdown.errors import ExitCode, InfraError, ShootdownError
from shootdown.kernel.cache import cache_root
from shootdown.run import artifacts
from shootdown.vm.gdb import GDB
from shootdown.vm.process import check_qemu, qemu_version

_CACHE_ROOM: Final = 1 << 30
_MEMORY: Final = 2 << 30

Check = tuple[str, Callable[[], str]]
"""What is looked at, and a function that tells what it found or raises ShootdownError."""


class Missing(ShootdownError):
    """Something is not as it should be."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--kernel", metavar="SPEC", help="look at this kernel: what is used, what is missing"
    )
    parser.add_argument("--arch", help="of debian:VERSION or built:VERSION, which kernel")
    options.add_json(parser)


def execute(args: argparse.Namespace) -> int:
    """Print a line for each check; 3 when one failed."""
    if args.kernel:
        return _kernel(args)
    found = [_look(what, look) for what, look in checks()]
    lines = [f"{'ok     ' if f['ok'] else 'MISSING'} {f['check']}: {f['finding']}" for f in found]
    missing = sum(not f["ok"] for f in found)
    lines.append("everything is here")
    if missing:
        repository = artifacts.repository()
        lines[-1] = f"{missing} missing; `make setup plugin guest` in {repository} mends most"
    given.emit(args, found, "\n".join(lines) + "\n")
    return ExitCode.INFRA if missing else ExitCode.PASS


def _kernel(args: argparse.Namespace) -> int:
    report = doctor_kernel.inspect(args.kernel, args.arch, cache_root())
    given.emit(args, report, doctor_kernel.render(report))
    if report["problem"]:
        raise InfraError(report["problem"])
    return ExitCode.PASS


def _look(what: str, look: Callable[[], str]) -> dict[str, str | bool]:
    try:
        return {"check": what, "ok": True, "finding": look()}
    except ShootdownError as error:
        return {"check": what, "ok": False, "finding": str(error)}


def checks() -> Iterator[Check]:
    """All checks, in the order a run needs them."""
    for name in arch.names():
        qemu = arch.get(name).machine.qemu
        yield f"QEMU for {name}", lambda qemu=qemu: _qemu(qemu)  # type: ignore[misc]
        yield f"guest for {name}", lambda name=name: str(artifacts.agent(name))  # type: ignore[misc]
    yield "plugin", lambda: str(artifacts.plugin())
    yield "gdb", _gdb
    yield "cache", _cache
    yield "memory", _memory


def _qemu(program: str) -> str:
    check_qemu(program)
    return ".".join(map(str, qemu_version(program)))


def _gdb() -> str:
    found = shutil.which(GDB)
    if found is None:
        raise Missing(f"{GDB} is not in PATH; install gdb-multiarch")
    return found


def _cache() -> str:
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
        writable = os.access(root, os.W_OK)
    except OSError as error:
        raise Missing(f"{root} cannot be made ({error.strerror}); set SHOOTDOWN_CACHE") from error
    if not writable:
        raise Missing(f"{root} cannot be written; set SHOOTDOWN_CACHE")
    if free < _CACHE_ROOM:
        raise Missing(f"{root} has {free >> 20} MiB free of the {_CACHE_ROOM >> 20} it needs")
    return f"{root}, {free >> 30} GiB free"


def _memory() -> str:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            free = int(rest.split()[0]) << 10
            if free < _MEMORY:
                raise Missing(f"{free >> 20} MiB available; two guests need {_MEMORY >> 20}")
            return f"{free >> 20} MiB available"
    return "unknown"
