"""GUP put together, from events written by hand."""

from __future__ import annotations

import pytest

from shootdown.model.gup_records import Call, Gup, Pin
from shootdown.model.known import Known, known
from shootdown.model.pins import gup
from shootdown.trace import text
from shootdown.trace.functions import Function

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


def test_all_that_is_known_of_a_run() -> None:
    body = """
    1 PROBE id=TASK_SWITCH a=0x700 b=7
    1 ENTER id=get_user_pages a=0x9a0
    1 ENTER id=__get_user_pages a=0x980 b=0xaa c=0x400000 d=3 flags=MORE icount=50 pc=0x123
    1 ENTER_MORE id=__get_user_pages a=0x700000002
    1 EXIT id=__get_user_pages a=0x980 b=0xfffffff2
    1 EXIT id=get_user_pages a=0x9a0
    """
    (call,) = told(body).calls
    assert call == Call(
        seq=3,
        icount=50,
        pc=0x123,
        cpu=1,
        task=0x700,
        function=Function["__get_user_pages"],
        by=Function.get_user_pages,
        mm=0xAA,
        start=0x400000,
        pages=3,
        flags=2,
        end=5,
        result=-14,
    )


def test_a_run_of_gup_fast_is_about_the_tasks_own_mm() -> None:
    (call,) = told("0 ENTER id=internal_get_user_pages_fast a=0x980 b=0x400000 c=3 d=2").calls
    assert (call.mm, call.start, call.pages, call.flags) == (0, 0x400000, 3, 2)
    assert (call.by, call.end, call.result) == (0, 0, 0)


def test_all_that_is_known_of_a_pin() -> None:
    body = """
    1 PROBE id=TASK_SWITCH a=0x700 b=7
    1 ENTER id=try_grab_folio a=0x900 b=0x40 c=0x500000003 d=0x700080001 icount=50 pc=0x123
    """
    (pin,) = told(body).pins
    assert pin == Pin(
        seq=2,
        icount=50,
        pc=0x123,
        cpu=1,
        task=0x700,
        function=Function.try_grab_folio,
        event="pin",
        folio=0x40,
        refs=3,
        flags=0x80001,
        by=0,
        pins=3,
    )


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("folio_add_pin a=0x900 b=0x40 c=9", ("pin", 1)),
        ("folio_add_pins a=0x900 b=0x40 c=9", ("pin", 9)),
        ("unpin_user_folio a=0x900 b=0x40 c=9", ("unpin", 9)),
        ("unpin_user_page a=0x900 b=0x40", ("unpin", 1)),
        ("unpin_folio a=0x900 b=0x40 c=9", ("unpin", 1)),
        ("gup_put_folio a=0x900 b=0x40 c=9 d=0x80000", ("unpin", 9)),
        ("gup_put_folio a=0x900 b=0x40 c=9 d=2", ("put", 9)),
        ("try_grab_folio a=0x900 b=0x40 c=9 d=2", ("get", 9)),
        ("try_grab_folio a=0x900 b=0x40 c=9 d=0x1000", ("none", 9)),
        ("try_grab_page a=0x900 b=0x40 c=0x80000", ("pin", 1)),
    ],
)
def test_what_each_function_takes_or_gives_back(call: str, expected: tuple[str, int]) -> None:
    name = call.split(maxsplit=1)[0]
    (pin,) = told(f"0 ENTER id={call}\n0 EXIT id={name} a=0x900").pins
    assert (pin.event, pin.refs, pin.folio) == (*expected, 0x40)


@pytest.mark.parametrize(
    ("name", "before"),
    [("try_grab_page", "c=2"), ("try_grab_folio", "c=1 d=2"), ("try_grab_folio_fast", "c=1 d=2")],
)
@pytest.mark.parametrize("words", [(0x1001, 0), (0, 0x1001)])
def test_the_folio_of_a_tail_page(name: str, before: str, words: tuple[int, int]) -> None:
    """The words that may name the head are captured behind the arguments."""
    first, second = words
    rest = f"d={first:#x} flags=MORE", f"a={second:#x}"
    if name != "try_grab_page":
        rest = "flags=MORE", f"a={first:#x} b={second:#x}"
    body = (
        f"0 ENTER id={name} a=0x900 b=0x1040 {before} {rest[0]}\n0 ENTER_MORE id={name} {rest[1]}"
    )
    assert told(body).pins[0].folio == 0x1000


def test_which_reference_is_asked_for_may_not_be_known() -> None:
    """Up to 6.2 FOLL_GET is a macro too: any flag may be it."""
    body = "0 ENTER id=try_grab_folio a=0x900 b=0x40 c=1 d={}\n0 EXIT id=try_grab_folio a=0x900\n"
    assert events(told(body.format(8), Known()))[0][0] == "get"
    assert events(told(body.format(0), Known()))[0][0] == "none"


GRAB_PAGE = (
    "0 ENTER id=try_grab_page a=0x900 b=0x40 c=0x80000\n0 EXIT id=try_grab_page a=0x900 b={}\n"
)


def test_forms_of_try_grab_page() -> None:
    """It returned a bool until 6.1, and since then an error or 0."""

    def results(*values: int) -> list[str]:
        return [event for event, _, _ in events(told("".join(map(GRAB_PAGE.format, values))))]

    assert results(0, 1, 0) == ["failed", "pin", "failed"]
    assert results(0, 0xDEAD_0000_0001) == ["failed", "pin"]
    assert results(0, 0xFFFFFFF4) == ["pin", "failed"]
    assert results(0x1_0000_0000) == ["pin"]


