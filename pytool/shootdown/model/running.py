"""Which task a CPU ran when it recorded an event: for many events at once, in numpy."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.trace.columns import are
from shootdown.trace.schema import Kind, Probe
from shootdown.trace.types import Events


class Running:
    """The task switches of a trace."""

    def __init__(self, events: Events) -> None:
        """``events``: those of kind PROBE, in the order of ``seq``, with or without others."""
        probes = are(events["kind"], Kind.PROBE) & are(events["id"], Probe.TASK_SWITCH)
        switches = events[probes]
        self._by_cpu: Final = {
            int(cpu): switches[switches["cpu"] == cpu] for cpu in np.unique(switches["cpu"])
        }

    def of(self, events: Events) -> npt.NDArray[np.uint64]:
        """For each event the VA of the task_struct that ran; 0 before the CPU's first switch."""
        return self.tasks(events["cpu"], events["seq"])

    def tasks(
        self, cpu: npt.NDArray[np.uint8], seq: npt.NDArray[np.uint64]
    ) -> npt.NDArray[np.uint64]:
        """VA of the task_struct that ran on each CPU at each number; 0 before its first switch.

        The switch itself belongs to the task that comes (``Probe.TASK_SWITCH``).
        """
        found = np.zeros(len(cpu), np.uint64)
        for number, switches in self._by_cpu.items():
            which = np.flatnonzero(cpu == number)
            at = np.searchsorted(switches["seq"], seq[which], side="right") - 1
            found[which[at >= 0]] = switches["a"][at[at >= 0]]
        return found
