"""A trace that knows its architecture, as ``rules`` wants one (``model.stream.Trace``)."""

from __future__ import annotations

from dataclasses import dataclass

from shootdown.trace.reader import Trace
from shootdown.trace.types import Events


@dataclass(frozen=True)
class Traced:
    """A recorded trace and the name of its architecture."""

    arch: str
    trace: Trace

    def events(self) -> Events:
        """All events, in the order of ``seq``."""
        return self.trace.events()

    @property
    def per_cpu(self) -> tuple[Events, ...]:
        """Each vCPU's."""
        return self.trace.per_cpu

    def release(self) -> None:
        """Give memory back that can be read again."""
        self.trace.release()
