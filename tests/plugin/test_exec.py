"""What the plugin reports of instructions when they run: flushes, barriers, returns to user."""

from __future__ import annotations

import pytest

from shootdown.trace.schema import Flag, FlushOp, Kind
from tests.plugin import oracle
from tests.plugin.conftest import Decode
from tests.plugin.oracle import NO_REG, RIP


def test_operands_of_invlpg(decode: Decode) -> None:
    cases = {
        "0f0138 rax=0x1234567": (0, NO_REG, 0x1234000),
        "410f013c24 r12=0x7000": (12, NO_REG, 0x7000),
        "0f017c8810 rax=0x1000 rcx=0x4000": (0, 1, 0x11000),
        "0f013d00f0ffff rax=1": (RIP, NO_REG, 0x0),  # PC 0x1000, 7 bytes, less a page
        "0f013c2500e0ffff rax=1": (NO_REG, NO_REG, 0xFFFF_FFFF_FFFF_E000),
    }
    for case, answer in zip(cases, decode("x86_64", cases), strict=True):
        (event,) = answer.events
        assert (answer.base, answer.index, event[2]) == cases[case], case
        assert event[3] == (event[2] + 0x1000) % 2**64
        assert event[:2] == (Kind.FLUSH, FlushOp.INVLPG)
        assert answer.epochs == 1


@pytest.mark.parametrize(
    ("old", "new", "flushes"),
    [(0x80, 0, True), (0, 0x80, True), (0x20000, 0, True), (0, 0x20000, False),
     (0, 0x100000, True), (0x100000, 0, False), (0x80, 0x80, False), (0, 0x10, False)],
)  # fmt: skip
def test_cr4(decode: Decode, old: int, new: int, flushes: bool) -> None:
    (answer,) = decode("x86_64", [f"0f22e0 rax={new} cr4={old}"])
    assert [event[:2] for event in answer.events] == [(Kind.FLUSH, FlushOp.CR4_WRITE)] * flushes
    assert answer.epochs == flushes


def tlbi_names() -> dict[str, int]:
    """Every TLBI of EL1 that capstone can name, with its word; the operand is x0."""
    engine, names = oracle.engine("arm64"), {}
    for crm in range(16):
        for op2 in range(8):
            word = 0xD508_8000 | crm << 8 | op2 << 5
            for insn in engine.disasm(word.to_bytes(4, "little"), 0, 1):
                if insn.mnemonic == "tlbi":
                    names[insn.op_str.split(",")[0]] = word
    return names


def expected_flush(name: str) -> tuple[FlushOp, Flag]:
    """What a TLBI's name says."""
    core, flags = name, Flag(0)
    domain = next((d for d in ("is", "os") if core.endswith("e1" + d)), "")
    core = core.removesuffix(domain).removesuffix("e1")
    if not domain:
        flags |= Flag.LOCAL
    if core == "vmall":
        return FlushOp.TLBI_ALL, flags | Flag.ALL_ASID
    if core == "asid":
        return FlushOp.TLBI_ASID, flags
    wide = "aa" in core
    if core.endswith("l"):
        flags |= Flag.LEAF
    if wide:
        flags |= Flag.ALL_ASID
    ranged = core.startswith("r")
    return {
        (False, False): FlushOp.TLBI_VA,
        (False, True): FlushOp.TLBI_VA_ALL_ASID,
        (True, False): FlushOp.TLBI_RANGE,
        (True, True): FlushOp.TLBI_RANGE_ALL_ASID,
    }[ranged, wide], flags


@pytest.mark.parametrize("nxs", [0, 0x1000], ids=["", "nXS"])
def test_every_tlbi(decode: Decode, nxs: int) -> None:
    names = tlbi_names()
    assert len(names) == 30
    lines = [f"{(word | nxs).to_bytes(4, 'little').hex()} x0=0" for word in names.values()]
    for name, answer in zip(names, decode("arm64", lines), strict=True):
        (event,) = answer.events
        assert answer.epochs == 1
        assert (event[1], event[7]) == expected_flush(name), name


