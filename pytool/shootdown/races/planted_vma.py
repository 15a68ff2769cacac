"""A VMA changes between a fault's look-up and its lock: a kernel must look again when it has it.

`lock_vma_under_rcu()` walks the tree, and locks what it has found: a few instructions, into which
all of a system call has to fit. Who is not held there is overtaken once in very many trials.
"""

from __future__ import annotations

from functools import partial

from shootdown.race import Point, Script, race
from shootdown.race.places import FIND_VMA, GATHER_END, UNLOCKED
from shootdown.races.touch import EVENTS, OPS, UNWRITTEN

ITERATIONS = 20
MANY = 40
"""What is split is merged again at once."""
REPEAT = 3
"""Now and then the system call is there first."""
LOCKED = 100
"""Instructions behind which the VMA is locked: about 50, and some more do no harm."""


def _options(name: str) -> str:
    return f"op={OPS[name]},memory={UNWRITTEN}"


_planted = partial(race, workload="touch", events=EVENTS, repeat=REPEAT)


def _found(r: Script) -> Point:
    return r.thread("toucher").calls("mas_walk", inside=FIND_VMA)


def _overtaken(r: Script) -> None:
    # No longer than needed, and a fault that only reads: the VMA is freed soon after the fault has
    # left its RCU section, and a kernel that uses it for long crashes.
    with r.hold(after=_found(r)):
        r.run_until(r.thread("mapper").enters(UNLOCKED))


@_planted(options=_options("munmap"), iterations=ITERATIONS)
def found_then_unmapped(r: Script) -> None:
    """munmap takes the VMA away that a fault has found."""
    _overtaken(r)


@_planted(options=_options("mremap"), iterations=ITERATIONS)
def found_then_moved(r: Script) -> None:
    """mremap takes what a fault is about elsewhere, and its VMA away."""
    _overtaken(r)


@_planted(options=f"op={OPS['neighbour']}", iterations=MANY)
def found_then_split(r: Script) -> None:
    """mprotect of the pages behind splits the VMA that a fault has found."""
    mapper = r.thread("mapper")
    with r.hold(after=_found(r)):
        r.run_until(mapper.enters(GATHER_END))
        r.run_until(mapper.enters("mprotect"))  # the next one, which merges what was split
        r.advance(LOCKED)
