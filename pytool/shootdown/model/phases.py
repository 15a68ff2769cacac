"""The phases that the guest names with marks: which it is in, and which there have been."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.stream import Event
from shootdown.model.tasks import text
from shootdown.trace.schema import Mark


class Phases:
    """Follows MARK events; a phase within another one belongs to that."""

    def __init__(self) -> None:
        self.now = ""
        """Name of the outermost phase (Mark.BEGIN, Mark.END) the guest is in; empty outside."""
        self._open: list[str] = []
        self._since: Final[list[int]] = [0]
        self._names: Final[list[str]] = [""]

    def mark(self, event: Event) -> None:
        """The guest said something."""
        name = text(event.a, event.b)
        if event.id == Mark.BEGIN:
            self._open.append(name)
        elif event.id == Mark.END and name in self._open:
            del self._open[self._open.index(name) :]
        self.now = self._open[0] if self._open else ""
        self._since.append(event.seq)
        self._names.append(self.now)

    def count(self, seqs: npt.NDArray[np.uint64]) -> dict[str, int]:
        """How many of these numbers of events were drawn in which phase, so far."""
        at = np.searchsorted(np.array(self._since, np.uint64), seqs, side="right") - 1
        found: dict[str, int] = {}
        for place, count in zip(*np.unique(at, return_counts=True), strict=True):
            name = self._names[place]
            found[name] = found.get(name, 0) + int(count)
        return found
