"""What a schedule is made of: points in a program, holds, and the plan they form.

A plan names nothing by address, so it survives a rebuild; ``resolve`` finds the addresses in the
kernel at hand.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shootdown import arch as architectures
from shootdown.errors import UsageError

EVENTS: Final = ("pte_write", "flush", "root_load", "load", "store", "enter", "return", "call")
"""What a point may be; see ``Point.event``."""
CLASSES: Final = ("any", "none", "present", "readonly", "writable")
"""What a page-table entry may be: ``none`` is any entry that no CPU can use; ``present`` is
``readonly`` or ``writable`` by user mode."""
PLACES: Final = ("any", "window", "page")
"""Where an access or an entry may point: anywhere; into a range that the workload declared; to the
page of the entry whose change the enclosing hold waited for."""
WHEN: Final = ("before", "after")
BOUND_MS: Final = 2000
_MOST_MS: Final = 600_000
_MOST_INSTRUCTIONS: Final = 1000
_ACCESSES: Final = (("load", "after"), ("store", "after"))
_ON_PAGES: Final = ("pte_write", "load", "store")
_FUNCTIONS: Final = ("enter", "return", "call")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One instruction that one thread executes: who, what, and in which operation.

    Raises UsageError when a field is none of what it may be.
    """

    event: str
    """``pte_write``: a store changes an entry of level 1; ``flush``: TLB entries are invalidated;
    ``root_load``: the CPU gets another address space; ``load``, ``store``: an access of user mode
    to what the workload declared; ``enter``, ``return``: of the kernel function ``function``;
    ``call``: of ``function`` by ``inside``."""
    thread: str = "*"
    """Name of the thread, a shell pattern; a kernel thread has one too."""
    cpu: int | None = None
    """The vCPU, from 0; None is any."""
    when: str = "before"
    """``before`` or ``after`` the instruction; not for ``enter`` and ``return``."""
    within: str = ""
    """System call (``munmap``) or kernel function that the thread executes meanwhile."""
    old: str = "any"
    """``pte_write``: class of the entry before."""
    new: str = "any"
    """``pte_write``: class of the entry afterwards."""
    of: str = "any"
    """Where the access, or the entry, points; one of ``PLACES``."""
    function: str = ""
    """Name, or names with ``|`` between, of which those count that the kernel has."""
    inside: str = ""
    """``call``: the calling function; empty is any."""
    nth: int = 1
    """Which one, from 1; counted anew in each ``within``."""

    def __post_init__(self) -> None:
        for what, value, known in (
            ("event", self.event, EVENTS),
            ("when", self.when, WHEN),
            ("old", self.old, CLASSES),
            ("new", self.new, CLASSES),
            ("of", self.of, PLACES),
        ):
            if value not in known:
                raise UsageError(f"a point's {what} cannot be {value!r}{nearest(value, known)}")
        if bool(self.function) != (self.event in _FUNCTIONS):
            names = ", ".join(_FUNCTIONS)
            raise UsageError(f"the points {names} have a function, and no others: {self!r}")
        if self.of == "page" and (self.event, self.when) not in _ACCESSES:
            raise UsageError(f"only after a load or a store one speaks of the page: {self!r}")
        if self.inside and self.event != "call":
            raise UsageError(f"only a call is inside a function: {self!r}")
        if self.within and self.event == "return":
            raise UsageError(f"a return is within nothing but its own function: {self!r}")
        if self.nth < 1 or (self.cpu is not None and self.cpu < 0):
            raise UsageError(f"a point's nth counts from 1 and its cpu from 0: {self!r}")

    def __str__(self) -> str:
        who = "anybody" if self.thread == "*" else self.thread
        words = [who] if self.cpu is None else [who, f"on CPU {self.cpu}"]
        words += [self.when] if self.event not in ("enter", "return") else []
        words += [f"its {self.nth}."] if self.nth > 1 else []
        words += [{"enter": "entry of", "return": "return of"}.get(self.event, self.event)]
        words += [f"{self.old} -> {self.new}"] if self.event == "pte_write" else []
        words += [self.function] if self.function else []
        words += [f"in {self.inside}"] if self.inside else []
        words += {"any": [], "page": ["of the page"], "window": ["in the window"]}[self.of]
        words += [f"within {self.within}"] if self.within else []
        return " ".join(words)


