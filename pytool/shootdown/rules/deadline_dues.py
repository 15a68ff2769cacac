"""What is due: superseded entries, filed under every moment that may be their deadline."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from shootdown.model.entries import Stale, Superseded
from shootdown.model.tasks import Task
from shootdown.rules.deadline_rows import Row

_Key = TypeVar("_Key", bound=Hashable)
_MANY: Final = 1 << 16
"""Dues after which those that nobody can miss any more are thrown away."""


@dataclass(slots=True, eq=False)
class Due:
    """A superseded entry that a row of the table is about, and the task that took it away."""

    row: Row
    what: Superseded
    stales: Sequence[Stale]
    task: Task
    keys: tuple[Hashable, ...]

    @property
    def over(self) -> bool:
        """Whether no CPU may still hold the entry."""
        return not any(stale.alive for stale in self.stales)


class Dues:
    """Everything that is due, by key: a moment, with whose and which it is."""

    def __init__(self) -> None:
        self._files: dict[Hashable, dict[Due, None]] = {}
        self._of_task: dict[Task, dict[Due, None]] = {}
        self._count = 0
        self._next_cleaning = _MANY

    def add(self, due: Due) -> None:
        """File it; it stays until it is taken, or the task returns to user mode."""
        for key in due.keys:
            self._files.setdefault(key, {})[due] = None
        self._of_task.setdefault(due.task, {})[due] = None
        self._count += 1
        if self._count > self._next_cleaning:
            self._clean()

    def has(self, key: Hashable) -> bool:
        """Whether something is due at that moment."""
        return key in self._files

    def take(self, key: Hashable) -> list[Due]:
        """What is due at that moment, in the order of filing; it is due nowhere else any more."""
        found = list(self._files.get(key, ()))
        for due in found:
            self._drop(due)
        return found

    def cancel(self, key: Hashable) -> None:
        """That moment has passed without being a deadline of what was filed; others may be."""
        for due in self._files.pop(key, ()):
            due.keys = tuple(other for other in due.keys if other != key)

    def over(self, task: Task) -> None:
        """The task is back in user mode."""
        self._drop_all(list(self._of_task.get(task, ())))

    def forget(self, root: int) -> None:
        """An address space is gone."""
        every = [due for dues in self._of_task.values() for due in dues]
        self._drop_all(due for due in every if due.what.root == root)

    def _clean(self) -> None:
        every = [due for dues in self._of_task.values() for due in dues]
        self._drop_all(due for due in every if due.over)
        self._next_cleaning = 2 * self._count + _MANY

    def _drop_all(self, dues: Iterable[Due]) -> None:
        for due in dues:
            self._drop(due)

    def _drop(self, due: Due) -> None:
        for key in due.keys:
            _remove(self._files, key, due)
        _remove(self._of_task, due.task, due)
        self._count -= 1


def _remove(files: dict[_Key, dict[Due, None]], key: _Key, due: Due) -> None:
    file = files[key]
    del file[due]
    if not file:
        del files[key]
