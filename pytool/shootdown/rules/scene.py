"""What a trace holds, seen at once: by it a rule knows whether it can judge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import numpy as np

from shootdown.trace.columns import are, distinct
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Probe, Watch
from shootdown.trace.types import Events

Policy: TypeAlias = Literal["wilcox", "glisse"]
"""When a stale translation is an offence: once the system call has returned, or from the first
moment another translation is live."""

BLIND = "the trace lacks what the rule needs"


@dataclass(frozen=True)
class Scene:
    """Kinds of events, and the watched words, functions and probes that occur in them."""

    arch: str
    policy: Policy
    kinds: frozenset[int]
    watches: frozenset[int]
    functions: frozenset[int]
    probes: frozenset[int]

    def __or__(self, other: Scene) -> Scene:
        """The scene of both traces."""
        mine, theirs = asdict(self), asdict(other)
        joined = {
            name: value | theirs[name] if isinstance(value, frozenset) else value
            for name, value in mine.items()
        }
        return Scene(**joined)

    def lacks(
        self,
        kinds: Iterable[Kind] = (),
        watches: Iterable[Watch] = (),
        functions: Iterable[Function] = (),
    ) -> str:
        """The first thing that is not there, as a note for a report; empty when all is."""
        if Probe.SYSCALL not in self.probes or not self.kinds.issuperset(kinds):
            return BLIND
        words = [f"word {watch.name}" for watch in watches if watch not in self.watches]
        words += [function.name for function in functions if function not in self.functions]
        return f"the trace has no {words[0]}: record it with --events" if words else ""


def survey(events: Events, arch: str, policy: Policy) -> Scene:
    """Look at a trace, or at a part of one."""
    kind = np.ascontiguousarray(events["kind"])
    watched = are(kind, Kind.WATCH) | are(kind, Kind.WATCH_INIT)
    return Scene(
        arch=arch,
        policy=policy,
        kinds=frozenset(distinct(kind)),
        watches=frozenset(distinct(events["id"][watched])),
        functions=frozenset(distinct(events["id"][are(kind, Kind.ENTER)])),
        probes=frozenset(distinct(events["id"][are(kind, Kind.PROBE)])),
    )
