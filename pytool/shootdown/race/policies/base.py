"""What a policy is: from a kernel and a seed to the delays of one trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from shootdown.kernel.facts import KernelFacts
from shootdown.race import delays
from shootdown.race.delays import Delay, Delays
from shootdown.race.spec import Spec


@dataclass(frozen=True)
class Subject:
    """What delays are chosen for."""

    facts: KernelFacts
    spec: Spec
    seed: int
    """The trial's; a policy must use no other randomness."""
    smp: int
    """vCPUs."""
    iterations: int
    """Of the workload, or of the one with the most."""


@dataclass(frozen=True)
class Policy:
    """A way to choose delays."""

    name: str
    about: str
    """One line."""
    choose: Callable[[Subject], Delays]


def present(wanted: Iterable[tuple[Delay, ...]], subject: Subject) -> Delays:
    """Of each tuple the first delay whose point the kernel has: alternatives of one place."""
    found, absent = [], []
    for alternatives in wanted:
        here = [d for d in alternatives if delays.has(d, subject.facts, subject.spec)]
        found += here[:1]
        absent += [] if here else [" or ".join(map(str, alternatives))]
    return Delays(tuple(found), absent=tuple(absent))


def ranked(plan: Delays, step_ns: int, limit: int) -> Delays:
    """The same points, where every arrival is delayed by the vCPU's rank."""
    plain = (replace(d, chance=1.0, octaves=0, rank=True) for d in plan.delays)
    return replace(plan, delays=tuple(replace(d, min_ns=step_ns, limit=limit) for d in plain))
