"""Columns say what the records say."""

from __future__ import annotations

import numpy as np
import pytest

from shootdown.trace.columns import Columns, are, joined, with_columns
from shootdown.trace.schema import DTYPE, Kind
from shootdown.trace.text import parse

EVENTS = parse("0 RET_USER\n1 OBS a=0x1000 b=0x2000\n0 FLUSH id=INVLPG a=0x3000\n")


def test_every_field_is_there_once_and_in_one_piece() -> None:
    columns = Columns(EVENTS)
    assert len(columns) == 3
    for name in DTYPE.names or ():
        assert columns[name].tolist() == EVENTS[name].tolist()
        assert columns[name].flags.c_contiguous
        assert columns[name] is columns[name]


@pytest.mark.parametrize("wanted", [Kind.OBS, int(Kind.OBS), 1 << 16, -1])
def test_where_a_field_is_a_number(wanted: int) -> None:
    found = are(EVENTS["kind"], wanted)
    assert found.tolist() == [kind == wanted for kind in EVENTS["kind"].tolist()]


def test_joined_is_one_part_behind_the_other() -> None:
    parts = [EVENTS, with_columns(EVENTS[1:]), EVENTS[:0], EVENTS[::2]]
    whole = joined(parts)
    assert type(whole) is np.ndarray and whole.dtype == DTYPE
    assert whole.tolist() == [row for part in parts for row in part.tolist()]
    whole["a"] = 1
    assert EVENTS["a"].tolist() == [0, 0x1000, 0x3000]


def test_nothing_joined_is_no_events() -> None:
    assert joined([]).tolist() == [] and joined([]).dtype == DTYPE


def test_other_records_are_not_joined() -> None:
    with pytest.raises(AssertionError):
        joined([np.zeros(2, [("a", np.uint64), ("b", np.uint64)])])
