"""Delays inside the plugin: short, many in a run, and at random, where a hold is exact and one.

A delay names a point of the program by event and symbol, as a hold does, and says how probable it
is there and how long. ``lines`` finds the points in the kernel at hand and writes them down for the
plugin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shootdown.errors import UsageError
from shootdown.kernel import exits
from shootdown.kernel.facts import KernelFacts
from shootdown.race.draws import MILLION
from shootdown.race.points import CLASSES, Point, nearest
from shootdown.race.resolve import resolve
from shootdown.race.spec import Spec

EVENTS: Final = ("pte_write", "root_load", "enter", "return", "call")
"""What a point may be; see ``Delay.event``."""
PLACES: Final = ("any", "window")
LONGEST_NS: Final = 100_000_000
"""What no delay may be longer than (``SD_MAX_DELAY_NS``): it may stop the whole guest."""
_FUNCTIONS: Final = ("enter", "return", "call")
_MOST_OCTAVES: Final = 32
_MOST_LINES: Final = 1024
_MOST_RANKS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Delay:
    """Who reaches the point is delayed, with some probability and for a random time.

    Raises UsageError when a field is none of what it may be.
    """

    event: str
    """``pte_write``: after a store that changes a user's entry of level 1; ``root_load``: after an
    instruction that loads another user's root; ``enter``: before the first instruction of
    ``function``; ``return``: before it returns; ``call``: before ``inside`` calls it."""
    function: str = ""
    inside: str = ""
    """``call``: the calling function; empty is any."""
    old: str = "any"
    """``pte_write``: class of the entry before, one of ``points.CLASSES``."""
    new: str = "any"
    """``pte_write``: class of the entry afterwards."""
    of: str = "window"
    """``pte_write``: ``window`` for entries of what the workload declared, or ``any``."""
    chance: float = 1.0
    """Probability that an arrival is delayed, above 0, at most 1."""
    min_ns: int = 1000
    """Shortest delay. With ``rank`` the delay for each vCPU that goes first."""
    octaves: int = 0
    """The delay is log-uniform in [``min_ns``, ``min_ns << octaves``); 0: it is ``min_ns``."""
    limit: int = 10**9
    """How many delays each vCPU gets here at most."""
    rank: bool = False
    """Every arrival is delayed, by the vCPU's rank at that time (``Rank``); a vCPU of rank 0 is
    not."""

    def __post_init__(self) -> None:
        for what, value, known in (
            ("event", self.event, EVENTS),
            ("old", self.old, CLASSES),
            ("new", self.new, CLASSES),
            ("of", self.of, PLACES),
        ):
            if value not in known:
                raise UsageError(f"a delay's {what} cannot be {value!r}{nearest(value, known)}")
        if bool(self.function) != (self.event in _FUNCTIONS):
            names = ", ".join(_FUNCTIONS)
            raise UsageError(f"the points {names} have a function, and no others: {self}")
        if self.inside and self.event != "call":
            raise UsageError(f"only a call is inside a function: {self}")
        if not 0 < self.chance <= 1:
            raise UsageError(f"a delay's chance is above 0 and at most 1: {self}")
        if not 0 <= self.octaves <= _MOST_OCTAVES or self.min_ns < 1 or self.longest > LONGEST_NS:
            raise UsageError(f"a delay takes 1 to {LONGEST_NS} ns: {self}")
        if self.limit < 1:
            raise UsageError(f"a delay's limit is 1 at least: {self}")

    @property
    def longest(self) -> int:
        """Nanoseconds that no delay here exceeds; with ``rank``, for each vCPU that goes first."""
        return self.min_ns << self.octaves

    @property
    def millionths(self) -> int:
        """The chance as the plugin has it: a probability that is not 0 does not become 0."""
        return max(1, round(self.chance * MILLION))

    def __str__(self) -> str:
        where = {"pte_write": f"pte_write {self.old} -> {self.new} in the {self.of}"}
        name = f"{self.event} {self.function}".strip()
        return where.get(self.event, name) + (f" in {self.inside}" if self.inside else "")


@dataclass(frozen=True)
class Rank:
    """From a vCPU's ``nth`` arrival at ranked points on (from 0), ``rank`` others go first."""

    cpu: int
    nth: int
    rank: int


