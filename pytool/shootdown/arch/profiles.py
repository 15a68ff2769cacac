"""Named configurations of a guest: what ``--profile`` names, laid over an architecture."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from shootdown import arch as architectures
from shootdown.arch.base import Arch, Profile
from shootdown.errors import UsageError


def apply(arch: Arch, names: str) -> Arch:
    """The architecture as the profiles, with commas between, configure it; none changes nothing.

    Raises UsageError for a profile that is unknown or another architecture's.
    """
    for name in names.split(",") if names else ():
        profile = find(arch, name)
        machine = replace(
            arch.machine,
            cmdline=_replaced(arch.machine.cmdline, profile.cmdline),
            cpu=_replaced(arch.machine.cpu, profile.cpu),
            args=_replaced(arch.machine.args, profile.args),
        )
        arch = replace(arch, machine=machine)
    return arch


def find(arch: Arch, name: str) -> Profile:
    """One profile of the architecture; raises UsageError as ``apply`` does."""
    profile = arch.profiles.get(name)
    if profile is None:
        raise UsageError(_unknown(arch, name))
    return profile


def lacking(arch: Arch, names: str) -> list[str]:
    """Those of the names, with commas between, that only other architectures have."""
    others = {n for other in architectures.names() for n in architectures.get(other).profiles}
    return [name for name in names.split(",") if name in others - set(arch.profiles)]


def _unknown(arch: Arch, name: str) -> str:
    others = [n for n in architectures.names() if name in architectures.get(n).profiles]
    if others:
        return f"profile {name} is for {', '.join(others)}; {arch.name} has {known(arch)}"
    close = difflib.get_close_matches(name, arch.profiles, n=1)
    hint = f"did you mean {close[0]}?" if close else f"{arch.name} has {known(arch)}"
    return f"unknown profile {name!r}; {hint}"


def known(arch: Arch) -> str:
    """Names of the profiles, with commas between."""
    return ", ".join(arch.profiles)


def _replaced(words: Iterable[str], by: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(new for word in words for new in by.get(word, (word,)))
