"""A director over QEMU's gdbstub: gdb, spoken to in its machine interface.

What happened is never guessed from silence: a command has ended when the result record with its
token is there, the guest has stopped when gdb says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from pygdbmi.gdbmiparser import parse_response

from shootdown.errors import InfraError
from shootdown.vm.guest import Guest, State
from shootdown.vm.process import Child, PeerGoneError

GDB = "gdb-multiarch"
_SECONDS = 60.0

Record = dict[str, Any]


@dataclass(frozen=True)
class Stop:
    """Why and where the guest stopped."""

    reason: str
    """gdb's word: breakpoint-hit, signal-received, end-stepping-range, ..."""
    thread: int
    """gdb's number of the vCPU, from 1."""
    pc: int
    """VA of the next instruction of that vCPU."""
    breakpoint: int | None
    """Number of the breakpoint that was hit."""


class Gdb:
    """A gdb attached to a guest; see ``attach``.

    Every method raises InfraError when gdb refuses, PeerGoneError when gdb is gone.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._tokens = count(1)
        self._results: dict[int, asyncio.Future[Record]] = {}
        self._stops: asyncio.Queue[Record | None] = asyncio.Queue()
        self._registers: dict[str, int] = {}
        self._reader = asyncio.create_task(self._read())

    async def command(self, line: str) -> Record:
        """Execute one MI command, such as ``-thread-info``; return its results by name."""
        token = next(self._tokens)
        if self._reader.done():
            raise PeerGoneError(f"gdb is gone and cannot execute '{line}'{self._said}")
        self._results[token] = asyncio.get_running_loop().create_future()
        self._child.stdin.write(f"{token}{line}\n".encode())
        try:
            record = await self._results[token]
        finally:
            del self._results[token]
        payload: Record = record["payload"] or {}
        if record["message"] == "error":
            raise InfraError(f"gdb refused '{line}': {payload.get('msg', 'no reason given')}")
        return payload

    async def break_at(self, va: int, *, hardware: bool = True) -> int:
        """Set a breakpoint on the instruction at a VA; return its number.

        A hardware breakpoint leaves memory alone and may be set before the VA is mapped.
        """
        kind = "-h " if hardware else ""
        payload = await self.command(f"-break-insert {kind}*{va:#x}")
        return int(payload["bkpt"]["number"])

    async def delete_break(self, number: int) -> None:
        """Remove a breakpoint."""
        await self.command(f"-break-delete {number}")

    async def cont(self) -> None:
        """Let all vCPUs run; returns at once."""
        await self.command("-exec-continue")

    async def wait_stopped(self) -> Stop:
        """Wait until the guest stops; set a deadline with Guest.guard."""
        record = await self._stops.get()
        if record is None:
            self._stops.put_nowait(None)
            raise PeerGoneError(f"the guest ended under gdb{self._said}")
        frame = record.get("frame", {})
        number = record.get("bkptno")
        return Stop(
            reason=record.get("reason", "unknown"),
            thread=int(record.get("thread-id", 0)),
            pc=int(frame.get("addr", "0"), 16),
            breakpoint=None if number is None else int(number),
        )

    async def read_memory(self, va: int, size: int) -> bytes:
        """Read bytes from a VA, translated as the current vCPU would now."""
        payload = await self.command(f"-data-read-memory-bytes {va:#x} {size}")
        blocks = payload["memory"]
        data = bytes.fromhex("".join(block["contents"] for block in blocks))
        if len(data) != size:
            raise InfraError(f"gdb read {len(data)} of the {size} bytes at VA {va:#x}")
        return data

    async def write_memory(self, va: int, data: bytes) -> None:
        """Write bytes to a VA, whatever the page tables permit; text is translated anew."""
        await self.command(f"-data-write-memory-bytes {va:#x} {data.hex()}")

    async def physical(self, on: bool) -> None:
        """Whether addresses in read_memory and write_memory are PAs; QEMU's gdbstub keeps it.

        Not every mode of a CPU can reach the kernel: user mode on arm64 cannot, nor with PTI.
        """
        packet = f"maintenance packet Qqemu.PhyMemMode:{int(on)}"
        await self.command(f'-interpreter-exec console "{packet}"')

    async def threads(self) -> list[int]:
        """Number the vCPUs as gdb does, from 1, in QEMU's order."""
        payload = await self.command("-thread-info")
        return sorted(int(thread["id"]) for thread in payload["threads"])

    async def registers(self, thread: int, names: Collection[str]) -> dict[str, int]:
        """Read registers of a stopped vCPU by gdb's names (``cr3``, ``TTBR1_EL1``)."""
        if not self._registers:
            listed = (await self.command("-data-list-register-names"))["register-names"]
            self._registers = {name: number for number, name in enumerate(listed) if name}
        if missing := [name for name in names if name not in self._registers]:
            raise InfraError(f"gdb knows no register {missing[0]} of this guest")
        numbers = {str(self._registers[name]): name for name in names}
        payload = await self.command(
            f"-data-list-register-values --thread {thread} x {' '.join(numbers)}"
        )
        values = payload["register-values"]
        return {numbers[value["number"]]: int(value["value"], 16) for value in values}

    async def close(self) -> None:
        """End gdb. The guest stays stopped if it is, runs on if it runs."""
        await self._child.kill()
        await asyncio.wait({self._reader})

    @property
    def _said(self) -> str:
        return f": {self._child.stderr}" if self._child.stderr else ""

    async def _read(self) -> None:
        try:
            while line := await self._child.stdout.readline():
                self._take(parse_response(line.decode(errors="replace").rstrip("\r\n")))
        finally:
            for future in self._results.values():
                if not future.done():
                    future.set_exception(PeerGoneError(f"gdb ended{self._said}"))
            self._stops.put_nowait(None)

    def _take(self, record: Record) -> None:
        match record["type"], record["message"]:
            case "result", _:
                future = self._results.get(record["token"])
                if future is not None and not future.done():
                    future.set_result(record)
            case "notify", "stopped":
                self._stops.put_nowait(record["payload"])
            case "notify", "thread-group-exited":
                self._stops.put_nowait(None)


@asynccontextmanager
async def attach(guest: Guest) -> AsyncIterator[Gdb]:
    """Attach gdb to a paused guest whose configuration says ``gdb=True``.

    gdb may let the guest run and stop in between; on leaving, the guest must be stopped again and
    is still PAUSED: Guest.resume() lets it run on. Raises InfraError when there is no gdb or no
    gdbstub.
    """
    if not guest.config.gdb:
        raise InfraError("the guest was started without a gdbstub: configure it with gdb=True")
    if guest.state is not State.PAUSED:
        raise InfraError(f"gdb attaches to a paused guest, but this one is {guest.state.value}")
    gdb = Gdb(await Child.start([GDB, "--nx", "--quiet", "--interpreter=mi3"]))
    try:
        await guest.guard(_connect(gdb, guest), _SECONDS, "answer gdb")
        yield gdb
    finally:
        await gdb.close()


async def _connect(gdb: Gdb, guest: Guest) -> None:
    for setting in (
        "mi-async on",  # the guest may run while gdb takes commands
        "pagination off",
        "confirm off",
        "remotetimeout 60",  # seconds; a loaded host is no dead gdbstub
        f"architecture {guest.config.arch.machine.gdb}",
    ):
        await gdb.command(f"-gdb-set {setting}")
    await gdb.command(f"-target-select remote {guest.sockets.gdb}")
    await gdb.wait_stopped()  # connecting stops the guest
