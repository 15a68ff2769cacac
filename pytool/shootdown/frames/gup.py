"""The tables of GUP: its calls, and the pages it took and gave back."""

from __future__ import annotations

from typing import Final

import numpy as np

from shootdown.frames.column import Table, field, row_type, text
from shootdown.kernel.groups.gup import FLAGS
from shootdown.model.known import Known
from shootdown.model.pins import gup
from shootdown.trace.functions import NAMES
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events

_KINDS: Final = (Kind.PROBE, Kind.ENTER, Kind.ENTER_MORE, Kind.EXIT)
_FLAG_NAMES: Final = "their names without FOLL_, with bars between; a number where types have none"

_CALL_COLUMNS: Final = (
    text("function", "`__get_user_pages`, or the fast one of the kernel"),
    text("by", "the outermost function of the group around it; empty for none"),
    field("task", "uint64", "VA", "the task_struct"),
    field("end_seq", "uint64", "number", "`seq` of the end; 0 when not seen"),
    field("mm", "uint64", "VA", "the mm_struct; 0 for the fast one: the task's own"),
    field("start", "uint64", "VA", "the first address"),
    field("pages", "uint64", "pages", "asked for"),
    field("raw_flags", "uint32", "FOLL_", "the flags as a number"),
    text("flags", _FLAG_NAMES),
    field("result", "int64", "pages", "that were found, or an error as a negative number"),
)
_CALL_ROW: Final = row_type(_CALL_COLUMNS)
_PIN_COLUMNS: Final = (
    text(
        "event",
        "`pin`, `unpin`: with FOLL_PIN; `get`, `put`: a plain reference, but `put_page()` is not "
        "seen; `none`: neither was asked for; `failed`",
    ),
    text("function", "which function did it"),
    text("by", "the outermost function of the group around it; empty for none"),
    field("task", "uint64", "VA", "the task_struct"),
    field("folio", "uint64", "VA", "the struct page of the folio's head"),
    field("refs", "uint32", "references", "taken or given back"),
    field("raw_flags", "uint32", "FOLL_", "the flags as a number; 0 where it has none"),
    text("flags", _FLAG_NAMES),
    field("pins", "int64", "references", "of the folio after it, since recording began"),
)
_PIN_ROW: Final = row_type(_PIN_COLUMNS)


def _name(function: int) -> str:
    return NAMES.get(function, "")


def _calls(events: Events, known: Known) -> Events:
    rows = [
        (
            *(one.seq, one.icount, one.pc, one.cpu, _name(one.function), _name(one.by)),
            *(one.task, one.end, one.mm, one.start, one.pages),
            one.flags,
            known.bits(one.flags, FLAGS, "FOLL_"),
            one.result,
        )
        for one in gup(events, known).calls
    ]
    return np.array(rows, dtype=_CALL_ROW)


def _pins(events: Events, known: Known) -> Events:
    rows = [
        (
            *(one.seq, one.icount, one.pc, one.cpu, one.event),
            *(_name(one.function), _name(one.by), one.task, one.folio, one.refs),
            one.flags,
            known.bits(one.flags, FLAGS, "FOLL_"),
            one.pins,
        )
        for one in gup(events, known).pins
    ]
    return np.array(rows, dtype=_PIN_ROW)


GUP: Final = Table(
    "gup",
    "Runs of GUP and GUP-fast.",
    _KINDS,
    _CALL_COLUMNS,
    told=_calls,
    group="gup",
)
PINS: Final = Table(
    "pins",
    "Pages that GUP took and gave back, and how often each is pinned.",
    _KINDS,
    _PIN_COLUMNS,
    told=_pins,
    group="gup",
)
