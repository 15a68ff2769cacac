"""What a recording's kernel has, as its run directory says: for models that read captured words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shootdown import arch as arches


@dataclass(frozen=True)
class Known:
    """Enumerators, and what event groups did not find."""

    constants: Mapping[str, int] = field(default_factory=dict)
    """By path, as groups ask for them."""
    absent: frozenset[str] = frozenset()
    """Functions, members and variables of groups that the kernel does not have."""
    recorded: frozenset[str] = frozenset()
    """Groups that were recorded."""
    arch: str = ""
    """Name of the architecture, empty when it is not known."""
    bbm: int = 0
    """Level of FEAT_BBM that break-before-make is judged for."""

    def bits(self, value: int, paths: Iterable[str], prefix: str) -> str:
        """The names of a word's bits, with ``|`` between; what has no name as a number.

        ``paths``: enumerators that may be in it; ``prefix`` is taken off their names.
        """
        names = []
        for path in paths:
            bit = self.constants.get(path, 0)
            if bit and value & bit == bit:
                names.append(path.rpartition(".")[2].removeprefix(prefix))
                value &= ~bit
        return "|".join([*names, *([f"{value:#x}"] if value else [])])


def known(command: Mapping[str, Any]) -> Known:
    """From the content of command.json, which is untrusted: what has another form is left out."""
    events = command.get("events")
    groups = events.values() if isinstance(events, dict) else ()
    constants: dict[str, int] = {}
    absent: set[str] = set()
    for group in filter(_is_mapping, groups):
        said = group.get("constants")
        if isinstance(said, dict):
            constants |= {k: v for k, v in said.items() if isinstance(v, int)}
        lacks = group.get("absent")
        absent |= {x for x in lacks if isinstance(x, str)} if isinstance(lacks, list) else set()
    recorded = (
        name
        for name, group in (events.items() if isinstance(events, dict) else ())
        if _is_mapping(group) and group.get("recorded") is True
    )
    arch = command.get("arch")
    known_arch = arch if isinstance(arch, str) and arch in arches.names() else ""
    bbm = command.get("bbm")
    level = bbm if isinstance(bbm, int) else 0
    return Known(constants, frozenset(absent), frozenset(recorded), known_arch, level)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)
