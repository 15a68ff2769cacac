"""Pins as time spans of frames."""

from __future__ import annotations

from shootdown.model import pinned
from shootdown.model.known import Known
from shootdown.trace.text import parse

PIN = 1 << 19
KNOWN = Known({".FOLL_PIN": PIN, ".FOLL_WRITE": 1, ".FOLL_GET": 2})
BASE = "0 STRUCT_PAGES a=0xffffea0000000000 b=64\n"


def page(frame: int) -> str:
    return f"{0xFFFFEA0000000000 + 64 * frame:#x}"


def grab(frame: int, flags: int, refs: int = 1) -> str:
    return (
        f"0 ENTER id=try_grab_folio_fast a=0x9e00 b={page(frame)} c={refs} d={flags:#x}\n"
        f"0 EXIT id=try_grab_folio_fast a=0x9e00 b={page(frame)}\n"
    )


def put(frame: int, refs: int = 1) -> str:
    return (
        f"0 ENTER id=gup_put_folio a=0x9e00 b={page(frame)} c={refs} d={PIN:#x}\n"
        "0 EXIT id=gup_put_folio a=0x9e00\n"
    )


def run(text: str) -> str:
    call = "id=gup_fast_fallback a=0x9f00"
    return f"0 ENTER {call} d={PIN}\n{text}0 EXIT {call}\n"


def spans(text: str) -> dict[int, list[tuple[int, int]]]:
    found = pinned.read(parse(BASE + text), KNOWN)
    return {frame: [(h.seq, h.end) for h in holds] for frame, holds in found.pins.items()}


def test_from_the_grab_to_the_unpin() -> None:
    assert spans(run(grab(5, PIN)) + put(5)) == {5: [(3, 6)]}
    assert spans(run(grab(5, PIN))) == {5: [(3, pinned.NEVER)]}


def test_what_gup_takes_back_was_never_there() -> None:
    assert spans(run(grab(5, PIN) + grab(6, PIN) + put(5))) == {6: [(5, pinned.NEVER)]}


def test_an_older_pin_is_not_taken_back() -> None:
    text = run(grab(5, PIN)) + run(grab(5, PIN) + put(5))
    assert spans(text) == {5: [(3, pinned.NEVER)]}


def test_several_references_of_a_folio() -> None:
    text = run(grab(8, PIN, refs=4)) + put(8, refs=3)
    assert spans(text) == {8: [(3, pinned.NEVER)]}
    assert spans(text + put(8)) == {8: [(3, 8)]}


def test_freed_is_over() -> None:
    found = pinned.read(
        parse(BASE + run(grab(5, PIN)) + "0 PAGE_FREED a=0x5000 b=1 c=1 d=1\n"), KNOWN
    )
    assert found.pins[5][0].end == 6
    assert found.freed == 1


def test_references_last_until_the_call_returns() -> None:
    text = run(grab(5, 1 | 2)) + run(grab(6, 2)) + "0 RET_USER\n"
    (hold,) = pinned.read(parse(BASE + text), KNOWN).gets[5]
    assert (hold.seq, hold.end) == (3, 10)
    assert 6 not in pinned.read(parse(BASE + text), KNOWN).gets  # only for reading


def test_without_structures_nothing_is_known() -> None:
    assert not pinned.read(parse(run(grab(5, PIN))), KNOWN).pins


def test_lookup() -> None:
    found = pinned.read(parse(BASE + run(grab(5, PIN)) + put(5)), KNOWN).pins
    assert pinned.held(found, 5, 1, before=4, at=4)
    assert not pinned.held(found, 5, 1, before=3, at=4)
    assert not pinned.held(found, 5, 1, before=9, at=6)
    assert pinned.held(found, 0, 512, before=4, at=4)
    assert not pinned.held(found, 6, 512, before=4, at=4)