@dataclass(frozen=True)
class Pause:
    """The vCPUs that are not held run for so long."""

    ms: int
    """Milliseconds of the host's time, those not counted in which all stand still."""

    def __post_init__(self) -> None:
        _milliseconds("pause", self.ms)

    def __str__(self) -> str:
        return f"{self.ms} ms"


@dataclass(frozen=True)
class Advance:
    """The vCPU that is held executes so many instructions, alone, and is held again."""

    instructions: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.instructions <= _MOST_INSTRUCTIONS:
            raise UsageError(
                f"a vCPU advances by 1 to {_MOST_INSTRUCTIONS} instructions, "
                f"not by {self.instructions}"
            )

    def __str__(self) -> str:
        return f"it advances by {self.instructions}"


@dataclass(frozen=True)
class Hold:
    """Who reaches ``point`` stands still until the others have done what ``until`` says."""

    point: Point
    until: tuple[Step, ...]
    """What has to happen, in this order. A Hold in here holds one more vCPU."""
    bound_ms: int = BOUND_MS
    """Milliseconds, as in Pause, after which the vCPU goes on in any case."""
    infeasible: tuple[str, ...] = ()
    """Architectures on which this order cannot be, and the hold is to time out."""

    def __post_init__(self) -> None:
        _milliseconds("bound", self.bound_ms)
        for name in self.infeasible:
            architectures.get(name)
        if not self.until:
            raise UsageError(f"the hold of {self.point} waits for nothing: say until when")

    def __str__(self) -> str:
        return f"hold {self.point} until " + ", then ".join(
            f"({step})" if isinstance(step, Hold) else str(step) for step in self.until
        )


Step = Point | Pause | Advance | Hold


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A schedule, and the load it is for."""

    name: str
    workload: str
    holds: tuple[Hold, ...]
    """One after the other."""
    repeat: int = 1
    """How often, all of them in their order."""
    iterations: int = 20
    """Iterations of the workload: as many opportunities."""
    smp: int = 3
    """vCPUs."""
    options: str = ""
    """Of the workload: ``KEY=VALUE``, with commas between."""
    swap: int = 0
    """MiB of swap."""
    disk: int = 0
    """MiB of a disk without content, for workloads that do direct IO."""
    events: str = ""
    """Groups of events to record, with commas between; empty is default."""

    def __post_init__(self) -> None:
        if not self.holds:
            raise UsageError(f"the race {self.name} holds nobody: it needs a hold")
        for what, value in (("repeat", self.repeat), ("iterations", self.iterations)):
            if not 1 <= value <= 10**6:
                raise UsageError(f"{what} of the race {self.name} is {value}; it must be 1 to 10^6")

        for hold in self.holds:
            _check_pages(hold, False)

    @property
    def planned(self) -> int:
        """Number of vCPUs that will be held."""
        return self.repeat * sum(1 for step in steps(self.holds) if isinstance(step, Hold))

    def points(self) -> list[Point]:
        """Every point, in the order of the plan."""
        return [
            step.point if isinstance(step, Hold) else step
            for step in steps(self.holds)
            if not isinstance(step, Pause | Advance)
        ]


def steps(of: Sequence[Step]) -> list[Step]:
    """Every step, and those within it after it."""
    found: list[Step] = []
    for step in of:
        found.append(step)
        if isinstance(step, Hold):
            found += steps(step.until)
    return found


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint for a misspelt word: the nearest names, or all of a few."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known are {', '.join(known)}" if 0 < len(known) <= 12 else ""


def _check_pages(step: Step, known: bool) -> None:
    # Whether "the page" means something wherever it is spoken of.
    point = step.point if isinstance(step, Hold) else step
    if isinstance(point, Point) and point.of == "page" and not known:
        raise UsageError(f"no hold around it says which page is meant: {point}")
    if isinstance(step, Hold):
        for inner in step.until:
            _check_pages(inner, known or step.point.event in _ON_PAGES)


def _milliseconds(what: str, value: int) -> None:
    if not 1 <= value <= _MOST_MS:
        raise UsageError(f"a {what} of {value} ms is none; it must be 1 to {_MOST_MS}")
