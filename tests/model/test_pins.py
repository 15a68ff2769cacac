"""GUP put together, from events written by hand."""

from __future__ import annotations

import pytest

from shootdown.model.known import Known, known
from shootdown.model.pins import Gup, gup
from shootdown.trace import text

FLAGS = {".FOLL_PIN": 0x80000, ".FOLL_GET": 2}


KERNEL = Known(FLAGS)


def told(body: str, what: Known = KERNEL) -> Gup:
    return gup(text.parse(body), what)


def events(found: Gup) -> list[tuple[str, int, int]]:
    return [(pin.event, pin.refs, pin.pins) for pin in found.pins]


PINNED = """
0 ENTER id=pin_user_pages_fast a=0x980
0 EXIT id=pin_user_pages_fast a=0x980 flags=TAIL
0 ENTER id=gup_fast_fallback a=0x980 b=0x400000 c=1 d=0x80101
0 ENTER id=try_grab_folio_fast a=0x900 b=0x40 c=1 d=0x80101 flags=MORE
0 ENTER_MORE id=try_grab_folio_fast a=0x40 b=0x40
0 EXIT id=try_grab_folio_fast a=0x900 b=0x40
0 EXIT id=gup_fast_fallback a=0x980 b=1
"""


def test_pins_are_counted_by_folio() -> None:
    found = told(PINNED + PINNED + "0 ENTER id=gup_put_folio a=0x900 b=0x40 c=1 d=0x80000")
    assert events(found) == [("pin", 1, 1), ("pin", 1, 2), ("unpin", 1, 1)]
    assert found.left() == {0x40: 1}
    (call, _) = found.calls
    assert (call.start, call.pages, call.result) == (0x400000, 1, 1)
    assert call.by == found.pins[0].by == 171


@pytest.mark.parametrize("inside", ["", "0 ENTER id=gup_put_folio a=0x880 b=0x40 c=1 d=0x80000\n"])
def test_an_unpin_counts_once(inside: str) -> None:
    leave = "0 EXIT id=gup_put_folio a=0x880\n" if inside else ""
    body = f"""
0 ENTER id=unpin_user_folio a=0x900 b=0x40 c=1
{inside}{leave}0 EXIT id=unpin_user_folio a=0x900
"""
    found = told(PINNED + body)
    assert events(found) == [("pin", 1, 1), ("unpin", 1, 0)]
    assert found.unpaired == 0


def test_an_unpin_that_ends_with_the_jump_counts_once() -> None:
    body = """
    0 ENTER id=unpin_user_page a=0x900 b=0x40 c=0x40 d=0x40
    0 EXIT id=unpin_user_page a=0x900 flags=TAIL
    0 ENTER id=gup_put_folio a=0x900 b=0x40 c=1 d=0x80000
    0 EXIT id=gup_put_folio a=0x900
    """
    assert events(told(body)) == [("unpin", 1, -1)]


def test_a_result_comes_from_where_the_function_jumped() -> None:
    body = """
    0 ENTER id=try_grab_folio_fast a=0x900 b=0x40 c=1 d=2
    0 EXIT id=try_grab_folio_fast a=0x900 flags=TAIL
    0 ENTER id=try_get_folio a=0x900 b=0x40 c=1
    0 EXIT id=try_get_folio a=0x900 b={0}
    """
    assert events(told(body.format(0x40))) == [("get", 1, 0)]
    assert events(told(body.format(0))) == [("failed", 1, 0)]


def test_forms_of_results() -> None:
    body = """
    0 ENTER id=try_grab_folio a=0x900 b=0x40 c=1 d=0x80000
    0 EXIT id=try_grab_folio a=0x900
    """
    assert events(told(body)) == [("pin", 1, 1)]
    older = Known(FLAGS, frozenset({"try_grab_folio_fast"}))
    assert events(told(body, older)) == [("failed", 1, 0)]


def test_the_trace_tells_what_no_type_tells() -> None:
    body = """
    0 ENTER id=try_grab_page a=0x900 b=0x40 c=0x40001
    0 EXIT id=try_grab_page a=0x900 b=1
    0 ENTER id=unpin_user_pages a=0x980
    0 ENTER id=gup_put_folio a=0x900 b=0x40 c=1 d=0x40000
    0 EXIT id=gup_put_folio a=0x900
    0 EXIT id=unpin_user_pages a=0x980
    """
    found = told(body, Known())
    assert found.pin_flag == 0x40000
    assert events(found) == [("pin", 1, 1), ("unpin", 1, 0)]


@pytest.mark.parametrize("word", [0x1001, 0xFFFF_FFFF_FFFF_F001])
def test_a_tail_page_is_part_of_its_folio(word: int) -> None:
    body = f"""
    0 ENTER id=unpin_user_page a=0x900 b=0x1040 c={word:#x} d=0x1040
    0 EXIT id=unpin_user_page a=0x900
    """
    assert told(body).pins[0].folio == 0x1000


def test_a_command_in_another_form_tells_nothing() -> None:
    assert known({}) == Known()
    assert known({"events": 7}) == Known()
    odd = {"a": 1, "b": {"constants": {".X": "y", ".Z": 3}, "absent": [1, "f"], "recorded": 1}}
    assert known({"events": odd}) == Known({".Z": 3}, frozenset({"f"}))
