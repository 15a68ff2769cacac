"""Columns of records, each brought together in memory when it is asked for first.

A record is a cache line (64 bytes), so every look at one field of all records costs as much as
reading all of them. Filters look at the same few fields many times.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shootdown.trace.types import Events


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
