"""What the machine tells rules and measurements: a listener overrides what it wants to hear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shootdown.model.entries import Call, Stale, Superseded
from shootdown.model.space import Leaf
from shootdown.model.stream import Event


class Listener:
    """Hears nothing."""

    def superseded(self, what: Superseded, stales: Sequence[Stale]) -> None:
        """A valid user entry was taken away; ``stales`` are the copies that CPUs may hold."""

    def restored(self, what: Superseded, stales: Sequence[Stale], event: Event) -> None:
        """The same translation came back (E15): nothing stale about ``stales`` any more."""

    def installed(self, root: int, leaf: Leaf, event: Event) -> None:
        """A store made a user leaf valid, or changed it."""

    def stored(self, root: int, event: Event) -> None:
        """A slot of a user table was written (PTE_WRITE), whatever it meant; before what it did."""

    def linked(self, table: int, event: Event) -> None:
        """The page at a PA has become a table of user space."""

    def ended(self, stale: Stale, event: Event) -> None:
        """An invalidation has reached a copy."""

    def entered(self, call: Call, event: Event) -> None:
        """A system call began; its arguments are known."""

    def returned(self, call: Call, event: Event) -> None:
        """A system call is about to return to user mode."""

    def user(self, event: Event) -> None:
        """A CPU is about to run user code; after ``returned``."""

    def observed(self, event: Event) -> None:
        """A user access in a declared range (OBS)."""

    def faulted(self, event: Event) -> None:
        """A page fault was taken (Probe.FAULT)."""

    def forgotten(self, root: int) -> None:
        """A root table was given back: its address space is gone."""


HOOKS: Final = tuple(name for name in vars(Listener) if not name.startswith("_"))
"""Names of all hooks."""
