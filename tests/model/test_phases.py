"""Phases by the marks of the guest."""

from __future__ import annotations

import numpy as np

from shootdown.model.phases import Phases
from shootdown.model.stream import stream
from shootdown.trace.schema import Kind
from shootdown.trace.text import parse


def name(word: str) -> str:
    return hex(int.from_bytes(word.encode(), "little"))


def phases(text: str) -> Phases:
    found = Phases()
    for event in stream(parse(text), (Kind.MARK,)):
        found.mark(event)
    return found


def test_what_lies_within_belongs_to_the_outermost() -> None:
    marks = f"""
    0 BARRIER
    0 MARK id=BEGIN a={name("load")}
    0 MARK id=BEGIN a={name("inner")}
    0 MARK id=END a={name("inner")}
    0 MARK id=END a={name("other")}
    0 BARRIER
    0 MARK id=END a={name("load")}
    0 BARRIER
    """
    found = phases(marks)
    assert found.now == ""
    assert phases(marks.replace("0 MARK id=END a=" + name("load"), "0 BARRIER")).now == "load"
    every = np.arange(1, 9, dtype=np.uint64)
    assert found.count(every) == {"": 3, "load": 5}
    assert found.count(every[1:2]) == {"load": 1}
    assert found.count(every[:0]) == {}
