"""The agent's channel: lines of text over the guest's second serial port.

The guest is not trusted: whatever it sends, callers see a result or one of our errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shootdown.errors import GuestCrashError, InfraError, UsageError
from shootdown.vm.console import CappedLog
from shootdown.vm.process import PeerGoneError

SHOWN = 500
"""Lines that the agent shows of a file unless it is asked for another number."""
_LINE_LIMIT = 64 * 1024
_MAX_STATUS = 255
_PIPE_BYTES = 1 << 20


@dataclass(frozen=True)
class Hello:
    """What the agent says first."""

    arch: str
    release: str
    """Kernel release, as uname -r."""


@dataclass(frozen=True)
class WorkloadResult:
    """How one workload, or one program run by ``exec``, went."""

    name: str
    status: int
    """Exit status, 0 to 255; 128 + N when signal N killed it."""
    seconds: float
    """Host wall-clock time."""
    stats: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Agent:
    """Speaks with the guest's init. One command at a time; callers set deadlines.

    ``commands`` are lines that the guest was started with, in its ``/commands``: they are the first
    to be asked for, in this order, and are not sent.

    Methods raise PeerGoneError at the end of the channel, GuestCrashError when the guest
    breaks the protocol, UsageError when the agent refuses a command.
    """

    def __init__(self, log: CappedLog, commands: Sequence[str] = ()) -> None:
        self.log = log
        self._prepared = list(commands)
        self._start = time.monotonic()
        self._peer: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter | None]]
        self._pipe: asyncio.ReadTransport | None = None
        self._server: asyncio.Server | None = None
        self._pending: str | None = None
        self.said: Hello | None = None
        """The agent's first words, when they are known already."""

    async def listen(self, path: Path) -> None:
        """Listen on a unix socket, before QEMU starts."""
        self._peer = asyncio.get_running_loop().create_future()
        try:
            self._server = await asyncio.start_unix_server(
                self._greet, str(path), limit=_LINE_LIMIT
            )
        except OSError as error:
            raise InfraError(f"cannot listen for the agent on {path}: {error.strerror}") from error

    async def listen_only(self, path: Path) -> None:
        """Listen on a pipe, ``path`` with ``.out``, before QEMU starts; nothing can be sent.

        What the agent says waits there, up to 1 MiB, however slow this process is.
        """
        loop = asyncio.get_running_loop()
        out = path.with_name(path.name + ".out")
        try:
            for fifo in (out, path.with_name(path.name + ".in")):
                os.mkfifo(fifo)
            file = os.fdopen(os.open(out, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
            fcntl.fcntl(file, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError as error:
            raise InfraError(f"cannot make the pipe {out}: {error.strerror}") from error
        reader = asyncio.StreamReader(limit=_LINE_LIMIT)
        self._pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
        self._peer = loop.create_future()
        self._peer.set_result((reader, None))

    async def accept(self) -> None:
        """Wait for QEMU to connect the port; the guest need not run yet."""
        await asyncio.shield(self._peer)

    async def ready(self) -> Hello:
        """Wait for the agent's first words; they were said before in a guest that was restored."""
        if self.said is not None:
            return self.said
        while True:
            word, rest = await self._receive()
            if word == "ready":
                arch, release = _split(rest, 2, "ready ARCH RELEASE")
                return Hello(arch, release)

    async def run(
        self, name: str, iterations: int, seed: int, **options: str | int
    ) -> WorkloadResult:
        """Run one of the agent's workloads to its end."""
        words = (name, str(iterations), str(seed), *(f"{k}={v}" for k, v in options.items()))
        return await self._workload("run", *words)

    async def exec(self, path: str, *args: str) -> WorkloadResult:
        """Run a program of the guest's file system to its end."""
        return await self._workload("exec", path, *args)

    async def load(self, name: str, path: str, *args: str) -> WorkloadResult:
        """Run a program of the guest's file system to its end, as the phase ``name``."""
        return await self._workload("load", name, path, *args)

    async def show(self, path: str, lines: int = SHOWN) -> str:
        """The first lines of a file in the guest, as printable ASCII, each cut at 511 bytes."""
        await self._send("show", path, *([str(lines)] if lines != SHOWN else []))
        text: list[str] = []
        while True:
            word, rest = await self._receive()
            if word == "end":
                self._pending = None
                return "".join(f"{line}\n" for line in text)
            if word == "line":
                text.append(rest)
            if len(text) > lines:
                raise GuestCrashError(f"the agent shows more of {path} than {lines} lines")

    async def list(self) -> dict[str, str]:
        """Ask for the workloads: headline by name."""
        await self._send("list")
        headlines: dict[str, str] = {}
        while True:
            word, rest = await self._receive()
            if word == "end":
                self._pending = None
                return headlines
            if word == "workload":
                name, _, headline = rest.partition(" ")
                headlines[name] = headline

    async def quit(self) -> None:
        """Let the guest power itself off; returns at its last word."""
        await self._send("quit")
        while (await self._receive())[0] != "bye":
            pass

    async def close(self) -> None:
        """Close the channel and its log; idempotent."""
        if self._server is not None:
            self._server.close()
            if self._peer.done():
                writer = self._peer.result()[1]
                assert writer is not None
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
        if self._pipe is not None:
            self._pipe.close()
        self.log.close()

    def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._peer.done():
            writer.close()
        else:
            self._peer.set_result((reader, writer))

    async def _workload(self, *words: str) -> WorkloadResult:
        await self._send(*words)
        begin = time.monotonic()
        stats: dict[str, str] = {}
        notes: list[str] = []
        while True:
            word, rest = await self._receive()
            if word == "stat":
                _, key, value = _split(rest, 3, "stat NAME KEY VALUE")
                stats[key] = value
            elif word == "note":
                notes.append(rest)
            elif word == "done":
                name, status = _split(rest, 2, "done NAME STATUS")
                self._pending = None
                return WorkloadResult(name, _status(status), time.monotonic() - begin, stats, notes)

    async def _send(self, *words: str) -> None:
        if self._pending is not None:
            raise UsageError(f"the agent is still busy with '{self._pending}': restart the guest")
        if bad := [word for word in words if not word or word.split() != [word]]:
            raise UsageError(
                f"'{bad[0]}' cannot be passed to the agent: use words without spaces or line ends"
            )
        line = " ".join(words)
        if self._prepared and line != self._prepared[0]:
            raise UsageError(f"the guest was started to do '{self._prepared[0]}', not '{line}'")
        self._pending = line
        if self._prepared:
            self._note("=", self._prepared.pop(0))
            return
        _, writer = self._peer.result()
        if writer is None:
            raise UsageError(f"'{line}' cannot be sent: the guest has had all its commands")
        self._note(">", line)
        writer.write(line.encode() + b"\n")
        try:
            await writer.drain()
        except ConnectionError as error:
            raise PeerGoneError("the agent's channel is closed") from error

    async def _receive(self) -> tuple[str, str]:
        """Return the next line, as its first word and the rest."""
        reader, _ = self._peer.result()
        try:
            data = await reader.readline()
        except ValueError:
            raise GuestCrashError(
                f"the agent sent a line of over {_LINE_LIMIT} bytes: see agent.log"
            ) from None
        except ConnectionError:
            data = b""
        if not data.endswith(b"\n"):
            raise PeerGoneError("the agent's channel is closed")
        line = data.decode(errors="replace").rstrip("\r\n")
        self._note("<", line)
        word, _, rest = line.partition(" ")
        if word == "error":
            refused, self._pending = self._pending, None
            raise UsageError(f"the agent refused '{refused}': {rest}")
        return word, rest

    def _note(self, direction: str, line: str) -> None:
        self.log.write(f"{time.monotonic() - self._start:9.3f} {direction} {line}\n".encode())


def _split(rest: str, fields: int, form: str) -> list[str]:
    parts = rest.split(maxsplit=fields - 1)
    if len(parts) != fields:
        raise GuestCrashError(f"the agent broke its protocol: '{rest}' where '{form}' was due")
    return parts


def _status(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_STATUS):
        raise GuestCrashError(f"the agent broke its protocol: '{text}' is no exit status")
    return int(text)
