"""The operation stack where most calls are left out of the stream (``thin.quiet_calls``)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from shootdown.model.callstack import CallStacks, Stack
from shootdown.model.stream import Event, Window
from shootdown.trace.columns import any_of, are, distinct
from shootdown.trace.schema import Kind, Probe

_KINDS = (Kind.ENTER, Kind.EXIT, Kind.RET_USER)
_STORE, _EXIT = int(Kind.PTE_WRITE), int(Kind.EXIT)
_COLUMNS = ["seq", "kind", "cpu", "id", "a", "c"]


class ThinStacks(CallStacks):
    """Right for the CPU of an event that ``thin.asks`` names; else it reads the piece anew."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Event | None = None
        """The event that is being looked at; None where nothing is left out of the stream."""
        self._window: Window | None = None
        self._exact = CallStacks()
        self._rows: list[tuple[int, ...]] = []
        """What is not in ``_exact`` yet, the latest first; filled when it is needed."""
        self._entered: set[int] = set()
        """Functions that any CPU may be inside of somewhere in the piece."""

    def begin(self, window: Window) -> None:
        """A piece of the trace is about to be fed."""
        self._window = window
        self._exact, self._rows = self.copied(), []
        self._entered = _entered(window) | self.all_functions()

    def of(self, cpu: int) -> Stack:
        """What the CPU is inside of."""
        event = self.now
        if event is None or (event.kind == _STORE and event.b and event.cpu == cpu):
            return super().of(cpu)
        if self._window is not None:
            self._rows, self._window = _rows(self._window), None
        # A function that ends is left when everybody has heard of it.
        until = event.seq - (event.kind == _EXIT)
        while self._rows and self._rows[-1][0] <= until:
            _, kind, where, function, a, c = self._rows.pop()
            self._exact.event(kind, where, function, a, c)
        return self._exact.of(cpu)

    def inside(self, cpu: int, functions: AbstractSet[int]) -> bool:
        """Whether the CPU is inside of any of the functions; cheap where none was entered."""
        if self._entered.isdisjoint(functions):
            return False
        return not functions.isdisjoint(self.of(cpu))


def _entered(window: Window) -> set[int]:
    """Functions that are entered in the piece."""
    found = set[int]()
    for part in window.columns.values():
        found |= distinct(part["id"][are(part["kind"], Kind.ENTER)])
    return found


def _rows(window: Window) -> list[tuple[int, ...]]:
    """Everything in the piece that concerns stacks, the latest first."""
    rows: list[tuple[int, ...]] = []
    for part in window.parts.values():
        switches = are(part["kind"], Kind.PROBE_MORE) & are(part["id"], Probe.TASK_SWITCH)
        chosen = part[any_of(part["kind"], _KINDS) | switches]
        rows += chosen[_COLUMNS].tolist()
    return sorted(rows, reverse=True)
