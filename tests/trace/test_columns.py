"""Columns say what the records say."""

from __future__ import annotations

from shootdown.trace.columns import Columns
from shootdown.trace.schema import DTYPE
from shootdown.trace.text import parse

EVENTS = parse("0 RET_USER\n1 OBS a=0x1000 b=0x2000\n0 FLUSH id=INVLPG a=0x3000\n")


def test_every_field_is_there_once_and_in_one_piece() -> None:
    columns = Columns(EVENTS)
    assert len(columns) == 3
    for name in DTYPE.names or ():
        assert columns[name].tolist() == EVENTS[name].tolist()
        assert columns[name].flags.c_contiguous
        assert columns[name] is columns[name]
