"""All events of a trace, seen beforehand, and what more than one rule derives from them."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from shootdown.model.faults import Faults, faults
from shootdown.model.vmas import Steps
from shootdown.trace.columns import with_columns
from shootdown.trace.types import Events


class History:
    """What ``Listener.begun`` is told of. Each derivation is made once, for whoever asks first."""

    def __init__(self, events: Events) -> None:
        self.events: Final = with_columns(events)
        """In the order of ``seq``; of the kinds that listeners ask for (``Listener.history``)."""

    @cached_property
    def faults(self) -> Faults:
        """Every page fault, for those who ask for PROBE, ENTER and EXIT."""
        return faults(self.events)

    @cached_property
    def vmas(self) -> Steps:
        """The lives of all VMAs, for those who ask for WATCH, WATCH_INIT, ENTER and EXIT."""
        return Steps(self.events)
