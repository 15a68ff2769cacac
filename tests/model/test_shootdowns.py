"""x86's flush requests and the handlers that answer them (arch/x86/mm/tlb.c)."""

from __future__ import annotations

import numpy as np

from shootdown.model.shootdowns import handlers, requests
from shootdown.trace.text import parse


def request(cpu: int, mm: int = 0x5000, *, of: str = "") -> str:
    """flush_tlb_mm_range(mm, start, end, shift, freed_tables), and what happens in it."""
    name = f"{cpu} {{}} id=flush_tlb_mm_range a={0x9100 + cpu * 0x4000:#x}"
    return (
        f"{name.format('ENTER')} b={mm:#x} c=0x400000 d=0x402000 flags=MORE icount=70 pc=0x77\n"
        f"{cpu} ENTER_MORE id=flush_tlb_mm_range a=12 b=1\n{of}{name.format('EXIT')}\n"
    )


def handler(cpu: int, initiator: int, mm: int = 0x5000) -> str:
    """flush_tlb_func(info): the fields of struct flush_tlb_info."""
    name = f"{cpu} {{}} id=flush_tlb_func a={0x8100 + cpu * 0x4000:#x}"
    return (
        f"{name.format('ENTER')} b=0x1 c={mm:#x} d=0x400000 flags=MORE icount=80 pc=0x88\n"
        f"{cpu} ENTER_MORE id=flush_tlb_func a=0x401000 b=7 c={initiator}\n{name.format('EXIT')}\n"
    )


def joined(text: str) -> tuple[list[int], list[int]]:
    """Interrupts of each request; of each handler the place of its request, -1 without one."""
    events = parse(text)
    asked, ran = requests(events), handlers(events)
    places = {seq: place for place, seq in enumerate(asked["seq"].tolist())}
    return asked["interrupts"].tolist(), [places.get(seq, -1) for seq in ran["request"].tolist()]


def test_a_request_says_what_was_asked_for() -> None:
    (asked,) = requests(parse(request(1)))
    assert (asked["seq"], asked["end_seq"], asked["cpu"]) == (1, 3, 1)
    assert (asked["icount"], asked["pc"]) == (70, 0x77)
    assert (asked["mm"], asked["start"], asked["end"]) == (0x5000, 0x400000, 0x402000)
    assert (asked["shift"], asked["freed_tables"], asked["interrupts"]) == (12, True, 0)


def test_a_handler_says_what_it_was_told() -> None:
    (ran,) = handlers(parse(handler(2, 1)))
    assert (ran["seq"], ran["end_seq"], ran["cpu"]) == (1, 3, 2)
    assert (ran["icount"], ran["pc"]) == (80, 0x88)
    assert (ran["mm"], ran["start"], ran["end"]) == (0x5000, 0x400000, 0x401000)
    assert (ran["generation"], ran["initiator"]) == (7, 1)
    assert (ran["remote"], ran["request"]) == (True, 0)


def test_handlers_answer_the_request_that_is_under_way() -> None:
    text = request(0, of=handler(0, 0) + handler(1, 0) + handler(2, 0))
    assert joined(text) == ([2], [0, 0, 0])
    assert handlers(parse(text))["remote"].tolist() == [False, True, True]


def test_requests_of_one_cpu() -> None:
    first, second = request(0, of=handler(1, 0)), request(0, of=handler(1, 0) + handler(2, 0))
    assert joined(first + second) == ([1, 2], [0, 1, 1])


def test_requests_of_several_cpus_at_once() -> None:
    inner = request(1, of=handler(2, 1) + handler(2, 0) + handler(0, 1))
    assert joined(request(0, of=inner)) == ([1, 2], [1, 0, 1])


def test_a_handler_outside_of_any_request() -> None:
    """Batched flushes of reclaim, arch_tlbbatch_flush(), have none."""
    assert joined(handler(1, 0) + request(0) + handler(1, 0)) == ([0], [-1, -1])


def test_a_handler_for_another_mm_is_not_the_requests() -> None:
    assert joined(request(0, of=handler(1, 0, 0x6000))) == ([0], [-1])


def test_nothing() -> None:
    nothing = np.zeros(0, parse("0 BARRIER id=DSB").dtype)
    assert len(requests(nothing)) == len(handlers(nothing)) == 0
