"""The architectures, by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from shootdown.arch.base import Arch
from shootdown.errors import UsageError

__all__ = ("Arch", "get", "names")

_ALIASES = {
    "x86_64": "x86_64",
    "x86-64": "x86_64",
    "amd64": "x86_64",
    "arm64": "arm64",
    "aarch64": "arm64",
}


def names() -> tuple[str, ...]:
    """Names of all architectures, in the order reports show them."""
    return tuple(dict.fromkeys(_ALIASES.values()))


def get(name: str) -> Arch:
    """Find an architecture by its name or by another project's name for it (amd64, aarch64).

    Raises UsageError for an unknown name.
    """
    canonical = _ALIASES.get(name.lower())
    if canonical is None:
        raise UsageError(f"unknown architecture '{name}': use one of {', '.join(names())}")
    return _load(canonical)


@cache
def _load(name: str) -> Arch:
    # Imported on demand: these modules import arch.base, and with it this file.
    machine, mmu, kernel, profiles = (
        import_module(f"shootdown.arch.{name}.{part}")
        for part in ("machine", "mmu", "kernel", "profiles")
    )
    return Arch(
        name=name,
        machine=machine.MACHINE,
        mmu=mmu.MMU,
        kernel=kernel.KERNEL,
        profiles=profiles.PROFILES,
    )
