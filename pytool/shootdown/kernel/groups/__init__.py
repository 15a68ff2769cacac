"""Groups of events beyond those that every recording has. One file for each."""

from __future__ import annotations

import difflib
from typing import Final

from shootdown.errors import UsageError
from shootdown.kernel.groups import (
    asid,
    faults,
    functions,
    gup,
    lock_waits,
    pages,
    ptl,
    shootdowns,
    vma_locks,
    vmas,
    walkers,
)
from shootdown.kernel.groups.base import Group, Section
from shootdown.kernel.inlined import Call

_ALL: Final = (
    functions.GROUP,
    shootdowns.GROUP,
    asid.GROUP,
    lock_waits.GROUP,
    ptl.GROUP,
    pages.GROUP,
    walkers.GROUP,
    vmas.GROUP,
    vma_locks.GROUP,
    faults.GROUP,
    gup.GROUP,
)
GROUPS: Final[dict[str, Group]] = {group.name: group for group in _ALL}
"""By name."""
DEFAULT: Final = (functions.GROUP.name, shootdowns.GROUP.name, pages.GROUP.name)
"""What the armed rules need, and the operation stack of their evidence."""


def named(text: str) -> tuple[Group, ...]:
    """The groups of a list with commas between: names, ``default`` or ``all``; empty is default.

    Raises UsageError for an unknown name.
    """
    wanted: set[str] = set()
    for name in text.split(",") if text else ("default",):
        if name == "all":
            wanted |= set(GROUPS)
        elif name == "default":
            wanted |= set(DEFAULT)
        elif name in GROUPS:
            wanted.add(name)
        elif name != "none":
            close = difflib.get_close_matches(name, GROUPS, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(GROUPS)}"
            raise UsageError(f"unknown event group {name!r}; {hint}")
    return tuple(group for name, group in GROUPS.items() if name in wanted)


def all_members() -> tuple[str, ...]:
    """Members that any group looks up in the kernel's types."""
    return tuple(dict.fromkeys(name for group in GROUPS.values() for name in group.members))


def all_constants() -> tuple[str, ...]:
    """Constants that any group looks up there."""
    return tuple(dict.fromkeys(name for group in GROUPS.values() for name in group.constants))


def all_sections() -> tuple[Section, ...]:
    """Sections inside of functions that any group records."""
    return tuple(dict.fromkeys(one for group in GROUPS.values() for one in group.sections))


def all_functions() -> tuple[str, ...]:
    """Names of the functions that any group records, or asks for."""
    traced = [traced.function.name for group in GROUPS.values() for traced in group.functions]
    return tuple(dict.fromkeys(traced))


def all_calls() -> tuple[Call, ...]:
    """Calls that must not go unseen for any group."""
    return tuple(dict.fromkeys(call for group in GROUPS.values() for call in group.calls))
