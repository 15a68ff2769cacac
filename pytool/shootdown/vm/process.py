"""Child processes that never outlive us: QEMU and gdb."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
from functools import cache, partial

from shootdown.errors import InfraError

MIN_QEMU = (10, 0)
_STDERR_KEPT = 64 * 1024
_LINE_LIMIT = 16 * 1024 * 1024

# Looked up here: between fork and exec as little as possible should happen.
_PRCTL = ctypes.CDLL(None).prctl
_PR_SET_PDEATHSIG = 1


class PeerGoneError(InfraError):
    """A connection ended, most likely because the process behind it did; its owner knows why."""


class Child:
    """A supervised child: own process group, killed by the kernel when we die.

    Standard output is the owner's to read; of standard error the last 64 KiB are kept.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stderr = bytearray()
        self._drain = asyncio.create_task(self._keep_stderr())

    @classmethod
    async def start(cls, argv: list[str]) -> Child:
        """Start a program found in PATH. Raises InfraError if there is none.

        The child dies with the calling thread, which should be the main one.
        """
        if shutil.which(argv[0]) is None:
            raise InfraError(f"{argv[0]} is not in PATH: install it, or run `make test` once")
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE_LIMIT,
                # Out of the terminal's foreground group: ^C is ours to handle, not the child's.
                process_group=0,
                preexec_fn=partial(_die_with, os.getpid()),
            )
        except OSError as error:
            raise InfraError(f"{argv[0]} cannot be started: {error.strerror}") from error
        return cls(process)

    @property
    def pid(self) -> int:
        """Process id, also of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the signal's number if killed, None while it runs."""
        return self._process.returncode

    @property
    def stdin(self) -> asyncio.StreamWriter:
        """The child's standard input."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        """The child's standard output."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def stderr(self) -> str:
        """The end of what the child wrote to standard error, in one line."""
        lines = self._stderr.decode(errors="replace").split("\n")
        return "; ".join(line.strip() for line in lines if line.strip())

    async def wait(self) -> int:
        """Wait for the end of the child and of its standard error; return its exit status."""
        status = await self._process.wait()
        await asyncio.shield(self._drain)
        return status

    async def kill(self) -> None:
        """Kill the whole process group and reap the child. Does nothing when it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        await self.wait()

    async def _keep_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._stderr += data
            del self._stderr[:-_STDERR_KEPT]


def _die_with(parent: int) -> None:
    """Have the kernel kill this process, a child about to exec, when its parent ends."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def qemu_version(program: str) -> tuple[int, ...]:
    """Version of an emulator in PATH, as (major, minor, micro). Raises InfraError if unusable."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except FileNotFoundError:
        raise InfraError(
            f"{program} is not in PATH: install QEMU {MIN_QEMU[0]} or newer "
            f"(on Debian 12 from bookworm-backports), or run `make test` once"
        ) from None
    except (OSError, subprocess.SubprocessError) as error:
        raise InfraError(f"{program} --version failed: {error}; reinstall QEMU") from error
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", done.stdout)
    if found is None:
        raise InfraError(f"{program} --version says no version: is it QEMU?")
    return tuple(int(number) for number in found.groups())


def check_qemu(program: str) -> None:
    """Raise InfraError unless the emulator is in PATH and new enough for the plugin."""
    version = qemu_version(program)
    if version < MIN_QEMU:
        raise InfraError(
            f"{program} is version {'.'.join(map(str, version))}, too old for the plugin: "
            f"install QEMU {MIN_QEMU[0]} or newer (on Debian 12 from bookworm-backports)"
        )
