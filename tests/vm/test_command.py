from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shootdown import arch as architectures
from shootdown.errors import UsageError
from shootdown.vm.command import GuestConfig, Sockets, command, kernel_cmdline

SOCKETS = Sockets(Path("/tmp/s"))


def config(name: str = "x86_64", **changes: Any) -> GuestConfig:
    settings: dict[str, Any] = {
        "arch": architectures.get(name),
        "kernel": Path("/k/vmlinuz"),
        "initramfs": Path("/k/initramfs"),
        "run_dir": Path("/run"),
    }
    return GuestConfig(**(settings | changes))


def values(argv: list[str], option: str) -> list[str]:
    return [argv[i + 1] for i, word in enumerate(argv) if word == option]


@pytest.mark.parametrize("name", architectures.names())
def test_every_run_is_contained_and_repeatable(name: str) -> None:
    argv = command(config(name, seed=7, thread="single", smp=3, mem_mib=256), SOCKETS)
    assert argv[0] == architectures.get(name).machine.qemu
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(argv)
    assert values(argv, "-accel") == ["tcg,thread=single"]
    assert values(argv, "-seed") == ["7"]
    assert values(argv, "-rtc") == ["base=2020-01-01,clock=vm"]
    assert values(argv, "-smp") == ["3"]
    assert values(argv, "-object") == ["memory-backend-memfd,id=ram,size=256M,share=on"]
    assert values(argv, "-machine")[-1] == "memory-backend=ram"
    assert values(argv, "-serial") == ["chardev:console", "chardev:agent"]
    assert not {"-S", "-gdb", "-plugin"} & set(argv)


def test_time_is_counted_in_instructions_where_the_host_decides_nothing() -> None:
    plain = command(config(thread="single"), SOCKETS)
    exact = command(config(thread="single", deterministic=True), SOCKETS)
    assert values(exact, "-icount") == ["shift=5,align=off,sleep=off"]
    assert "pipe,id=agent,path=/tmp/s/agent" in values(exact, "-chardev")
    assert not values(plain, "-icount")
    assert "socket,id=agent,path=/tmp/s/agent,server=off" in values(plain, "-chardev")


def test_the_machines_differ_in_data_only() -> None:
    arm64 = values(command(config("arm64"), SOCKETS), "-machine")
    assert arm64[0] == "virt,gic-version=3,dtb-randomness=off"
    assert values(command(config("x86_64"), SOCKETS), "-machine")[0] == "q35"


def test_commas_in_paths_are_escaped() -> None:
    plugin, plan = Path("/a,b/p.so"), Path("/c,d")
    argv = command(config(plugin=plugin, plan=plan, run_dir=Path("/r,1")), SOCKETS)
    assert values(argv, "-plugin") == ["/a,,b/p.so,plan=/c,,d,out=/r,,1/trace"]


def test_gdb_and_pause_are_asked_for() -> None:
    argv = command(config(gdb=True, start_paused=True), SOCKETS)
    assert values(argv, "-gdb") == ["unix:/tmp/s/gdb,server=on,wait=off"]
    assert "-S" in argv


def test_kernel_arguments_of_the_profile_come_before_extra_ones() -> None:
    words = kernel_cmdline(config("arm64", cmdline=("mitigations=auto",))).split()
    assert {"console=ttyAMA0", "panic=-1", "nokaslr", "kpti=off", "arm64.nomops"} <= set(words)
    assert "shootdown.agent=ttyAMA1" in words
    assert words.index("mitigations=off") < words.index("mitigations=auto") == len(words) - 1


@pytest.mark.parametrize(
    "changes", [{"smp": 0}, {"smp": 99}, {"mem_mib": 1}, {"mem_mib": 4096}, {"seed": -1}]
)
def test_numbers_out_of_range_are_usage_errors(changes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="choose"):
        config(**changes)
