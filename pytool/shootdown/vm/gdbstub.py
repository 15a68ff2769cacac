"""QEMU's gdbstub, spoken to directly: any set of vCPUs runs while the others stand still.

gdb itself lets all threads run or exactly one (``scheduler-locking``), also through its machine
interface, and no Python package speaks the protocol; a guest with a held vCPU needs all but one.
QEMU takes that as one ``vCont`` packet. An exchange takes a tenth of what it takes through gdb,
which reads all registers at each stop.

What happened is never guessed from silence: vCPUs run until QEMU says that they have stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from shootdown.errors import InfraError
from shootdown.vm.process import PeerGoneError

_INTERRUPT: Final = b"\x03"
_NOBODY: Final = -1
_PAGE: Final = 4096
_FIRST: Final = "p01.01"
"""The first vCPU, as the stub calls it."""
_LIMIT: Final = 1 << 20
"""Bytes of the longest packet."""


@dataclass(frozen=True)
class Register:
    """How the stub names a register."""

    number: int
    bits: int


@dataclass(frozen=True)
class Stop:
    """A vCPU that met a breakpoint or did what is watched for."""

    vcpu: int
    watched: bool
    """It has just accessed what is watched; else it stands before an instruction."""


@dataclass(frozen=True)
class Watch:
    """An access to watch for. Watching, and no longer watching, makes QEMU forget translations."""

    va: int
    size: int
    store: bool
    """A store, else a load."""

    @property
    def packet(self) -> str:
        """Behind Z or z."""
        return f"{2 if self.store else 3},{self.va:x},{self.size:x}"


class GdbStub:
    """A connection to the gdbstub; see ``connect``. vCPUs are counted from 0.

    Connecting stops all vCPUs. Methods raise PeerGoneError when QEMU is gone, InfraError when it
    refuses. Registers and breakpoints need a guest that stands still.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._registers: dict[str, Register] = {}
        self._at = _NOBODY
        self._breakpoints: set[int] = set()
        self._watch: Watch | None = None
        self._ids: dict[int, str] = {}

    @property
    def vcpus(self) -> list[int]:
        """All vCPUs."""
        return sorted(self._ids)

    def knows(self, name: str) -> bool:
        """Whether the vCPUs have a register of that name."""
        return name in self._registers

    async def read(self, vcpu: int, names: Collection[str]) -> dict[str, int]:
        """Registers of a vCPU by QEMU's names (``rip``, ``pc``, ``x0``)."""
        values = {}
        await self._select(vcpu)
        for name in names:
            register = self._registers.get(name)
            if register is None:
                raise InfraError(f"the gdbstub knows no register {name}; is QEMU 10 or newer?")
            data = bytes.fromhex(await self._ask(f"p{register.number:x}"))
            values[name] = int.from_bytes(data, "little")
        return values

    async def memory(self, vcpu: int, va: int, size: int) -> bytes:
        """Up to ``size`` bytes from a VA, translated as the vCPU would now.

        Fewer where the page behind is not mapped. Raises InfraError when the first is not.
        """
        await self._select(vcpu)
        size = min(size, _PAGE - va % _PAGE) or size
        return bytes.fromhex(await self._ask(f"m{va:x},{size:x}"))

    async def set_breakpoints(self, vas: Collection[int]) -> None:
        """Have hardware breakpoints at exactly these VAs, on all vCPUs."""
        wanted = set(vas)
        for va in sorted(self._breakpoints - wanted):
            await self._demand(f"z1,{va:x},1")
        for va in sorted(wanted - self._breakpoints):
            await self._demand(f"Z1,{va:x},1")
        self._breakpoints = wanted

    async def set_watch(self, watch: Watch | None) -> None:
        """Watch for exactly this, on all vCPUs. The access is done when a vCPU stops for it."""
        if watch == self._watch:
            return
        if self._watch:
            await self._demand(f"z{self._watch.packet}")
        self._watch = None
        if watch:
            await self._demand(f"Z{watch.packet}")
        self._watch = watch

    async def step(self, vcpu: int) -> None:
        """Execute one instruction of one vCPU, interrupts held off; no other vCPU runs.

        Where the instruction faults, the vCPU stands at the handler's first instruction.
        """
        await self._send(f"vCont;s:{self._ids[vcpu]}")
        await self._receive()
        self._at = _NOBODY

    async def run(self, vcpus: Iterable[int]) -> None:
        """Let these vCPUs run; returns at once. ``stopped`` comes next."""
        self._at = _NOBODY  # whoever stops is selected then
        await self._send("vCont" + "".join(f";c:{self._ids[vcpu]}" for vcpu in vcpus))

    def interrupt(self) -> None:
        """Have vCPUs that run stop, soon; whoever waits for ``stopped`` is told."""
        if not self._writer.is_closing():
            self._writer.write(_INTERRUPT)

    async def stopped(self, timeout: float | None) -> Stop | None:
        """Wait until a vCPU stops at what was set; all stand still then.

        After ``timeout`` seconds the guest is stopped, and it has stopped when this returns None.
        """
        stop = asyncio.ensure_future(self._receive())
        try:
            done, _ = await asyncio.wait({stop}, timeout=timeout)
            if not done:
                # QEMU ignores this where it has stopped already. Either way one answer comes.
                self.interrupt()
            return _stop_of(await stop)
        finally:
            if not stop.done():
                stop.cancel()

    async def close(self) -> None:
        """Remove all breakpoints, let all vCPUs run, and disconnect; idempotent."""
        if self._writer.is_closing():
            return
        with contextlib.suppress(InfraError, OSError):
            await self.set_breakpoints(())
            await self.set_watch(None)
            process = next(iter(self._ids.values()), _FIRST).partition(".")[0]
            await self._demand(f"D;{process.removeprefix('p')}")
        await self.hang_up()

    async def hang_up(self) -> None:
        """Disconnect from a guest that stands still and shall go on doing so; idempotent."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def start(self) -> None:
        """Learn what the stub offers; ``connect`` calls it."""
        # The stub keeps the form that a gdb before us asked for; so all ask for the same one.
        supported = await self._ask("qSupported:multiprocess+;xmlRegisters=i386,arm")
        if "qXfer:features:read+" not in supported:
            raise InfraError("the gdbstub does not describe its registers; use QEMU 10 or newer")
        self._registers = await self._describe("target.xml", 0)
        text, answer = "", await self._ask("qfThreadInfo")
        while answer.startswith("m"):
            text += "," + answer[1:]
            answer = await self._ask("qsThreadInfo")
        self._ids = {_vcpu(name): name for name in text.split(",") if name}

    async def _describe(self, annex: str, number: int) -> dict[str, Register]:
        # Registers are numbered in the order of the files, from what an element says on.
        found: dict[str, Register] = {}
        try:
            # QEMU uses the prefix of XInclude without saying whose it is.
            text = (await self._transfer(annex)).replace("<xi:", "<")
            tree = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise InfraError(f"the gdbstub's {annex} is no XML: {error}") from error
        for element in tree.iter():
            if element.tag == "include":
                found |= await self._describe(element.attrib["href"], number)
                number = max((r.number + 1 for r in found.values()), default=0)
            elif element.tag == "reg":
                number = int(element.get("regnum", number))
                found[element.attrib["name"]] = Register(number, int(element.attrib["bitsize"]))
                number += 1
        return found

    async def _transfer(self, annex: str) -> str:
        text = ""
        while True:
            answer = await self._ask(f"qXfer:features:read:{annex}:{len(text):x},ffb")
            text += answer[1:]
            if not answer.startswith("m"):
                return text

    async def _select(self, vcpu: int) -> None:
        if vcpu != self._at:
            await self._demand(f"Hg{self._ids[vcpu]}")
            self._at = vcpu

    async def _demand(self, packet: str) -> None:
        answer = await self._ask(packet)
        if answer != "OK":
            raise InfraError(f"the gdbstub answered {packet!r} with {answer!r}")

    async def _ask(self, packet: str) -> str:
        await self._send(packet)
        answer = await self._receive()
        if answer.startswith("E"):
            raise InfraError(f"the gdbstub refused {packet!r}: {answer}")
        return answer

    async def _send(self, packet: str) -> None:
        data = packet.encode()
        self._writer.write(b"$%s#%02x" % (data, sum(data) % 256))
        try:
            await self._writer.drain()
        except OSError as error:
            raise PeerGoneError("QEMU is gone: its gdbstub hung up") from error

    async def _receive(self) -> str:
        """The next packet's content, acknowledged; acknowledgements of ours are passed over."""
        try:
            await self._reader.readuntil(b"$")
            data = (await self._reader.readuntil(b"#"))[:-1]
            await self._reader.readexactly(2)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            raise PeerGoneError("QEMU is gone: its gdbstub hung up") from error
        self._writer.write(b"+")
        return _plain(data).decode("latin-1")