@pytest.mark.parametrize(
    ("x", "start", "asid", "level"),
    [
        (0x0005_0000_0000_1234, 0x1234000, 5, 0),
        (0x0005_7000_0000_1234, 0x1234000, 5, 1),
        (0x0005_6000_0000_1200, 0x1200000, 5, 2),
        (0x0005_4000_0000_1200, 0x1200000, 5, 0),
        (0x0005_3000_0000_1200, 0x1200000, 5, 0),
        (0x0000_0FFF_8000_8000, 0xFFFF_F800_0800_0000, 0, 0),
    ],
)
def test_operand_of_a_tlbi_by_va(decode: Decode, x: int, start: int, asid: int, level: int) -> None:
    (answer,) = decode("arm64", [f"208308d5 x0={x:#x}"])  # vae1is, x0
    ((_, _, a, b, c, d, found, _),) = answer.events
    assert (a, b, c, d, found) == (start, start + 4096, asid, x, level)


@pytest.mark.parametrize(
    ("x", "start", "pages", "level"),
    [
        (0x0007_4000_0000_1000, 0x1000000, 2, 0),
        (0x0007_4F80_0000_1000, 0x1000000, 64, 0),
        (0x0007_5060_0000_1000, 0x1000000, 64, 1),
        (0x0007_7FC0_0000_1000, 0x1000000, 32 << 16, 2),
        (0x0000_401F_FFFF_F000, 0xFFFF_FFFF_FF00_0000, 2, 0),
    ],
)
def test_operand_of_a_tlbi_by_range(
    decode: Decode, x: int, start: int, pages: int, level: int
) -> None:
    (answer,) = decode("arm64", [f"208208d5 x0={x:#x}"])  # rvae1is, x0
    ((_, _, a, b, c, _, found, _),) = answer.events
    assert (a, b, c, found) == (start, start + pages * 4096, x >> 48, level)


TCR_52_BITS = hex(1 << 59 | 12 << 16 | 12)
"""DS, T1SZ, T0SZ."""


@pytest.mark.parametrize(
    ("base", "num", "start", "pages"),
    [
        (0x1000, 0, 0x1000_0000, 2),
        (0x4_0000_1000, 31, 0x0004_0000_1000_0000, 64),
        (0x1F_FFFF_F000, 0, 0xFFFF_FFFF_F000_0000, 2),
    ],
)
def test_a_range_with_52_bits_counts_64_kib(
    decode: Decode, base: int, num: int, start: int, pages: int
) -> None:
    x = 7 << 48 | 1 << 46 | num << 39 | base
    (answer,) = decode("arm64", [f"208208d5 x0={x:#x}"], TCR_52_BITS)  # rvae1is, x0
    ((_, _, a, b, c, _, _, _),) = answer.events
    assert (a, b, c) == (start, start + pages * 4096, x >> 48)


def test_root_with_52_bits(decode: Decode) -> None:
    """Aligned to 128 bytes; bits 5:2 are the address's 51:48, bit 0 is CnP."""
    line = "002018d5 x0=0x5000040000d81"  # msr ttbr0_el1, x0
    wide, narrow = (decode("arm64", [line], *mode)[0] for mode in ((TCR_52_BITS,), ()))
    assert [event[3] for event in wide.events] == [0x40000D80]
    assert [event[3] for event in narrow.events] == [0x40000000]
    (high,) = decode("arm64", ["002018d5 x0=0x40000dbd"], TCR_52_BITS)
    assert high.events[0][3] == 0xF_0000_4000_0D80


def test_barriers(decode: Decode) -> None:
    words = {0xD5033B9F: 0xB, 0xD5033A9F: 0xA, 0xD503379F: 0x7, 0xD5033F9F: 0xF, 0xD503363F: 0x7,
             0xD5033E3F: 0xF, 0xD503309F: 0x0}  # fmt: skip
    lines = [f"{word.to_bytes(4, 'little').hex()} x0=0" for word in words]
    answers = decode("arm64", lines)
    assert [answer.events[0][2] for answer in answers] == list(words.values())


@pytest.mark.parametrize(
    ("arch", "line"),
    [
        ("x86_64", "480f07 rcx=0x42 rax=7"),
        ("x86_64", "48cf rsp=0x1000 rax=7"),
        ("arm64", "e0039fd6 x0=7 ELR_EL1=0x42"),
    ],
)
def test_returns_to_user(decode: Decode, arch: str, line: str) -> None:
    (answer,) = decode(arch, [line])
    assert [event[:4] for event in answer.events] == [(Kind.RET_USER, 0, 7, 0x42)]
    assert answer.epochs == 1


def test_eret_to_the_kernel_is_none(decode: Decode) -> None:
    (answer,) = decode("arm64", ["e0039fd6 SPSR_EL1=5"])
    assert not answer.events
