"""A plan as a TOML file, both ways.

::

    schema = 1
    name = "old_page_is_read"
    workload = "map_fixed"

    [[hold]]
    point = { event = "pte_write", thread = "mapper", when = "after", new = "none", of = "window" }
    until = [{ event = "load", thread = "observer0", when = "after", of = "page" }]
    bound_ms = 2000

An element of ``until`` is a point, ``{ pause_ms = 5 }``, ``{ advance = 1 }`` (instructions), or
another hold with keys of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from shootdown.errors import UsageError
from shootdown.race import toml_file
from shootdown.race.points import BOUND_MS, Advance, Hold, Pause, Plan, Point, Step, nearest

SCHEMA: Final = 1
_ALWAYS: Final = {"name": str, "workload": str, "repeat": int, "iterations": int, "smp": int}
_PLAN: Final = {**_ALWAYS, "options": str, "swap": int, "disk": int, "events": str}
SAVED: Final = ("experiment", "expect")
"""Tables that ``race.finding`` adds to a plan; a plan that has them is a plan all the same."""
_POINT: Final = {f.name: int if f.name in ("cpu", "nth") else str for f in fields(Point)}
_HOLD: Final = {"point": dict, "until": list, "bound_ms": int, "infeasible": list}


def to_toml(plan: Plan) -> str:
    """The plan as a file; what has its default is left out of points."""
    lines = [f"schema = {SCHEMA}"]
    lines += [
        f"{name} = {json.dumps(value)}"
        for name in _PLAN
        if (value := getattr(plan, name)) or name in _ALWAYS
    ]
    for hold in plan.holds:
        lines += ["", "[[hold]]", f"point = {_point(hold.point)}"]
        lines += ["until = [", *(f"  {_step(step)}," for step in hold.until), "]"]
        lines += [f"bound_ms = {hold.bound_ms}"]
        lines += [f"infeasible = {json.dumps(hold.infeasible)}"] if hold.infeasible else []
    return "\n".join(lines) + "\n"


def load(path: Path) -> Plan:
    """Read a plan. Raises UsageError that names the file and what is wrong with it."""
    return toml_file.load("plan", path, of_toml)


def of_toml(text: str) -> Plan:
    """The plan in ``text``. Raises UsageError that says what is wrong."""
    table = toml_file.table(text, SCHEMA)
    holds = table.pop("hold", [])
    for name in SAVED:
        table.pop(name, None)
    _check("a plan", table, _PLAN, ("name", "workload"))
    if not isinstance(holds, list):
        raise UsageError("holds are [[hold]], with two brackets")
    return Plan(**table, holds=tuple(_hold_of(hold) for hold in holds))


def _point(point: Point) -> str:
    default = Point(event=point.event, function=point.function)
    words = [
        f"{f.name} = {json.dumps(getattr(point, f.name))}"
        for f in fields(point)
        if f.name == "event" or getattr(point, f.name) != getattr(default, f.name)
    ]
    if point.function:
        words.append(f"function = {json.dumps(point.function)}")
    return "{ " + ", ".join(words) + " }"


def _step(step: Step) -> str:
    match step:
        case Pause():
            return f"{{ pause_ms = {step.ms} }}"
        case Advance():
            return f"{{ advance = {step.instructions} }}"
        case Hold():
            until = ", ".join(_step(inner) for inner in step.until)
            words = [f"point = {_point(step.point)}", f"until = [{until}]"]
            words += [f"bound_ms = {step.bound_ms}"]
            words += [f"infeasible = {json.dumps(step.infeasible)}"] if step.infeasible else []
            return f"{{ {', '.join(words)} }}"
    return _point(step)


def _hold_of(table: Any) -> Hold:
    _check("a hold", table, _HOLD, ("point", "until"))
    until = tuple(_step_of(step) for step in table["until"])
    infeasible = table.get("infeasible", [])
    if not all(isinstance(name, str) for name in infeasible):
        raise UsageError(f"infeasible of a hold is {infeasible!r}, and no list of architectures")
    return Hold(
        _point_of(table["point"]), until, table.get("bound_ms", BOUND_MS), tuple(infeasible)
    )


def _step_of(table: Any) -> Step:
    if isinstance(table, dict) and "pause_ms" in table:
        _check("a pause", table, {"pause_ms": int}, ())
        return Pause(table["pause_ms"])
    if isinstance(table, dict) and "advance" in table:
        _check("an advance", table, {"advance": int}, ())
        return Advance(table["advance"])
    if isinstance(table, dict) and "point" in table:
        return _hold_of(table)
    return _point_of(table)


def _point_of(table: Any) -> Point:
    _check("a point", table, _POINT, ("event",))
    return Point(**table)


def _check(what: str, table: Any, known: Mapping[str, type], needed: tuple[str, ...]) -> None:
    if not isinstance(table, dict):
        raise UsageError(f"{what} is a table, not {table!r}")
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"{what} has no {key}{nearest(key, list(known))}")
        if type(value) is not known[key]:
            raise UsageError(f"{key} of {what} is {value!r}, which is no {known[key].__name__}")
    if missing := [key for key in needed if key not in table]:
        raise UsageError(f"{what} needs {missing[0]}: {table}")
