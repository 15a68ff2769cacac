"""What a policy is: from a kernel and a seed to the delays of one trial."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.race import delays
from shootdown.race.delays import Delay, Delays
from shootdown.race.spec import Spec

_MADE_UP: Final = 64


@dataclass(frozen=True)
class Subject:
    """What delays are chosen for."""

    functions: Collection[str]
    """Names that event groups know, of functions that the kernel has."""
    has: Callable[[Delay], bool]
    """Whether the kernel has the point of a delay."""
    seed: int
    """The trial's; a policy must use no other randomness."""
    smp: int
    """vCPUs."""
    iterations: int
    """Of the workload, or of the one with the most."""


def subject(facts: KernelFacts, spec: Spec, *, seed: int, smp: int, iterations: int) -> Subject:
    """A kernel under a workload, to choose delays for."""
    return Subject(
        functions=facts.functions,
        has=lambda delay: delays.has(delay, facts, spec),
        seed=seed,
        smp=smp,
        iterations=iterations,
    )


@dataclass(frozen=True)
class Policy:
    """A way to choose delays."""

    name: str
    about: str
    """One line."""
    choose: Callable[[Subject], Delays]

    @property
    def contents(self) -> str:
        """What it chooses for some kernels that do not exist: another policy chooses otherwise."""
        return repr([self.choose(_made_up(seed)) for seed in range(_MADE_UP)])


def _made_up(seed: int) -> Subject:
    # Each has a half of all points, so each alternative of a place is chosen for some of them.
    def has(delay: Delay) -> bool:
        return bool(zlib.crc32(f"{seed} {delay}".encode()) & 1)

    return Subject(functions=("f", "g"), has=has, seed=seed, smp=3, iterations=4)


def present(wanted: Iterable[tuple[Delay, ...]], subject: Subject) -> Delays:
    """Of each tuple the first delay whose point the kernel has: alternatives of one place."""
    found, absent = [], []
    for alternatives in wanted:
        here = [delay for delay in alternatives if subject.has(delay)]
        found += here[:1]
        absent += [] if here else [" or ".join(map(str, alternatives))]
    return Delays(tuple(found), absent=tuple(absent))


def ranked(plan: Delays, step_ns: int, limit: int) -> Delays:
    """The same points, where every arrival is delayed by the vCPU's rank."""
    plain = (replace(d, chance=1.0, octaves=0, rank=True) for d in plan.delays)
    return replace(plan, delays=tuple(replace(d, min_ns=step_ns, limit=limit) for d in plain))
