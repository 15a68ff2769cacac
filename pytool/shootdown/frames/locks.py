"""The table of mmap_lock transitions, as the model decodes them."""

from __future__ import annotations

from typing import Final

import numpy as np

from shootdown.frames.column import Column, Table, categories, field
from shootdown.model.locks import transitions
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events

_ROW: Final = np.dtype(
    [
        ("seq", "<u8"),
        ("icount", "<u8"),
        ("pc", "<u8"),
        ("cpu", "u1"),
        ("lock", "<u8"),
        ("old", "<u8"),
        ("new", "<u8"),
        ("readers", "<u4"),
        ("move", "O"),
    ]
)
_PLAIN: Final = ("seq", "icount", "pc", "cpu", "lock", "old", "new", "readers")


def _decode(events: Events) -> Events:
    decoded = transitions(events).transitions
    rows = [(*(getattr(t, name) for name in _PLAIN), t.move.name.lower()) for t in decoded]
    return np.array(rows, dtype=_ROW)


LOCKS: Final = Table(
    "locks",
    "Transitions of every mmap_lock: what each change of its word means.",
    (Kind.WATCH, Kind.WATCH_INIT),
    (
        field("lock", "uint64", "VA", "the mm_struct the lock is of"),
        Column(
            "move",
            "category",
            "",
            "what happened: `write_acquire`, `read_release`, ... (model.locks.Move)",
            lambda rows: categories(rows["move"]),
        ),
        field("old", "uint64", "word", "the rwsem count before"),
        field("new", "uint64", "word", "the rwsem count after"),
        field("readers", "uint32", "tasks", "sleeping readers that a `read_grant` lets in, else 0"),
    ),
    _decode,
    "lock by lock, each in the order that its values tell: a number is drawn after the access, so "
    "`seq` and `icount` may step back between neighbours",
)
