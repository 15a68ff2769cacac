"""Kernel configurations from fragments, and whether everything in them took effect."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shootdown.errors import UsageError

_SET: Final = re.compile(r'(CONFIG_\w+)=(y|n|m|-?\d+|0x[0-9a-fA-F]+|"(?:[^"\\]|\\.)*")')
_UNSET: Final = re.compile(r"# (CONFIG_\w+) is not set")
_DEFINED: Final = re.compile(r"^\s*(?:menu)?config\s+(\w+)\s*$", re.MULTILINE)

OFF: Final = "n"
"""Value of an option that is not set."""


def parse(text: str, name: str = "the configuration") -> dict[str, str]:
    """Options and their values, as ``.config`` writes them; ``n`` for those that are not set.

    Raises UsageError that names the line that is neither an option, a comment nor empty, or the
    option that is there twice. ``name`` is what messages call the text.
    """
    options: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        unset = _UNSET.fullmatch(word)
        if not word or (word.startswith("#") and not unset):
            continue
        match = unset or _SET.fullmatch(word)
        if match is None:
            raise UsageError(f"{name}, line {number}: {word!r} is no option of a kernel")
        option = match[1]
        if option in options:
            raise UsageError(f"{name}, line {number}: {option} is there twice")
        options[option] = OFF if unset else match[2]
    return options


def merge(fragments: Iterable[dict[str, str]]) -> dict[str, str]:
    """All options of the fragments; of an option that several have, the last one's value."""
    merged: dict[str, str] = {}
    for fragment in fragments:
        merged |= fragment
    return merged


def render(options: dict[str, str]) -> str:
    """The options as a ``.config`` has them, sorted."""
    lines = (
        f"# {option} is not set" if value == OFF else f"{option}={value}"
        for option, value in sorted(options.items())
    )
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Verified:
    """What became of the options that were asked for."""

    unknown: tuple[str, ...]
    """Options that this kernel does not have, on this architecture; nobody could set them."""
    dropped: tuple[str, ...]
    """Options that it has and that came out otherwise: ``OPTION=wanted, is VALUE``."""


def verify(wanted: dict[str, str], got: dict[str, str], known: frozenset[str]) -> Verified:
    """Compare what was asked for with the ``.config`` that the kernel's Kconfig made of it.

    ``known``: the options that the kernel has, without ``CONFIG_``.
    """
    unknown, dropped = [], []
    for option, value in wanted.items():
        found = got.get(option, OFF)
        if found == value:
            continue
        if option.removeprefix("CONFIG_") not in known:
            unknown.append(option)
        else:
            dropped.append(f"{option}={value}, is {found}")
    return Verified(tuple(unknown), tuple(dropped))


def known_options(tree: Path, srcarch: str) -> frozenset[str]:
    """Names of all options of the source tree, those of other architectures left out.

    ``srcarch``: the directory below ``arch`` (x86, arm64). Raises OSError.
    """
    found: set[str] = set()
    for file in tree.rglob("Kconfig*"):
        parts = file.relative_to(tree).parts
        if parts[0] == "arch" and len(parts) > 2 and parts[1] != srcarch:
            continue
        if file.is_file():
            found.update(_DEFINED.findall(file.read_text(errors="replace")))
    return frozenset(found)
