"""A trace cut into pieces that fit into memory, each vCPU's events apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol, TypeAlias, runtime_checkable

import numpy as np

from shootdown.trace.columns import records
from shootdown.trace.types import Events

Parts: TypeAlias = Mapping[int, Events]
"""Events by vCPU, the numbers of each rising."""

PIECE: Final = 1 << 18
"""Events in a piece, about."""


@runtime_checkable
class Files(Protocol):
    """A trace whose files are mapped into memory (``trace.reader.Trace``)."""

    @property
    def per_cpu(self) -> tuple[Events, ...]:
        """Events of each vCPU."""
        ...

    def release(self) -> None:
        """Give back the memory that reading has filled."""
        ...


def split(events: Events) -> dict[int, Events]:
    """Events in one order, by vCPU."""
    cpus = np.ascontiguousarray(events["cpu"])
    return {int(cpu): records(events, np.flatnonzero(cpus == cpu)) for cpu in np.unique(cpus)}


def pieces(parts: Parts, size: int = PIECE) -> Iterator[dict[int, Events]]:
    """All events in pieces of at most about ``size``; every vCPU is in each of them.

    A piece ends at a number chosen so that no vCPU gives more than its share: with the share's
    last event of each vCPU that has more left, the smallest of their numbers. One vCPU at least
    gives its whole share, so there is progress, and no later piece has a lower number.
    """
    share = max(1, size // max(len(parts), 1))
    rest = dict(parts)
    while any(map(len, rest.values())):
        shares = {cpu: events[:share] for cpu, events in rest.items()}
        ends = [int(s["seq"][-1]) for c, s in shares.items() if len(rest[c]) > share]
        cut = np.uint64(min(ends, default=2**64 - 1))
        taken = {cpu: int(np.searchsorted(s["seq"], cut, "right")) for cpu, s in shares.items()}
        yield {cpu: shares[cpu][:n] for cpu, n in taken.items()}
        rest = {cpu: events[taken[cpu] :] for cpu, events in rest.items()}
