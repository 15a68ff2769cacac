from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.kernel import debian, facts
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts
from shootdown.run import artifacts

REPOSITORY = Path(__file__).parents[2]
MEM_MIB = 128
Boot = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", params=arch.names())
def learned(request: pytest.FixtureRequest) -> KernelFacts:
    """What is known of Debian's 6.12."""
    which = arch.get(request.param)
    return facts.load(debian.resolve("debian:6.12", which, cache_root()).path, cache_root())


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """decode.c with the plugin's decoders."""
    out = tmp_path_factory.mktemp("decode") / "decode"
    plugin = REPOSITORY / "plugin"
    glib = subprocess.check_output(["pkg-config", "--cflags", "glib-2.0"], text=True).split()
    sources = (Path(__file__).with_name("decode.c"), *sorted(plugin.glob("arch_*.c")))
    words = ("gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{plugin}", *glib)
    header = ("-isystem", REPOSITORY / "build" / "include")
    subprocess.run([*words, *header, "-o", out, *sources], check=True)
    return out


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    """Boot Debian's 6.12 for x86-64 without a user space, under a plan: it ends in a panic."""
    name = "x86_64"
    machine = arch.get(name).machine
    kernel = debian.resolve("debian:6.12", arch.get(name), cache_root()).path
    memory = f"memory-backend-memfd,id=ram,size={MEM_MIB}M,share=on"
    words = [
        *(machine.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *(*machine.args, "-accel", "tcg,thread=multi", "-smp", "2", "-serial", "stdio"),
        *("-m", f"{MEM_MIB}M", "-object", memory, "-machine", "memory-backend=ram"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 nokaslr mitigations=off panic=-1"),
    ]

    def run(plan: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "plan"
        path.write_text(plan)
        plugin = f"{artifacts.plugin()},plan={path},out={tmp_path}"
        return subprocess.run(
            [*words, "-plugin", plugin],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=300,
        )

    return run
