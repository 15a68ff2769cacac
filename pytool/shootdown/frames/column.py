"""What a table of a recording is made of: named columns with a type, a unit and a meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from shootdown.model.known import Known
from shootdown.trace.schema import DTYPE, Flag, Kind
from shootdown.trace.types import Events

Values: TypeAlias = Any
"""An array or a Categorical, one value for each row."""
Source: TypeAlias = Callable[[Events], Values]


@dataclass(frozen=True)
class Column:
    """One column: ``dtype`` is the name pandas gives it, ``source`` takes it from the rows."""

    name: str
    dtype: str
    unit: str
    """What one count of it is: VA, PA, bytes, instructions, ...; empty for names and flags."""
    text: str
    source: Source


_NOTHING: Final = Known()


@dataclass(frozen=True)
class Table:
    """One table: which events it is made of, what a row is, and its columns."""

    name: str
    text: str
    kinds: tuple[Kind, ...]
    own: tuple[Column, ...]
    rows: Callable[[Events], Events] = lambda events: events
    """From the events of ``kinds`` in the order of ``seq`` to the rows, in their order."""
    order: str = "in the order of `seq`"
    group: str = ""
    """The event group without which the table is empty (docs/groups.md)."""
    told: Callable[[Events, Known], Events] | None = None
    """Instead of ``rows``, where the kernel's enumerators are needed as well."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that every table begins with, and its own."""
        return (*COMMON, *self.own)

    def build(self, events: Events, known: Known = _NOTHING) -> pd.DataFrame:
        """The table, from the events of its kinds. Nothing of ``events`` is kept."""
        rows = self.told(events, known) if self.told else self.rows(events)
        # Fields are strided views of the records: copy, so that the mapped file can be let go.
        return pd.DataFrame({c.name: _own(c.source(rows), c.dtype) for c in self.columns})


def field(name: str, dtype: str, unit: str, text: str, source: str = "") -> Column:
    """A column that is a field of the rows: ``source``, or the one of its own name."""
    key = source or name
    return Column(name, dtype, unit, text, lambda rows: rows[key])


def flag(name: str, bit: Flag, text: str) -> Column:
    """A yes-or-no column: one bit of the field ``flags``."""
    return Column(name, "bool", "", text, lambda rows: (rows["flags"] & bit) != 0)


def names(name: str, enum: type[IntEnum], text: str) -> Column:
    """The field ``id`` by the names of an enumeration.

    Every name is a category, whether it occurs or not; a number without a name is its own.
    """
    return Column(name, "category", "", text, lambda rows: _names(rows["id"], enum))


def categories(values: Sequence[str] | npt.NDArray[Any]) -> Values:
    """Names that are not known beforehand; the categories are those that occur, sorted."""
    return pd.Categorical(np.asarray(values, dtype=np.object_))


def text(name: str, meaning: str) -> Column:
    """A column of names, from the rows' field of that name, which holds strings."""
    return Column(name, "category", "", meaning, lambda rows: categories(rows[name]))


def row_type(columns: Sequence[Column]) -> np.dtype[Any]:
    """A record for what a model says: the common fields and one for each of ``columns``."""
    own = [(c.name, "O" if c.dtype == "category" else c.dtype) for c in columns]
    return np.dtype([("seq", "<u8"), ("icount", "<u8"), ("pc", "<u8"), ("cpu", "u1"), *own])


COMMON: Final = (
    field("seq", "uint64", "number", "the event's number: one count for all vCPUs, no two alike"),
    field("icount", "uint64", "instructions", "executed by all vCPUs so far: the clock of a trace"),
    field("pc", "uint64", "VA", "the instruction that did it"),
    field("cpu", "uint8", "index", "the vCPU that did it"),
)
assert {c.name for c in COMMON} <= set(DTYPE.names or ())


def _own(values: Values, dtype: str) -> Values:
    return values if isinstance(values, pd.Categorical) else values.astype(dtype, copy=True)


def _names(ids: npt.NDArray[np.uint16], enum: type[IntEnum]) -> Values:
    known = [int(member) for member in enum]
    unknown = sorted(set(np.unique(ids).tolist()) - set(known))
    values = np.array([*known, *unknown])
    order = np.argsort(values, kind="stable")
    codes = order[np.searchsorted(values[order], ids)]
    labels = [*(member.name for member in enum), *map(str, unknown)]
    return pd.Categorical.from_codes(codes.tolist(), categories=pd.Index(labels))
