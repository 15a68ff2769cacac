"""The text form of traces: what it says, and that nothing is lost in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.errors import UsageError
from shootdown.trace.schema import DTYPE, FIELDS, Flag, FlushOp, Kind, Probe
from shootdown.trace.text import format_events, parse

_BITS = {field.name: 8 * DTYPE[field.name].itemsize for field in FIELDS}
_event = st.tuples(
    *(
        st.one_of(st.sampled_from([int(kind) for kind in Kind]), st.integers(0, 2**16 - 1))
        if field.name == "kind"
        else st.one_of(st.integers(0, 3), st.integers(0, 2 ** _BITS[field.name] - 1))
        for field in FIELDS
    )
)


@given(st.lists(_event, max_size=8))
def test_round_trip(rows: list[tuple[int, ...]]) -> None:
    events = np.array(rows, dtype=DTYPE)
    assert np.array_equal(parse(format_events(events)), events)


def test_the_names_of_the_schema_are_understood() -> None:
    events = parse(
        """
        # a comment, then an empty line

        0 PTE_WRITE a=0x1000 b=0 c=0x8000000000000067 d=0x400000 level=1  # mapped
        1 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL|LEAF
        0 PROBE id=SYSCALL a=9 seq=10
        0 RET_USER a=-14
        """
    )
    assert events["cpu"].tolist() == [0, 1, 0, 0]
    assert events["seq"].tolist() == [1, 2, 10, 11]
    assert events["kind"].tolist() == [Kind.PTE_WRITE, Kind.FLUSH, Kind.PROBE, Kind.RET_USER]
    assert events["id"].tolist() == [0, FlushOp.INVLPG, Probe.SYSCALL, 0]
    assert events[0]["c"] == 0x8000000000000067
    assert events[1]["flags"] == Flag.LOCAL | Flag.LEAF
    assert events[3]["a"] == 2**64 - 14


def test_text_is_written_as_people_write_it() -> None:
    line = "1 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL|LEAF\n"
    assert format_events(parse(line)) == line


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0", "needs a CPU and a kind"),
        ("0 PTE_WRIET", "'PTE_WRIET' is no kind"),
        ("x FLUSH", "'x' is no number"),
        ("0 FLUSH id=CR3", "'CR3' is no number and no name"),
        ("0 FLUSH flags=NEAR", "'NEAR' is no flag"),
        ("0 FLUSH e=1", "'e=1' is no FIELD=VALUE"),
        ("0 FLUSH a", "'a' is no FIELD=VALUE"),
        ("0 FLUSH a=1 a=2", "'a' is given twice"),
        ("256 FLUSH", "cpu=256 does not fit in 8 bits"),
        ("0 FLUSH a=0x10000000000000000", "does not fit in 64 bits"),
    ],
)
def test_mistakes_are_named_with_their_line(line: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(f"0 PTE_WRITE\n{line}", source="good_one")
    assert str(error.value).startswith("good_one:2: ")
    assert says in str(error.value)
