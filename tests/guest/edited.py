"""A recording from which a test has taken events."""

from __future__ import annotations

from dataclasses import dataclass

from shootdown.trace.types import Events


@dataclass
class Edited:
    """A trace with other events."""

    arch: str
    changed: Events

    def events(self) -> Events:
        return self.changed
