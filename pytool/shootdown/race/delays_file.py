"""Delays as a TOML file, both ways.

::

    schema = 1

    [[delay]]
    event = "pte_write"
    old = "present"
    new = "none"
    chance = 0.5
    min_ns = 20000
    octaves = 10
    limit = 200

A ``[[rank]]`` has ``cpu``, ``nth`` and ``rank``. What has its default is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from shootdown.errors import UsageError
from shootdown.race import toml_file
from shootdown.race.delays import Delay, Delays, Rank
from shootdown.race.points import nearest

SCHEMA: Final = 1
_TYPES: Final = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
_DELAY: Final = {f.name: _TYPES[str(f.type)] for f in fields(Delay)}
_RANK: Final = {f.name: _TYPES[str(f.type)] for f in fields(Rank)}


def to_toml(plan: Delays) -> str:
    """The delays as a file."""
    out = ["# delays; use them again: shootdown run --inject THIS_FILE", f"schema = {SCHEMA}"]
    out += [f"# not in this kernel: {name}" for name in plan.absent]
    for delay in plan.delays:
        default = Delay(event=delay.event, function=delay.function)
        names = [n for n in _DELAY if getattr(delay, n) != getattr(default, n)]
        keep = ["event", *(["function"] if delay.function else []), *names]
        out += ["", "[[delay]]", *(f"{n} = {json.dumps(getattr(delay, n))}" for n in keep)]
    for rank in plan.ranks:
        out += ["", "[[rank]]", *(f"{n} = {getattr(rank, n)}" for n in _RANK)]
    return "\n".join(out) + "\n"


def load(path: Path) -> Delays:
    """Read delays. Raises UsageError that names the file and what is wrong with it."""
    return toml_file.load("delays", path, of_toml)


def of_toml(text: str) -> Delays:
    """The delays in ``text``. Raises UsageError that says what is wrong."""
    table = toml_file.table(text, SCHEMA)
    delays, ranks = table.pop("delay", []), table.pop("rank", [])
    if table:
        key = next(iter(table))
        raise UsageError(f"unknown key {key}{nearest(key, ('schema', 'delay', 'rank'))}")
    if not isinstance(delays, list) or not isinstance(ranks, list):
        raise UsageError("delays are [[delay]] and ranks [[rank]], with two brackets")
    return Delays(
        tuple(Delay(**_checked("a delay", each, _DELAY, ("event",))) for each in delays),
        tuple(Rank(**_checked("a rank", each, _RANK, tuple(_RANK))) for each in ranks),
    )


def _checked(
    what: str, table: Any, types: Mapping[str, tuple[type, ...]], needed: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError(f"{what} is a table, not {table!r}")
    for key, value in table.items():
        if key not in types:
            raise UsageError(f"{what} has no {key}{nearest(key, list(types))}")
        if type(value) not in types[key]:
            raise UsageError(f"{key} of {what} cannot be {value!r}")
    for key in needed:
        if key not in table:
            raise UsageError(f"{what} needs {key}")
    return table
