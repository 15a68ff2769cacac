"""Guests that live, hang, flood and die; one boot shows as much as it can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shootdown import arch as architectures
from shootdown.errors import GuestCrashError, GuestTimeoutError, InfraError, UsageError
from shootdown.vm.command import GuestConfig
from shootdown.vm.gdb import attach
from shootdown.vm.guest import Guest, State
from shootdown.vm.patch import Patch, patch_text
from tests.vm.conftest import Configure

SECONDS = 120
MIB = 1024 * 1024


def in_guest(config: GuestConfig, act: Callable[[Guest], Awaitable[None]]) -> Guest:
    """Do something with a guest and make sure that nothing of it is left."""

    async def main() -> Guest:
        async with Guest(config) as guest:
            await act(guest)
        return guest

    guest = asyncio.run(main())
    assert guest.state is State.DEAD
    assert not guest.sockets.directory.exists()
    assert not Path(f"/proc/{guest.pid}").exists()
    return guest


@pytest.mark.guest
def test_life(configure: Configure, tmp_path: Path) -> None:
    config = configure()

    async def live(guest: Guest) -> None:
        hello = await guest.wait_ready()
        assert hello.release == config.kernel.parent.name
        assert await guest.workloads() == {"hang": "never returns"}
        assert (await guest.run("ping", 1, 1, timeout=SECONDS)).stats["getppid"] == "0"

        await guest.run("flood", 1, 1, timeout=SECONDS)

        await guest.pause()
        assert await guest.qmp.status() == "paused"
        with pytest.raises(InfraError, match="is paused, but this needs a guest running"):
            await guest.run("ping", 1, 1, timeout=SECONDS)
        await memory_is_what_qemu_says(guest, tmp_path)
        await guest.resume()

        with pytest.raises(GuestTimeoutError, match="not finish the workload hang") as caught:
            await guest.run("hang", 1, 1, timeout=1)
        assert "\nflood 1" in caught.value.tail
        with pytest.raises(UsageError, match="still busy"):
            await guest.run("ping", 1, 1, timeout=SECONDS)
        memory = guest.memory()
        await guest.shutdown()
        assert guest.state is State.DEAD
        assert memory.table(memory.base + 2 * MIB).any()
        assert guest.console.tail.endswith("flood 1998\nflood 1999")
        assert b"\nflood 1999\r\n" in (config.run_dir / "console.log").read_bytes()

    in_guest(config, live)


async def memory_is_what_qemu_says(guest: Guest, directory: Path) -> None:
    memory = guest.memory()
    assert memory.size == guest.config.mem_mib * MIB
    first, size, saved = memory.base + 2 * MIB, 64 * MIB, directory / "saved"
    await guest.qmp.execute("pmemsave", {"val": first, "size": size, "filename": str(saved)})
    assert saved.read_bytes() == memory.read(first, size)
    assert memory.read(first, size).strip(b"\0")


GETPPID = {"x86_64": "__x64_sys_getppid", "arm64": "__arm64_sys_getppid"}
GETPPID_IS_1234 = {
    "x86_64": bytes.fromhex("b8d2040000 c3"),  # mov $1234, %eax; ret
    "arm64": bytes.fromhex("409a80d2 c0035fd6"),  # mov x0, #1234; ret
}
ROOTS = {"x86_64": ["cr3"], "arm64": ["TTBR0_EL1", "TTBR1_EL1"]}
KERNEL_ROOT = {"x86_64": "cr3", "arm64": "TTBR1_EL1"}


@pytest.mark.guest
def test_text_of_a_stock_kernel_can_be_changed(configure: Configure) -> None:
    symbols: dict[str, int] = {}
    old = b""

    async def learn(guest: Guest) -> None:
        nonlocal old
        await guest.wait_ready()
        for note in (await guest.run("symbols", 1, 1, timeout=SECONDS)).notes:
            va, _, symbol = note.split()
            symbols[symbol] = int(va, 16)
        await guest.pause()
        async with attach(guest) as gdb:
            old = await gdb.read_memory(symbols[GETPPID[name]], len(new))
            assert await gdb.threads() == [1, 2]
            for thread in (1, 2):
                roots = await gdb.registers(thread, ROOTS[name])
                mask = (1 << 48) - (1 << 12)
                assert guest.memory().table(roots[KERNEL_ROOT[name]] & mask).any()
            with pytest.raises(InfraError, match="no register nonsense"):
                await gdb.registers(1, ["nonsense"])
            with pytest.raises(InfraError, match="gdb refused"):
                await gdb.read_memory(0x8, 8)
        await guest.resume()
        await guest.power_off()

    async def change(guest: Guest) -> None:
        with pytest.raises(InfraError, match="is for another kernel"):
            await patch_text(
                guest, symbols["rest_init"], [Patch(symbols[GETPPID[name]], (new,), new)]
            )
        assert guest.state is State.PAUSED
        await patch_text(
            guest, symbols["kernel_init"], [Patch(symbols[GETPPID[name]], (new, old), new)]
        )
        await guest.wait_ready()
        assert (await guest.run("ping", 1, 1, timeout=SECONDS)).stats["getppid"] == "1234"

    config = configure(gdb=True)
    name = config.arch.name
    new = GETPPID_IS_1234[name]
    in_guest(config, learn)
    in_guest(configure(gdb=True, start_paused=True), change)


@pytest.mark.guest
@pytest.mark.parametrize(
    ("end", "complaint"),
    [
        ("panic", "crashed and did not finish the workload panic.*Attempted to kill init"),
        ("poweroff", "ended without a panic and did not finish the workload poweroff"),
    ],
)
def test_death_is_reported(configure: Configure, end: str, complaint: str) -> None:
    async def die(guest: Guest) -> None:
        await guest.wait_ready()
        with pytest.raises(GuestCrashError, match=complaint) as caught:
            await guest.run(end, 1, 1, timeout=SECONDS)
        assert ("Kernel Offset" in caught.value.tail) == (end == "panic")
        # Nothing that comes later may pass over it.
        with pytest.raises(GuestCrashError):
            await guest.shutdown()

    in_guest(configure(), die)


@pytest.mark.guest
def test_early_hang_is_a_timeout(configure: Configure) -> None:
    async def hang(guest: Guest) -> None:
        with pytest.raises(GuestTimeoutError, match="did not boot within"):
            await guest.wait_ready(timeout=5)

    in_guest(configure(cmdline=("mute",)), hang)


@pytest.fixture
def broken(tmp_path: Path) -> Callable[..., GuestConfig]:
    """Make configurations whose QEMU never gets to boot."""

    def make(**changes: Any) -> GuestConfig:
        junk = tmp_path / "junk"
        junk.write_bytes(b"junk")
        settings: dict[str, Any] = {
            "arch": architectures.get("x86_64"),
            "kernel": junk,
            "initramfs": junk,
            "run_dir": tmp_path / "run",
        }
        return GuestConfig(**(settings | changes))

    return make


def refused(config: GuestConfig, complaint: str) -> None:
    async def main() -> None:
        guest = Guest(config)
        with pytest.raises(InfraError, match=complaint):
            async with guest:
                pass
        assert guest.state is State.DEAD

    asyncio.run(main())


def test_missing_files(broken: Callable[..., GuestConfig]) -> None:
    for name in ("kernel", "initramfs", "plugin", "plan"):
        refused(broken(**{name: Path("/none")}), "/none is no file")


def test_run_directory_that_cannot_be(broken: Callable[..., GuestConfig]) -> None:
    refused(broken(run_dir=Path("/dev/null/run")), "/dev/null/run.* cannot be made")


def test_plugin_that_cannot_be_loaded(broken: Callable[..., GuestConfig], tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.so"
    plugin.write_text("no shared object")
    refused(
        broken(plugin=plugin), "exit status 1.*Could not load plugin.*plugin.so: file too short"
    )


def test_arguments_that_qemu_refuses(broken: Callable[..., GuestConfig]) -> None:
    refused(broken(qemu_args=("-no-such-option",)), "did not start: .*invalid option")


def test_missing_emulator(
    broken: Callable[..., GuestConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/none")
    refused(broken(), "qemu-system-x86_64 is not in PATH: install")


def test_socket_paths_stay_short(
    broken: Callable[..., GuestConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    refused(broken(qemu_args=("-no-such-option",)), "invalid option")
    assert not list(deep.iterdir())


def test_use_before_start(broken: Callable[..., GuestConfig]) -> None:
    with pytest.raises(InfraError, match="is not started, but this needs a guest running"):
        asyncio.run(Guest(broken()).run("ping", 1, 1, timeout=SECONDS))
