"""Rare delays of any length, anywhere in the code about memory."""

from __future__ import annotations

from typing import Final

from shootdown.race.delays import Delay, Delays
from shootdown.race.policies.base import Policy, Subject

_CHANCE: Final = 0.01
_LIMIT: Final = 100
_SHORTEST_NS: Final = 1000
_OCTAVES: Final = 14


def choose(subject: Subject) -> Delays:
    """All functions that event groups know, changes of entries, and loads of roots."""
    functions = sorted(subject.functions)
    return Delays((_rare("pte_write"), _rare("root_load"), *(_rare("enter", n) for n in functions)))


def _rare(event: str, function: str = "") -> Delay:
    return Delay(
        event=event,
        function=function,
        chance=_CHANCE,
        min_ns=_SHORTEST_NS,
        octaves=_OCTAVES,
        limit=_LIMIT,
    )


POLICY: Final = Policy("random", "rare delays of any length, log-uniform, at any point", choose)
