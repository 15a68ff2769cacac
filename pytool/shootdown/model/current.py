"""Which task a CPU ran when an event happened."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shootdown.trace.schema import Kind, Probe
from shootdown.trace.types import Events


class Current:
    """The tasks of all CPUs over a trace, to look up in bulk."""

    def __init__(self, events: Events) -> None:
        """``events``: those of kind PROBE, in the order of ``seq``, with or without others."""
        switches = events[(events["kind"] == Kind.PROBE) & (events["id"] == Probe.TASK_SWITCH)]
        self._switches = {int(cpu): switches[switches["cpu"] == cpu] for cpu in _cpus(switches)}

    def of(self, events: Events) -> npt.NDArray[np.uint64]:
        """For each event the VA of the task_struct; 0 before the CPU's first switch.

        The switch itself belongs to the task that comes (``Probe.TASK_SWITCH``).
        """
        found = np.zeros(len(events), np.uint64)
        for cpu in _cpus(events):
            known = self._switches.get(int(cpu))
            if known is None:
                continue
            mine = np.flatnonzero(events["cpu"] == cpu)
            at = np.searchsorted(known["seq"], events["seq"][mine], side="right")
            found[mine] = np.concatenate((np.zeros(1, np.uint64), known["a"]))[at]
        return found


def _cpus(events: Events) -> npt.NDArray[np.uint8]:
    found: npt.NDArray[np.uint8] = np.unique(events["cpu"])
    return found
