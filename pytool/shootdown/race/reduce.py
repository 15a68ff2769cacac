"""Smaller plans: every plan that is one step smaller than another, the largest steps first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from shootdown.errors import UsageError
from shootdown.race.points import Advance, Hold, Pause, Plan, Step, steps

BOUNDS_MS: Final = (10, 20, 50, 100, 200, 500, 1000)
"""Bounds that a hold may be shortened to."""
_ROOM: Final = 3
"""A bound is so many times what a hold was seen to take, for slower machines."""


def size(plan: Plan) -> tuple[int, int, int]:
    """What shrinking makes smaller: holds; what they wait for; milliseconds and instructions."""
    every = steps(plan.holds)
    holds = [step for step in every if isinstance(step, Hold)]
    length = sum(_length(step) for step in every)
    return plan.repeat * len(holds), len(every), length


def smaller(plan: Plan) -> Iterator[Plan]:
    """Plans with fewer holds or with less to wait for, the smallest first of their kind."""
    if plan.repeat > 1:
        yield replace(plan, repeat=1)
    many = len(plan.holds)
    part = many // 2
    while part:  # delta debugging: without a half, a quarter, ... a single one
        for first in range(0, many, part):
            yield from _with(plan, plan.holds[:first] + plan.holds[first + part :])
        part //= 2
    for holds in _less(plan.holds):
        yield from _with(plan, [hold for hold in holds if isinstance(hold, Hold)])


def shorter(plan: Plan, longest_ms: Sequence[float]) -> Iterator[Plan]:
    """Plans with the same holds, of which one has a smaller bound, pause or advance.

    ``longest_ms``: of each hold, in the order in which they are reached, how long it was seen to
    take; a missing one leaves its bound alone.
    """
    holds = [step for step in steps(plan.holds) if isinstance(step, Hold)]
    for number, hold in enumerate(holds[: len(longest_ms)]):
        wanted = _ROOM * longest_ms[number]
        for bound in BOUNDS_MS:
            if wanted <= bound < hold.bound_ms:
                yield from _with(plan, _swap(plan.holds, hold, replace(hold, bound_ms=bound)))
                break
    for step in steps(plan.holds):
        match step:
            case Pause() if step.ms > 1:
                yield from _with(plan, _swap(plan.holds, step, Pause(step.ms // 2)))
            case Advance() if step.instructions > 1:
                yield from _with(plan, _swap(plan.holds, step, Advance(step.instructions // 2)))


def _length(step: Step) -> int:
    match step:
        case Hold():
            return step.bound_ms
        case Pause():
            return step.ms
        case Advance():
            return step.instructions
    return 0


def _with(plan: Plan, holds: Sequence[Step]) -> Iterator[Plan]:
    # A plan needs a hold, and nobody can wait for a page that no hold speaks of.
    try:
        made = tuple(hold for hold in holds if isinstance(hold, Hold))
        yield replace(plan, holds=made)
    except UsageError:
        return


def _less(of: Sequence[Step]) -> Iterator[list[Step]]:
    """The steps with one left out, or with one of their holds inside out or reduced."""
    for at, step in enumerate(of):
        before, after = list(of[:at]), list(of[at + 1 :])
        yield before + after
        if isinstance(step, Hold):
            yield [*before, *step.until, *after]
            for until in _less(step.until):
                if until:
                    yield [*before, replace(step, until=tuple(until)), *after]


def _swap(of: Sequence[Step], old: Step, new: Step) -> list[Step]:
    """The steps with ``old``, the very object, replaced."""
    made: list[Step] = []
    for step in of:
        if step is old:
            made.append(new)
        elif isinstance(step, Hold):
            made.append(replace(step, until=tuple(_swap(step.until, old, new))))
        else:
            made.append(step)
    return made
