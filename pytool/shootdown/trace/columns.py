"""Columns of records, each brought together in memory when it is asked for first.

A record is a cache line (64 bytes), so every look at one field of all records costs as much as
reading all of them. Filters look at the same few fields many times.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from shootdown.trace.types import Events

_NUMBERS: Final = 1 << 16
"""Numbers that a field of 16 bits can be."""


class Fields(Protocol):
    """Records by the names of their fields: ``Events`` as they are, or ``Columns``."""

    def __getitem__(self, name: str, /) -> npt.NDArray[Any]:
        """One field of all records."""
        ...

    def __len__(self) -> int: ...


class Columns:
    """Fields of some records."""

    def __init__(self, records: Events) -> None:
        self._records = records
        self._columns: dict[str, npt.NDArray[Any]] = {}

    def __getitem__(self, name: str, /) -> npt.NDArray[Any]:
        """One field of all records; not to be written to."""
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = np.ascontiguousarray(self._records[name])
        return found

    def __len__(self) -> int:
        return len(self._records)


_NARROW: Final = ("kind", "id", "cpu", "seq")
"""Fields that are asked for again and again, and take a fifth of a record together."""


class Narrowed(np.ndarray[tuple[int], np.dtype[np.void]]):
    """Events, of which the fields that all ask for are kept in columns. Not to be written to."""

    _columns: Columns | None = None

    def __getitem__(self, key: Any, /) -> Any:
        if self._columns is not None and isinstance(key, str) and key in _NARROW:
            return self._columns[key]
        if isinstance(key, np.ndarray):
            return records(self, np.flatnonzero(key) if key.dtype == np.bool_ else key)
        return np.asarray(self)[key]


def with_columns(events: Events) -> Events:
    """The same events, quick to look through by what they are."""
    found = events.view(Narrowed)
    found._columns = Columns(events)
    return found


def records(events: Events, at: npt.NDArray[np.intp]) -> Events:
    """Whole records, by where they are; eight times as fast as ``events[at]``.

    That copies field by field.
    """
    found: Events = np.asarray(events).take(at)
    return found


def any_of(values: npt.NDArray[np.uint16], wanted: Iterable[int]) -> npt.NDArray[np.bool_]:
    """Where a field of 16 bits is one of some numbers; ten times as fast as np.isin."""
    table = np.zeros(_NUMBERS, np.bool_)
    table[list(wanted)] = True
    found: npt.NDArray[np.bool_] = table[values]
    return found
