from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.kernel import debian, facts
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts
from shootdown.run import artifacts
from tests.plugin.oracle import Answer

REPOSITORY = Path(__file__).parents[2]
MEM_MIB = 128
Decode = Callable[..., list[Answer]]
Boot = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", params=arch.names())
def learned(request: pytest.FixtureRequest) -> KernelFacts:
    """What is known of Debian's 6.12."""
    which = arch.get(request.param)
    return facts.load(debian.resolve("debian:6.12", which, cache_root()).path, cache_root())


def compile_with(out: Path, *sources: Path) -> Path:
    """Build a C program out of a test's source and the plugin's; returns ``out``."""
    glib = subprocess.check_output(["pkg-config", "--cflags", "glib-2.0"], text=True).split()
    words = ("gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", *glib)
    headers = (f"-I{REPOSITORY / 'plugin'}", "-isystem", REPOSITORY / "build" / "include")
    subprocess.run([*words, *headers, "-o", out, *sources, "-lglib-2.0"], check=True)
    return out


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """decode.c with the plugin's decoders."""
    out = tmp_path_factory.mktemp("decode") / "decode"
    here = Path(__file__).with_name("decode.c")
    return compile_with(out, here, *(REPOSITORY / "plugin").glob("arch_*.c"))


@pytest.fixture
def decode(decoder: Path) -> Decode:
    """Lines for decode.c, and its answers."""

    def run(arch: str, lines: Iterable[str], *mode: str) -> list[Answer]:
        text = "".join(f"{line}\n" for line in lines)
        words = [str(decoder), arch, *mode]
        out = subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout
        return [Answer.parse(line) for line in out.splitlines()]

    return run


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
        *(
            "-kernel",
            str(kernel),
            "-append",
            "console=ttyS0 nokaslr no_timer_check mitigations=off panic=-1",
        ),
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