@dataclass(frozen=True)
class Delays:
    """All delays of one run; of several that fit a change of an entry the first one counts.

    Raises UsageError for ranks that are not in order, and for two delays of one place.
    """

    delays: tuple[Delay, ...] = ()
    ranks: tuple[Rank, ...] = ()
    absent: tuple[str, ...] = ()
    """Points that a policy would have and the kernel has not, for people."""

    def __post_init__(self) -> None:
        last: dict[int, int] = {}
        for rank in self.ranks:
            small = 0 <= rank.rank < _MOST_RANKS and 0 <= rank.cpu < _MOST_RANKS
            if not small or not last.get(rank.cpu, -1) < rank.nth < 1 << 64:
                raise UsageError(f"ranks come in the order of arrivals, and are small: {rank}")
            last[rank.cpu] = rank.nth
        counts = Counter(rank.cpu for rank in self.ranks)
        if counts and max(counts.values()) > _MOST_RANKS:
            raise UsageError(f"the rank of a vCPU changes {_MOST_RANKS} times at most")
        if sum(delay.event == "root_load" for delay in self.delays) > 1:
            raise UsageError("there is one root_load at most: all are the same place")


def lines(plan: Delays, facts: KernelFacts, spec: Spec, seed: int) -> Iterator[str]:
    """The directives for the plugin; a delay's number is its place in the plan, from 1.

    Raises UsageError with the nearest candidates for a point that the kernel does not have, or when
    there are more places than the plugin takes.
    """
    yield f"delay_seed {seed:#x}"
    places = 0
    for number, delay in enumerate(plan.delays, 1):
        for where in _places(delay, facts, spec):
            places += 1
            yield f"delay {number} {where} {_law(delay)}  # {delay}"
    if places > _MOST_LINES:
        raise UsageError(f"{places} places are too many, {_MOST_LINES} may be delayed at")
    for rank in plan.ranks:
        yield f"rank {rank.cpu} {rank.nth} {rank.rank}"


def has(delay: Delay, facts: KernelFacts, spec: Spec) -> bool:
    """Whether the kernel has the point."""
    try:
        return bool(list(_places(delay, facts, spec)))
    except UsageError:
        return False


def _law(delay: Delay) -> str:
    if delay.rank:
        return f"rank {delay.min_ns} {delay.limit}"
    return f"chance {delay.millionths} {delay.min_ns} {delay.octaves} {delay.limit}"


def _places(delay: Delay, facts: KernelFacts, spec: Spec) -> Iterator[str]:
    match delay.event:
        case "pte_write":
            yield f"pte {delay.old} {delay.new} {delay.of}"
        case "root_load":
            yield "root"
        case _:
            yield from (f"exec {va:#x}" for va in _instructions(delay, facts, spec))


_Key = tuple[str, str, str, str, str]
_found: dict[_Key, tuple[int, ...]] = {}
"""Scanning a kernel's text takes longer than a trial, and every trial asks for the same."""


def _instructions(delay: Delay, facts: KernelFacts, spec: Spec) -> tuple[int, ...]:
    key = (str(facts.path), facts.build_id, delay.event, delay.function, delay.inside)
    if key not in _found:
        if delay.event == "return":
            _found[key] = _returns(delay, facts, spec)
        elif delay.event == "enter" and delay.function in facts.functions:
            _found[key] = (facts.functions[delay.function].entry,)
        else:
            point = Point(event=delay.event, function=delay.function, inside=delay.inside)
            _found[key] = tuple(sorted(resolve(point, facts, spec, None).vas))
    return _found[key]


def _returns(delay: Delay, facts: KernelFacts, spec: Spec) -> tuple[int, ...]:
    """Where the function returns, or goes over into another one."""
    name = delay.function
    found = facts.functions.get(name)
    if found is None:
        # First what knows the nearest names, should there be none.
        resolve(Point(event="enter", function=name), facts, spec, None)
        found = exits.find(facts.image, facts.symbols, [name]).get(name)
    if found is None or not (found.returns or found.tails):
        raise UsageError(f"the ends of {name} are not known: several functions have that name")
    return (*found.returns, *found.tails)
