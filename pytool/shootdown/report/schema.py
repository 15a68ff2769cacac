"""The shape of result.json, and a validator as small as the shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Map:
    """An object with any keys, whose values all have one shape."""

    value: Shape


@dataclass(frozen=True)
class Optional:
    """A field that may be absent."""

    value: Shape


# A type, the exact words allowed, an object with named fields, a list of one shape, or one of
# the classes above.
Shape = type | frozenset[str] | Mapping[str, Any] | list[Any] | Map | Optional

RULE: Final[Shape] = {
    "armed": bool,
    "exercised": int,
    "violations": int,
    "may": int,
    "witness": int,
}

LOCK: Final[Shape] = {
    "lock": str,
    "how": frozenset({"read", "write", "held"}),
    "of": str,
    "task": str,
    "cpu": int,
    "since": int,
}

HOLDER: Final[Shape] = {"cpu": int, "task": str, "stack": [str]}

CAME: Final[Shape] = {
    "seq": int,
    "cpu": int,
    "operation": str,
    "start": str,
    "end": str,
    "asid": int,
    "local": bool,
    "dsb_before": int,
    "dsb_after": int,
}

RESULT: Final[Shape] = {
    "schema": int,
    "tool": str,
    "verdict": frozenset({"pass", "fail", "inconclusive", "crash", "timeout", "error"}),
    "exit_code": int,
    "arch": str,
    "kernel": {"release": str, "build_id": str, "source": str},
    "qemu": str,
    "seed": int,
    "plan": str,
    "workloads": [{"name": str, "status": str, "seconds": float, "rules": Optional(Map(RULE))}],
    "rules": Map(RULE),
    "violations": [
        {
            "rule": str,
            "kind": frozenset({"may", "witness"}),
            "arch": str,
            "mm": str,
            "va": str,
            "cpus": [int],
            "site": str,
            "summary": str,
            "fingerprint": str,
            "seq": [int],
            "cpu": Optional(int),
            "holders": Optional([HOLDER]),
            "came": Optional([CAME]),
            "came_others": Optional(int),
            "locks": Optional([LOCK]),
            "details": Optional(dict),
        }
    ],
    "events": Map(int),
    "lost": int,
    "audit": {"tables_checked": int, "entries_checked": int, "mismatches": int},
    "holds": {"planned": int, "fired": int, "timed_out": int},
    "timing": {"boot_s": float, "record_s": float, "check_s": float},
    "windows": Optional(
        [
            {
                "operation": str,
                "count": int,
                "p50": int,
                "p99": int,
                "max": int,
                "observers": Map(Map(int)),
            }
        ]
    ),
    "coverage": Optional(Map(int)),
    "stopped": Optional(Map(int)),
}


def problems(value: object) -> list[str]:
    """What keeps ``value`` from being a result; additions are no problem."""
    return list(_check(value, RESULT, "result"))


def _check(value: object, shape: Shape, where: str) -> Iterator[str]:
    match shape:
        case Optional():
            yield from _check(value, shape.value, where)
        case type():
            if not _is(value, shape):
                yield f"{where} is {value!r}, not {shape.__name__}"
        case frozenset():
            if value not in shape:
                yield f"{where} is {value!r}, not one of {', '.join(sorted(shape))}"
        case list():
            yield from _check_list(value, shape[0], where)
        case Map():
            yield from _check_fields(value, {}, shape.value, where)
        case _:
            yield from _check_fields(value, shape, None, where)


def _check_list(value: object, shape: Shape, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where} is no list"
        return
    for number, item in enumerate(value):
        yield from _check(item, shape, f"{where}[{number}]")


def _check_fields(
    value: object, named: Mapping[str, Any], others: Shape | None, where: str
) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no object"
        return
    for key, shape in named.items():
        if key not in value and not isinstance(shape, Optional):
            yield f"{where}.{key} is missing"
    for key, item in value.items():
        shape = named.get(key, others)
        if shape is not None:
            yield from _check(item, shape, f"{where}.{key}")


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)
