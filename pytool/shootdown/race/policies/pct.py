"""Priorities with a few random changes (Burckhardt and others, "A randomized scheduler with
probabilistic guarantees of finding bugs", ASPLOS 2010).

PCT runs the thread of the highest priority alone, and lowers a priority at ``DEPTH`` - 1 random
steps. Here all vCPUs run, and at each of the targeted points a vCPU waits so much longer the more
vCPUs have a higher priority. Its guarantee does not carry over; its bias towards few, long
preemptions does.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from shootdown.race.delays import Delays, Rank
from shootdown.race.policies import targeted
from shootdown.race.policies.base import Policy, Subject, ranked

DEPTH: Final = 3
"""Orders that a bug needs; one change of priorities less."""
_STEP_NS: Final = 200_000
_LIMIT: Final = 1000
_STEPS: Final = 30
"""Arrivals of one vCPU at the points in an iteration, about."""


def choose(subject: Subject) -> Delays:
    """A random order of vCPUs, and where it changes."""
    # Python's generator is the same in every version for these calls.
    dice = random.Random(subject.seed)
    order = list(range(subject.smp))
    dice.shuffle(order)
    ranks = [Rank(cpu, 0, order[cpu]) for cpu in range(subject.smp)]
    for change in range(DEPTH - 1):
        cpu = dice.randrange(subject.smp)
        nth = dice.randrange(1, max(2, _STEPS * subject.iterations))
        ranks.append(Rank(cpu, nth, subject.smp + change))
    unique = {(rank.cpu, rank.nth): rank for rank in ranks}
    plan = ranked(targeted.choose(subject), _STEP_NS, _LIMIT)
    return replace(plan, ranks=tuple(unique[key] for key in sorted(unique)))


POLICY: Final = Policy("pct", "vCPUs wait by random priorities that change a few times", choose)
