"""How a trace reaches the model: the two checkers.

The *reference* hands over every event of the whole trace, one by one. The *fast* checker reads it
in pieces and gives them back, leaves out what provably changes nothing (``model.thin``), and counts
locks in numpy (``model.lock_tally``). Both feed the same model and the same rules, and must give
the same report.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

import numpy as np

from shootdown.model import locks
from shootdown.model.lock_tally import LockTally, Tally, tally
from shootdown.model.machine import Machine
from shootdown.model.overview import Overview
from shootdown.model.stream import NONE, Mask, Trace, Window, whole
from shootdown.rules.scene import Policy, Scene, survey
from shootdown.trace.columns import any_of, merged, records, with_columns
from shootdown.trace.parts import PIECE, Files, Parts, pieces, split
from shootdown.trace.types import Events

_COLLECT: Final = 200_000
"""New objects after which the garbage collector looks for cycles."""


@dataclass(frozen=True)
class How:
    """Which checker: ``piece`` is how many events it takes at a time."""

    fast: bool
    piece: int = PIECE


FAST: Final = How(fast=True)
REFERENCE: Final = How(fast=False)


class Feed:
    """Reads a trace, first to survey it and then to run it."""

    def __init__(self, trace: Trace, how: How = FAST) -> None:
        self._how = how
        self._trace = trace
        self._parts: Parts = (
            dict(enumerate(trace.per_cpu)) if isinstance(trace, Files) else split(trace.events())
        )

    def survey(self, arch: str, policy: Policy) -> tuple[Overview, Scene]:
        """What has to be known beforehand."""
        known = Overview()
        scenes = [survey(NONE, arch, policy)]
        for parts in self._pieces():
            for part in map(with_columns, parts.values()):
                known.add(part)
                scenes = [reduce(or_, scenes, survey(part, arch, policy))]
        return known, scenes[0]

    def run(self, machine: Machine, known: Overview) -> Tally:
        """Feed the machine, all of whose listeners are there; returns what the locks did."""
        machine.begin(sorted(known.pages), known.stack_log2, thin=self._how.fast)
        if not self._how.fast:
            events = self._trace.events()
            machine.tell_begun(events)
            machine.feed(whole(events))
            return tally(locks.transitions(events))
        if machine.history:
            machine.tell_begun(self.of_kinds(sorted(machine.history)))
        counter = LockTally(known.own)
        with _few_collections():
            for window in windows(self._pieces(), self._parts):
                machine.feed(window)
                counter.feed(window.parts)
        return counter.finish()

    def locks(self, known: Overview) -> Tally:
        """What the locks did, and nothing else."""
        counter = LockTally(known.own)
        for parts in self._pieces():
            counter.feed(parts)
        return counter.finish()

    def _pieces(self) -> Iterator[Parts]:
        for parts in pieces(self._parts, self._how.piece):
            yield parts
            if isinstance(self._trace, Files):
                self._trace.release()

    def of_kinds(self, kinds: list[int]) -> Events:
        """All events of some kinds, in the order of ``seq``, in memory."""
        return self.chosen(lambda part: any_of(part["kind"], kinds))

    def chosen(self, wanted: Callable[[Events], Mask]) -> Events:
        """Events of the trace, chosen by a function of its pieces, in the order of ``seq``."""
        return merged(
            records(part, np.flatnonzero(wanted(part)))
            for parts in self._pieces()
            for part in parts.values()
        )


@contextmanager
def _few_collections() -> Iterator[None]:
    # The model makes many objects that live for a moment, and hardly any cycles.
    threshold = gc.get_threshold()
    gc.set_threshold(_COLLECT, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


def windows(cut: Iterator[Parts], parts: Parts) -> Iterator[Window]:
    """Pieces of ``parts``, each with what its surroundings say of it."""
    before: dict[int, int] = {}
    done = dict.fromkeys(parts, 0)
    for piece in cut:
        for cpu, part in piece.items():
            done[cpu] += len(part)
        ahead = {cpu: events[done[cpu] : done[cpu] + 1] for cpu, events in parts.items()}
        yield Window(piece, dict(before), ahead)
        before |= {cpu: int(part["seq"][-1]) for cpu, part in piece.items() if len(part)}
