"""The gdbstub, spoken to directly."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shootdown.errors import InfraError
from shootdown.vm import gdbstub
from shootdown.vm.gdbstub import GdbStub, Stop, Watch
from shootdown.vm.guest import Guest
from shootdown.vm.process import PeerGoneError

from .conftest import Configure

SECONDS = 120.0
PC = {"x86_64": "rip", "arm64": "pc"}


@pytest.mark.parametrize(
    ("data", "plain"), [(b"OK", b"OK"), (b"0* ", b"0000"), (b"a}\x03b", b"a#b"), (b"x}\x0a", b"x*")]
)
def test_packets(data: bytes, plain: bytes) -> None:
    assert gdbstub._plain(data) == plain


def test_stop_replies() -> None:
    assert gdbstub._stop_of("T05thread:03;") == Stop(2, watched=False)
    assert gdbstub._stop_of("T05thread:p01.02;rwatch:7fff;") == Stop(1, watched=True)
    assert gdbstub._stop_of("T02thread:01;") is None
    assert gdbstub._stop_of("S05") is None
    with pytest.raises(PeerGoneError):
        gdbstub._stop_of("W00")


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="no gdbstub listens on"):
        asyncio.run(gdbstub.connect(tmp_path / "none"))


@pytest.mark.guest
def test_one_vcpu_stands_still_while_another_runs(configure: Configure) -> None:
    config = configure(gdb=True)
    pc = PC[config.arch.name]

    async def where(stub: GdbStub, vcpu: int) -> int:
        return (await stub.read(vcpu, [pc]))[pc]

    async def direct(guest: Guest, stub: GdbStub) -> None:
        assert stub.vcpus == [0, 1]
        held = await where(stub, 0)
        # The first vCPU is held; the idle other one goes through its timer tick over and over.
        await stub.run([1])
        assert await stub.stopped(0.5) is None
        assert await where(stub, 0) == held
        await stub.step(0)
        assert await where(stub, 0) != held
        tick = await where(stub, 1)
        await stub.set_breakpoints([tick])
        await stub.run([1])
        assert await stub.stopped(SECONDS) == Stop(1, watched=False)
        assert await where(stub, 1) == tick
        code = await stub.memory(1, tick, 4)
        assert len(code) == 4
        await stub.set_breakpoints([])
        await stub.set_watch(Watch(tick & ~7, 8, store=False))
        await stub.set_watch(None)
        with pytest.raises(InfraError, match="no register nonsense"):
            await stub.read(0, ["nonsense"])
        with pytest.raises(InfraError, match="refused"):
            await stub.memory(0, 8, 8)

    async def main() -> None:
        async with Guest(config) as guest:
            await guest.wait_ready()
            stub = await gdbstub.connect(guest.sockets.gdb)
            try:
                await guest.guard(direct(guest, stub), SECONDS, "obey")
            finally:
                await stub.close()
                await stub.close()
            assert (await guest.run("ping", 1, 1, timeout=SECONDS)).status == 0
            await guest.kill()
            with pytest.raises(InfraError):
                await gdbstub.connect(guest.sockets.gdb)

    asyncio.run(main())
