"""The text by which a running kernel is found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shootdown.errors import InfraError
from shootdown.kernel import anchor
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.symbols import SymbolTable


def bytes_of(line: str) -> tuple[int, list[int | None]]:
    """VA and bytes of the directive; None for a byte that may be any."""
    _, va, text = line.split()
    pairs = [text[at : at + 2] for at in range(0, len(text), 2)]
    return int(va, 16), [None if pair == "??" else int(pair, 16) for pair in pairs]


def test_fixed_bytes_are_those_of_the_image(learned: KernelFacts) -> None:
    va, found = bytes_of(anchor.line(learned))
    assert va == learned.va("start_kernel")
    image = learned.image.read(va, len(found))
    fixed = [(byte, image[at]) for at, byte in enumerate(found) if byte is not None]
    assert 16 <= len(fixed) < len(found) == 64
    assert all(byte == there for byte, there in fixed)


def test_addresses_may_be_any(learned: KernelFacts) -> None:
    """x86-64 has the address of init_task there, which is relocated; arm64 has hints."""
    va, found = bytes_of(anchor.line(learned))
    image = learned.image.read(va, len(found))
    if learned.arch == "x86_64":
        moved = (learned.va("init_task") & 0xFFFFFFFF).to_bytes(4, "little")
        at = image.index(moved)
        assert found[at : at + 4] == [None] * 4
        assert found[at - 3 : at] == list(image[at - 3 : at])
    else:
        at = image.index(bytes.fromhex("3f2303d5"))  # PACIASP
        assert found[at : at + 4] == [None] * 4
        assert found[at + 4 : at + 8] == list(image[at + 4 : at + 8])


def test_text_that_says_nothing_is_refused(learned: KernelFacts, monkeypatch: Any) -> None:
    nothing = {"x86_64": b"\xe8" + bytes(4), "arm64": bytes.fromhex("1f2003d5")}[learned.arch]
    none = SymbolTable([], learned.symbols.vas[:0])
    odd = replace(learned, symbols=none.with_more({"start_kernel": learned.va("start_kernel")}))
    text = (nothing * 64)[:64]
    monkeypatch.setattr(type(learned.image), "read", lambda *_: text)
    with pytest.raises(InfraError, match="has no usable text at start_kernel"):
        anchor.line(odd)