def test_an_error_of_try_grab_folio() -> None:
    body = (
        "0 ENTER id=try_grab_folio a=0x900 b=0x40 c=1 d=2\n0 EXIT id=try_grab_folio a=0x900 b={}\n"
    )
    assert events(told(body.format(0xFFFFFFF4))) == [("failed", 1, 0)]
    assert events(told(body.format(0x1_0000_0000))) == [("get", 1, 0)]
    older = Known(FLAGS, frozenset({"try_grab_folio_fast"}))
    assert events(told(body.format(0x40), older)) == [("get", 1, 0)]


def test_try_grab_folio_fast_returns_the_folio() -> None:
    body = PINNED.replace("a=0x900 b=0x40\n0 EXIT", "a=0x900 b=0\n0 EXIT")
    assert events(told(body)) == [("failed", 1, 0)]


def test_a_jump_to_what_is_not_recorded() -> None:
    grab = "0 ENTER id=try_grab_folio a=0x900 b=0x40 c=1 d=2\n"
    grab += "0 EXIT id=try_grab_folio a=0x900 flags=TAIL\n"
    other = "0 ENTER id=gup_fast_fallback a={0}\n0 EXIT id=gup_fast_fallback a={0}\n"
    assert events(told(grab)) == [("unknown", 1, 0)]
    assert events(told(grab + other.format("0x900"))) == [("unknown", 1, 0)]
    inner = "0 ENTER id=try_get_folio a=0x880\n0 EXIT id=try_get_folio a=0x880 b=0x40\n"
    assert events(told(grab + inner)) == [("unknown", 1, 0)]


def test_an_unpin_that_jumps_to_what_is_not_recorded() -> None:
    unpin = "0 ENTER id=unpin_folio a=0x900 b=0x40\n0 EXIT id=unpin_folio a=0x900 flags=TAIL\n"
    assert events(told(unpin)) == [("unpin", 1, -1)]
    assert events(told(unpin + unpin)) == [("unpin", 1, -1), ("unpin", 1, -2)]
    within = "0 ENTER id=unpin_user_folio a=0x900 b=0x40 c=2\n"
    within += "0 ENTER id=gup_put_folio a=0x880 b=0x40 c=2 d=0x80000\n"
    within += "0 EXIT id=gup_put_folio a=0x880\n"
    assert events(told(within + "0 EXIT id=unpin_user_folio a=0x900 flags=TAIL")) == [
        ("unpin", 2, -2)
    ]


def test_ends_and_beginnings_that_have_none() -> None:
    enter, leave = "{} ENTER id=gup_fast_fallback a={}\n", "{} EXIT id=gup_fast_fallback a={}\n"
    assert told(enter.format(0, "0x900") + leave.format(0, "0x900")).unpaired == 0
    assert told(leave.format(0, "0x900")).unpaired == 1
    assert told(enter.format(0, "0x900")).unpaired == 1
    assert told(enter.format(0, "0x900") * 2 + leave.format(0, "0x900")).unpaired == 1
    assert told(enter.format(0, "0x900") + leave.format(0, "0x980")).unpaired == 2
    assert told(enter.format(0, "0x900") + leave.format(0, "0x880")).unpaired == 2
    nested = enter.format(0, "0x980") + enter.format(0, "0x900")
    assert told(nested + leave.format(0, "0x980")).unpaired == 1
    assert told(nested + leave.format(0, "0x900") + leave.format(0, "0x980")).unpaired == 0
    other = leave.format(0, "0x900").replace("gup_fast_fallback", "unpin_folio")
    assert told(enter.format(0, "0x900") + other).unpaired == 2


def test_tasks_have_stacks_of_their_own() -> None:
    switch = "0 PROBE id=TASK_SWITCH a={}\n"
    enter = "0 ENTER id=gup_fast_fallback a=0x980 b={}\n"
    leave = "0 EXIT id=gup_fast_fallback a=0x980 b={}\n"
    body = switch.format(1) + enter.format("0x1000") + switch.format(2) + enter.format("0x2000")
    body += switch.format(1) + leave.format(3) + switch.format(2) + leave.format(4)
    found = told(body)
    assert [(call.start, call.result) for call in found.calls] == [(0x1000, 3), (0x2000, 4)]
    assert found.unpaired == 0


def test_what_is_given_back_elsewhere_tells_no_flag() -> None:
    """gup_put_folio() outside of the unpin functions may give back a plain reference."""
    put = "0 ENTER id=gup_put_folio a=0x900 b=0x40 c=1 d=2\n0 EXIT id=gup_put_folio a=0x900\n"
    assert told(put, Known()).pin_flag == 0
    jumped = "0 ENTER id=unpin_user_page a=0x900 b=0x40\n"
    jumped += "0 EXIT id=unpin_user_page a=0x900 flags=TAIL\n" + put.replace("d=2", "d=0x40000")
    assert told(jumped, Known()).pin_flag == 0x40000
    assert told(jumped).pin_flag == FLAGS[".FOLL_PIN"]


def test_folios_that_stay_pinned() -> None:
    pin, unpin = (
        f"0 ENTER id={name} a=0x900 b={{}} c=2 d=0x80000\n"
        for name in ("try_grab_folio", "gup_put_folio")
    )
    body = pin.format("0x40") + pin.format("0x80") + unpin.format("0x40") + pin.format("0xc0")
    found = told(body + unpin.format("0xc0") + pin.format("0xc0").replace("0x80000", "2"))
    assert found.left() == {0x80: 2}
