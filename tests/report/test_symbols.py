from __future__ import annotations

from shootdown.report.symbols import Symbols

SYMBOLS = Symbols({"a": 0x1000, "b_alias_long": 0x2000, "b": 0x2000, "c": 0x3000})


def test_exact_and_offset() -> None:
    assert SYMBOLS.place(0x1000) == "a+0x0"
    assert SYMBOLS.place(0x1FFF) == "a+0xfff"
    assert SYMBOLS.function(0x30FF) == "c"


def test_alias_is_the_short_name() -> None:
    assert SYMBOLS.function(0x2004) == "b"


def test_below_all_and_far_above_are_plain_numbers() -> None:
    assert SYMBOLS.place(0xFFF) == "0xfff"
    assert SYMBOLS.place(0x3000 + (1 << 21)) == "0x203000"
    assert Symbols({}).place(5) == "0x5"
