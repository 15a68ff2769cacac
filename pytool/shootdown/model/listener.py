"""What the machine tells rules and measurements: a listener overrides what it wants to hear."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, Final

from shootdown.model.entries import Call, Stale, Superseded
from shootdown.model.history import History
from shootdown.model.space import Leaf
from shootdown.model.stream import Event
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Watch


class Listener:
    """Hears nothing."""

    words: ClassVar[tuple[Watch, ...]] = ()
    """Watched words, beyond those of the model itself, that ``watched`` is to tell of."""

    deaf: ClassVar[Collection[str]] = ()
    """Names of the hooks that it has no use for while it is not armed; ``HOOKS``: of none."""

    functions: ClassVar[tuple[Function, ...]] = ()
    """Functions that ``called`` and ``left`` are to tell of.

    A check may leave out calls, and changes of mmap_lock and of words of VMAs that ``watched``
    would tell of, where the rule ``flush-deadline`` has no use for them (``thin_calm``,
    ``thin_vmas``), unless they are ``demanded``.
    """

    @property
    def armed(self) -> bool:
        """Whether it has any use for what it hears."""
        return True

    @property
    def demanded(self) -> Collection[int]:
        """Numbers of events that it must hear of, known once ``begun`` was told."""
        return ()

    history: ClassVar[tuple[Kind, ...]] = tuple(Kind)
    """Kinds of events that ``begun`` is to tell of; the fewer, the less memory a check takes."""

    def begun(self, history: History) -> None:
        """A trace is about to be fed: all of its events, of ``history`` at least."""

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

    def ended(self, stales: Sequence[Stale], event: Event) -> None:
        """An invalidation has reached copies."""

    def entered(self, call: Call, event: Event) -> None:
        """A system call began; its arguments are known.

        Of calls that are none of ``syscalls.operation`` a check may leave this and ``returned``
        out where nothing but barriers is recorded in between.
        """

    def returned(self, call: Call, event: Event) -> None:
        """A system call is about to return to user mode."""

    def user(self, event: Event) -> None:
        """A CPU is about to run user code; after ``returned``.

        A check may leave it out where the CPU ran user code just before, as it could all the time
        since, and has taken no entry away meanwhile (``thin_returns``).
        """

    def observed(self, event: Event) -> None:
        """A user access in a declared range (OBS), if ``heeds_access`` says so."""

    def faulted(self, event: Event) -> None:
        """A page fault was taken (Probe.FAULT), if ``heeds_fault`` says so."""

    def heeds_access(self, page: int) -> bool:
        """Whether ``observed`` would do anything now about a page (VA >> 12).

        A check may leave accesses out that nobody heeds. The answer may be yes too often.
        """
        return True

    def heeds_fault(self, page: int) -> bool:
        """The same of ``faulted``, for a fault at a page."""
        return True

    def freed(self, event: Event) -> None:
        """Frames that user memory or a table was in went back to the allocator (PAGE_FREED)."""

    def root_loaded(self, event: Event) -> None:
        """A CPU loaded a translation root (ROOT_LOAD)."""

    def watched(self, event: Event) -> None:
        """A word that the model or a listener asks for was written, or is watched from here on."""

    def called(self, event: Event) -> None:
        """A CPU enters one of ``functions`` (ENTER)."""

    def left(self, event: Event) -> None:
        """A CPU is about to return from one of ``functions`` (EXIT)."""

    def forgotten(self, root: int) -> None:
        """A root table was given back: its address space is gone."""


HOOKS: Final = tuple(
    name
    for name, hook in vars(Listener).items()
    if callable(hook) and not name.startswith(("_", "heeds_"))
)
"""Names of all hooks."""
