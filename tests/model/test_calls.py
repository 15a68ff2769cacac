"""Calls put together from ENTER, ENTER_MORE and EXIT."""

from __future__ import annotations

from shootdown.model.calls import DTYPE, calls
from shootdown.trace import text
from shootdown.trace.functions import Function


def test_a_call() -> None:
    (call,) = calls(
        text.parse("""
            0 ENTER id=do_mmap a=0x9000 b=1 c=2 d=3 flags=MORE icount=5
            1 ENTER_MORE id=do_mmap a=99
            0 ENTER_MORE id=do_mmap a=4 b=5 c=6 d=7
            0 EXIT id=do_mmap a=0x9000 b=-12 icount=9
        """)
    )
    assert call["function"] == Function.do_mmap
    assert call["words"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert (call["seq"], call["end_seq"]) == (1, 4)
    assert (call["icount"], call["end_icount"]) == (5, 9)
    assert call["result"] == 2**64 - 12
    assert not call["tail"]


def test_it_may_end_on_another_cpu() -> None:
    (call,) = calls(text.parse("0 ENTER id=do_mmap a=0x9000\n1 EXIT id=do_mmap a=0x9000"))
    assert (call["cpu"], call["end_cpu"], call["end_seq"]) == (0, 1, 2)


def test_calls_of_one_function_on_two_stacks() -> None:
    found = calls(
        text.parse("""
            0 ENTER id=do_mmap a=0x9000
            1 ENTER id=do_mmap a=0x5000
            0 EXIT id=do_mmap a=0x9000 b=1
            1 EXIT id=do_mmap a=0x5000 b=2
            0 ENTER id=do_mmap a=0x9000
            0 EXIT id=do_mmap a=0x9000 b=3
        """)
    )
    assert found["result"].tolist() == [1, 2, 3]
    assert found["end_seq"].tolist() == [3, 4, 6]


def test_an_end_that_was_not_seen() -> None:
    found = calls(
        text.parse("""
            0 ENTER id=do_mmap a=0x9000
            0 ENTER id=do_mmap a=0x9000
            0 EXIT id=do_mmap a=0x9000
            0 EXIT id=do_mmap a=0x9000
        """)
    )
    assert found["end_seq"].tolist() == [0, 3]


def test_a_tail_call() -> None:
    (call,) = calls(text.parse("0 ENTER id=do_mmap a=9\n0 EXIT id=do_mmap a=9 flags=TAIL"))
    assert call["tail"]


def test_only_those_wanted() -> None:
    events = text.parse("0 ENTER id=do_mmap a=9\n0 ENTER id=unmap_vmas a=8\n0 PTE_WRITE")
    assert calls(events, [Function.unmap_vmas])["sp"].tolist() == [8]
    assert len(calls(events)) == 2
    assert len(calls(events[:0])) == 0


def test_all_that_is_known_of_a_call() -> None:
    (call,) = calls(
        text.parse("""
            2 ENTER id=do_mmap a=0x9000 b=1 c=2 d=3 icount=5 pc=0x123
            3 EXIT id=do_mmap a=0x9000 b=7 icount=9 flags=TAIL
        """)
    )
    assert dict(zip(DTYPE.names or (), call.tolist(), strict=True)) | {"words": None} == {
        "seq": 1,
        "icount": 5,
        "pc": 0x123,
        "cpu": 2,
        "function": Function.do_mmap,
        "sp": 0x9000,
        "words": None,
        "end_seq": 2,
        "end_icount": 9,
        "end_cpu": 3,
        "tail": True,
        "result": 7,
    }
    assert call["words"].tolist() == [1, 2, 3, 0, 0, 0, 0]


def test_words_of_another_call_are_not_taken() -> None:
    plain, more = "0 ENTER id=do_mmap a={} b=1\n", "{} ENTER_MORE id=do_mmap a=4\n"
    longer = plain.format(0x9000).replace("\n", " flags=MORE\n")

    def words(body: str) -> list[int]:
        return [call["words"][3] for call in calls(text.parse(body))]

    assert words(longer + more.format(0)) == [4]
    assert words(plain.format(0x9000) + more.format(0)) == [0]
    assert words(longer + more.format(1)) == [0]
    assert words(longer + "0 EXIT id=do_mmap a=0x9000\n" + more.format(0)) == [0]
    assert words(longer) == [0]
    assert words(plain.format(0x8000) + longer + more.format(0)) == [0, 4]


def test_ends_of_other_functions_and_stacks() -> None:
    begin = "0 ENTER id=do_mmap a=0x9000\n"
    for end in ("0 EXIT id=unmap_vmas a=0x9000", "0 EXIT id=do_mmap a=0x8000", begin):
        assert calls(text.parse(begin + end))["end_seq"].tolist()[0] == 0