async def connect(path: Path) -> GdbStub:
    """Connect to the gdbstub that listens on a unix socket; all vCPUs stop.

    Raises InfraError when nobody listens.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_LIMIT)
    except OSError as error:
        raise InfraError(f"no gdbstub listens on {path}: {error.strerror}") from error
    stub = GdbStub(reader, writer)
    try:
        await stub.start()
    except BaseException:
        await stub.close()
        raise
    return stub


def _plain(data: bytes) -> bytes:
    """A packet without its escapes and run lengths."""
    plain = bytearray()
    octets = iter(data)
    for octet in octets:
        if octet == ord("}"):
            plain.append(next(octets, 0) ^ 0x20)
        elif octet == ord("*") and plain:
            plain += plain[-1:] * (next(octets, 29) - 29)
        else:
            plain.append(octet)
    return bytes(plain)


def _stop_of(answer: str) -> Stop | None:
    """Who met a breakpoint (SIGTRAP), of a stop reply; None for any other stop."""
    if answer[:1] in ("W", "X"):
        raise PeerGoneError("the guest ended under the gdbstub")
    fields = dict(part.partition(":")[::2] for part in answer[3:].split(";") if part)
    if answer[:3] != "T05" or "thread" not in fields:
        return None
    return Stop(
        _vcpu(fields["thread"]), watched=bool(fields.keys() & {"watch", "rwatch", "awatch"})
    )


def _vcpu(thread: str) -> int:
    """The vCPU of a thread that the stub calls ``p01.02``: the second one."""
    return int(thread.rpartition(".")[2], 16) - 1
