"""Calls of recorded functions: each ENTER with its arguments and with the EXIT that ends it.

A function cannot be entered again at the same stack pointer before it has ended, so the ENTER and
EXIT of one function at one stack pointer take turns: a call is an ENTER with the EXIT right behind
it in that order. A call whose end was not seen has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.trace.columns import any_of, are
from shootdown.trace.schema import Flag, Kind
from shootdown.trace.types import Events

WORDS: Final = 7
"""Words that ENTER captures behind the stack pointer, at most: arguments, then members."""
DTYPE: Final = np.dtype(
    [
        ("seq", "<u8"),
        ("icount", "<u8"),
        ("pc", "<u8"),
        ("cpu", "u1"),
        ("function", "<u2"),
        ("sp", "<u8"),
        ("words", "<u8", (WORDS,)),
        ("end_seq", "<u8"),
        ("end_icount", "<u8"),
        ("end_cpu", "u1"),
        ("tail", "?"),
        ("result", "<u8"),
    ]
)
"""One call. ``end_seq`` is 0 when its end was not seen; ``result`` means nothing then, nor for a
tail call (``tail``), whose result is that of the function it jumped to."""


def calls(events: Events, functions: Iterable[int] = ()) -> npt.NDArray[np.void]:
    """The calls in ``events``, as rows of ``DTYPE`` in the order of their beginnings.

    ``functions`` are those wanted (``trace.functions.Function``), none means all.
    """
    kinds = (Kind.ENTER, Kind.ENTER_MORE, Kind.EXIT)
    wanted = any_of(events["kind"], kinds)
    numbers = list(functions)
    if numbers:
        wanted &= any_of(events["id"], numbers)
    mine = events[wanted]
    begins = np.flatnonzero(are(mine["kind"], Kind.ENTER))
    found = np.zeros(len(begins), DTYPE)
    entered = mine[begins]
    for name in ("seq", "icount", "pc", "cpu"):
        found[name] = entered[name]
    found["function"], found["sp"] = entered["id"], entered["a"]
    found["words"][:, :3] = np.stack([entered[name] for name in "bcd"], axis=1)
    _further(mine, begins, found)
    _ends(mine, begins, found)
    return found


def _further(mine: Events, begins: npt.NDArray[np.intp], found: npt.NDArray[np.void]) -> None:
    """Add the words that did not fit into ENTER: in the record behind it on its vCPU."""
    order = np.lexsort((mine["seq"], mine["cpu"]))
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    behind = order[np.minimum(place[begins] + 1, len(order) - 1)]
    more = mine[behind]
    has = are(more["kind"], Kind.ENTER_MORE) & (more["cpu"] == mine["cpu"][begins])
    has &= (mine["flags"][begins] & Flag.MORE) != 0
    words = np.stack([more[name] for name in "abcd"], axis=1)
    found["words"][has, 3:] = words[has]


def _ends(mine: Events, begins: npt.NDArray[np.intp], found: npt.NDArray[np.void]) -> None:
    both = np.flatnonzero(~are(mine["kind"], Kind.ENTER_MORE))
    keys = mine[both]
    order = both[np.lexsort((keys["seq"], keys["a"], keys["id"]))]
    first, second = mine[order[:-1]], mine[order[1:]]
    pairs = are(first["kind"], Kind.ENTER) & are(second["kind"], Kind.EXIT)
    pairs &= (first["id"] == second["id"]) & (first["a"] == second["a"])
    at = np.flatnonzero(pairs)
    row = np.zeros(len(mine), np.intp)
    row[begins] = np.arange(len(begins))
    rows, ends = row[order[at]], mine[order[at + 1]]
    found["end_seq"][rows] = ends["seq"]
    found["end_icount"][rows] = ends["icount"]
    found["end_cpu"][rows] = ends["cpu"]
    found["result"][rows] = ends["b"]
    found["tail"][rows] = (ends["flags"] & Flag.TAIL) != 0
