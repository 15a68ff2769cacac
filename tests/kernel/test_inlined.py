"""Functions that the compiler has put into their callers, in text made for the purpose."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from shootdown.kernel import groups, inlined
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.image import KernelImage, Segment
from shootdown.kernel.inlined import Call
from shootdown.kernel.symbols import SymbolTable

VA = 0xFFFF_8000_0000_0000
CALL = Call(("callee", "older_callee"), ("inner", "outer"))
NOP = {"arm64": struct.pack("<I", 0xD503201F), "x86_64": bytes(8)}


def to(arch: str, what: str, distance: int) -> bytes:
    """A call of, or a jump to, what lies ``distance`` bytes from the instruction."""
    if arch == "arm64":
        opcode = {"call": 0x94000000, "jump": 0x14000000}[what]
        return struct.pack("<I", opcode | distance >> 2 & 0x3FFFFFF)
    opcode = {"call": b"\xe8", "jump": b"\xe9", "jcc": b"\x0f\x84"}[what]
    return opcode + struct.pack("<i", distance - len(opcode) - 4)


def find(image: KernelImage, arch: str, host: bytes, *names: str) -> dict[str, str]:
    """What is found where ``names`` lie 64 bytes apart, the first with ``host`` for its text."""
    text = host.ljust(64, NOP[arch][:1] if arch == "x86_64" else b"\0") + bytes(64 * len(names))
    made = replace(image, arch=arch, segments=(Segment(VA, text),))
    table = {name: VA + 64 * number for number, name in enumerate([*names, "_etext"])}
    symbols = SymbolTable(list(table), np.array(list(table.values()), np.uint64))
    return inlined.find(made, symbols, [CALL])


WAYS = [("arm64", "call"), ("arm64", "jump"), ("x86_64", "call"), ("x86_64", "jump")]


@pytest.mark.parametrize(("arch", "what"), [*WAYS, ("x86_64", "jcc")])
@pytest.mark.parametrize("name", ["callee", "callee.constprop.0", "older_callee"])
def test_a_call_or_a_tail_call_is_one(image: KernelImage, arch: str, what: str, name: str) -> None:
    assert find(image, arch, to(arch, what, 64), "inner", name) == {}


@pytest.mark.parametrize("arch", ["arm64", "x86_64"])
def test_a_copy_has_neither(image: KernelImage, arch: str) -> None:
    elsewhere = to(arch, "call", 68)
    assert find(image, arch, elsewhere, "inner", "callee") == {"callee": "inner"}
    assert find(image, arch, NOP[arch], "inner.isra.0", "older_callee") == {"older_callee": "inner"}


def test_the_innermost_that_is_there_must_have_it(image: KernelImage) -> None:
    call = to("arm64", "call", 64)
    assert find(image, "arm64", call, "outer", "callee") == {}
    # outer would call it, but inner is a function of its own and does not.
    assert find(image, "arm64", call, "outer", "callee", "inner") == {"callee": "inner"}


def test_what_is_not_there_says_nothing(image: KernelImage) -> None:
    assert find(image, "arm64", b"", "inner") == {}
    assert find(image, "arm64", b"", "callee") == {}


def test_the_call_may_be_out_of_line(image: KernelImage) -> None:
    call = to("arm64", "call", 64)
    assert find(image, "arm64", call, "inner.cold", "callee", "inner") == {}


def test_every_caller_is_named(image: KernelImage) -> None:
    made = replace(image, arch="arm64", segments=(Segment(VA, bytes(256)),))
    names = ["first", "second", "callee", "_etext"]
    symbols = SymbolTable(names, np.arange(VA, VA + 256, 64, dtype=np.uint64))
    calls = [Call(("callee",), (host,)) for host in ("first", "second")]
    assert inlined.find(made, symbols, calls) == {"callee": "first, second"}


def test_gcc_keeps_every_call_that_groups_speak_of(learned: KernelFacts) -> None:
    assert groups.all_calls()
    assert learned.inlined == {}
