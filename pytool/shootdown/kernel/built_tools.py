"""The compilers that kernels are built with, and what the kernel's make is told of them.

``Documentation/kbuild/llvm.rst`` of the kernel: ``LLVM=-19`` takes clang, lld and all of LLVM's
binutils of that version, for every architecture; gcc goes by ``CROSS_COMPILE``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shootdown.arch.base import Arch
from shootdown.errors import InfraError


@dataclass(frozen=True)
class Toolchain:
    """A compiler, its linker, and how the kernel's make is told to use them."""

    name: str
    """As ``toolchain`` of a variant has it."""
    packages: str
    """The set of ``images/setup/packages`` that it takes to build with it."""
    programs: Callable[[Arch], tuple[str, ...]]
    """Of those that decide what is built."""
    words: Callable[[Arch], tuple[str, ...]]
    """Arguments of make."""

    def versions(self, arch: Arch) -> tuple[str, ...]:
        """A line for each program that decides what is built. InfraError when one is missing."""
        return tuple(_version(name) for name in (*self.programs(arch), "pahole"))


def _version(program: str) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InfraError(f"{program} does not run, which builds kernels: {error}") from error
    return f"{program}: {done.stdout.splitlines()[0]}"


def _cross(arch: Arch) -> str:
    return arch.machine.compiler.removesuffix("gcc")


GCC: Final = Toolchain(
    "gcc",
    "kernel",
    programs=lambda arch: (f"{_cross(arch)}gcc", f"{_cross(arch)}ld"),
    words=lambda arch: (f"CROSS_COMPILE={_cross(arch)}",),
)
# The newest that Debian 12 and 13 both have; 7.2 takes none before 15 (scripts/min-tool-version.sh)
_LLVM: Final = "-19"
CLANG: Final = Toolchain(
    "clang",
    "kernel-clang",
    programs=lambda _: (f"clang{_LLVM}", f"ld.lld{_LLVM}"),
    words=lambda _: (f"LLVM={_LLVM}",),
)
TOOLCHAINS: Final = {chain.name: chain for chain in (GCC, CLANG)}
"""By name."""
