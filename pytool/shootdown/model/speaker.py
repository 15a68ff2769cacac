"""Who tells listeners what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from shootdown.model.history import History
from shootdown.model.listener import HOOKS, Listener
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events


class Speaker:
    """Has listeners, and tells each only of what it wants to hear."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners: list[Listener] = list(listeners)
        self._hooks: dict[str, tuple[Callable[..., None], ...]] = {}

    def listen(self, listener: Listener) -> None:
        """Add a listener; all hear of an event in the order they were added."""
        self._listeners.append(listener)

    @property
    def history(self) -> frozenset[Kind]:
        """Kinds of events that ``tell_begun`` wants."""
        listeners = [x for x in self._hearing("begun") if x.armed]
        return frozenset(kind for x in listeners for kind in x.history)

    @property
    def functions(self) -> frozenset[int]:
        """Functions whose calls an armed listener wants to hear of."""
        return frozenset(int(f) for x in self._listeners if x.armed for f in x.functions)

    @property
    def demanded(self) -> frozenset[int]:
        """Numbers of events that an armed listener has to hear of."""
        return frozenset(n for x in self._listeners if x.armed for n in x.demanded)

    def tell_begun(self, events: Events) -> None:
        """Tell listeners of all the events to come, of ``history`` at least."""
        self._tell("begun", History(events))

    def _hook(self) -> None:
        """All listeners are there."""
        self._hooks = {name: tuple(getattr(x, name) for x in self._hearing(name)) for name in HOOKS}

    def _hearing(self, name: str) -> list[Listener]:
        """Who has a use for a hook."""
        silent = getattr(Listener, name)
        hearing = (x for x in self._listeners if x.armed or name not in x.deaf)
        return [x for x in hearing if getattr(type(x), name) is not silent]

    def _tell(self, hook: str, *args: Any) -> None:
        for hear in self._hooks[hook]:
            hear(*args)
