from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shootdown import arch as architectures
from shootdown.arch import Arch
from shootdown.kernel import debian
from shootdown.kernel.cache import cache_root
from shootdown.vm import initramfs
from shootdown.vm.command import GuestConfig

Configure = Callable[..., GuestConfig]


@pytest.fixture(scope="session", params=architectures.names())
def arch(request: pytest.FixtureRequest) -> Arch:
    return architectures.get(request.param)


@pytest.fixture(scope="session")
def naughty_initramfs(arch: Arch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initramfs whose init misbehaves on request."""
    directory = tmp_path_factory.mktemp(f"naughty-{arch.name}")
    source = Path(__file__).with_name("guest_init.c")
    init = directory / "init"
    subprocess.run(
        [arch.machine.compiler, "-static", "-O1", "-Wall", "-Werror", "-o", init, source],
        check=True,
    )
    out = directory / "initramfs"
    initramfs.build(out, init)
    return out


@pytest.fixture
def configure(arch: Arch, naughty_initramfs: Path, tmp_path: Path) -> Configure:
    """Make the configuration of a small guest that runs Debian's kernel."""

    def make(**changes: Any) -> GuestConfig:
        settings: dict[str, Any] = {
            "arch": arch,
            "kernel": debian.resolve(debian.DEFAULT, arch, cache_root()).path,
            "initramfs": naughty_initramfs,
            "run_dir": tmp_path / "run",
            "mem_mib": 256,
        }
        return GuestConfig(**(settings | changes))

    return make
