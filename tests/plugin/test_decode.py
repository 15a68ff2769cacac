"""The plugin's decoders against capstone: kernels' text, random bytes, and what is rare in both."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from shootdown.kernel import scan
from shootdown.kernel.facts import KernelFacts
from shootdown.trace.schema import Flag, FlushOp, Kind
from tests.plugin import oracle
from tests.plugin.oracle import EXEC, MARK, NO_REG, PLAIN, RIP, RMW, STACK, Answer

KERNEL_VA: Final = {"x86_64": 0xFFFF_FFFF_8100_0000, "arm64": 0xFFFF_8000_8000_0000}
WINDOW: Final = 4096
"""Bytes of text that are looked at in one place."""
Decode = Callable[..., list[Answer]]


@pytest.fixture
def decode(decoder: Path) -> Decode:
    """Lines for decode.c, and its answers."""

    def run(arch: str, lines: Iterable[str], *mode: str) -> list[Answer]:
        text = "".join(f"{line}\n" for line in lines)
        words = [str(decoder), arch, *mode]
        out = subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout
        return [Answer.parse(line) for line in out.splitlines()]

    return run


def objections(decode: Decode, arch: str, code: dict[bytes, int]) -> list[str]:
    """What is wrong with the answers about instructions, each with a VA."""
    engine, wrong = oracle.engine(arch), []
    for (data, va), answer in zip(
        code.items(), decode(arch, (data.hex() for data in code)), strict=True
    ):
        for insn in engine.disasm(data, va, 1):
            said = [oracle.objection(arch, insn, answer)]
            if has_address(arch, insn, answer):
                said.append(oracle.operand(insn, answer))
            wrong += [f"{data.hex()} {insn.mnemonic} {insn.op_str}: {s}" for s in said if s]
    return wrong


def has_address(arch: str, insn: Any, answer: Answer) -> bool:
    """Whether there is one explicit memory operand to compare, with 64-bit registers."""
    one = arch == "x86_64" and oracle.memory_operands(insn) == 1
    return one and bool(answer.base or answer.index) and 0x67 not in insn.prefix


def instructions(arch: str, data: bytes, va: int) -> dict[bytes, int]:
    """Distinct instructions, and where each was seen first."""
    found: dict[bytes, int] = {}
    for step in scan.decode(arch, data, va):
        if step.mnemonic != ".byte":
            found.setdefault(step.data, step.va)
    return found


def test_kernel_text_in_places(learned: KernelFacts, decode: Decode) -> None:
    start, text = scan.text(learned, learned.image)
    names = random.Random(1).sample(sorted(learned.symbols), 400)
    inside = [
        va for name in names if start <= (va := learned.va(name)) < start + len(text) - WINDOW
    ]
    code: dict[bytes, int] = {}
    for va in inside[:64]:
        code |= instructions(learned.arch, text[va - start : va - start + WINDOW], va)
    assert len(code) > 10_000
    assert not objections(decode, learned.arch, code)


@pytest.mark.slow
def test_kernel_text(learned: KernelFacts, decode: Decode) -> None:
    start, text = scan.text(learned, learned.image)
    code = instructions(learned.arch, text, start)
    assert len(code) > 300_000
    assert not objections(decode, learned.arch, code)


def random_x86(rng: random.Random) -> bytes:
    prefix = rng.choice([b"", b"", b"\xf0", b"\x66", b"\xf2", b"\xf3", b"\x65", b"\xf0\x66"])
    rex = rng.choice([b"", b"\x48", b"\x41", b"\x4c", b"\x43", b"\x4d"])
    late = rng.choice([b""] * 9 + [b"\x65", b"\xf0"])
    escape = rng.choice([b"", b"\x0f", b"\x0f\x38", b"\xc5", b"\xc4", b"\x62"])
    return prefix + rex + late + escape + rng.randbytes(12)


def random_arm(rng: random.Random) -> bytes:
    word = rng.getrandbits(32)
    if rng.random() < 0.7:
        word = word & ~0x0A000000 | 0x08000000  # loads and stores
    elif rng.random() < 0.5:
        word = word & 0x001FFFFF | 0xD5000000  # system
    return word.to_bytes(4, "little")


@pytest.mark.parametrize(("arch", "make"), [("x86_64", random_x86), ("arm64", random_arm)])
def test_random_instructions(
    decode: Decode, arch: str, make: Callable[[random.Random], bytes]
) -> None:
    rng, engine = random.Random(1), oracle.engine(arch)
    code: dict[bytes, int] = {}
    while len(code) < 30_000:
        for insn in engine.disasm(make(rng), KERNEL_VA[arch], 1):
            code[bytes(insn.bytes)] = KERNEL_VA[arch]
    assert not objections(decode, arch, code)


RARE: Final = {
    "x86_64": [
        ("8f00", PLAIN),  # pop (%rax)
        ("8f0424", STACK),  # pop (%rsp)
        ("c8100000", STACK),  # enter
        ("0fa0", STACK),  # push %fs
        ("ff30", STACK),  # push (%rax)
        ("ff18", PLAIN),  # lcall *(%rax)
        ("f3aa", PLAIN),  # rep stosb
        ("f348a5", PLAIN),  # rep movsq
        ("a30000000000000000", PLAIN),  # movabs %eax,moffs
        ("0fc308", PLAIN),  # movnti
        ("0f38f108", PLAIN),  # movbe
        ("660f38f808", PLAIN),  # movdir64b
        ("0f38f908", PLAIN),  # movdiri
        ("0fae00", PLAIN),  # fxsave
        ("480fc728", PLAIN),  # xsaves
        ("0fc708", PLAIN),  # cmpxchg8b
        ("f0480fc708", RMW),  # lock cmpxchg16b
        ("c5fe7f00", PLAIN),  # vmovdqu %ymm0,(%rax)
        ("62f17c481100", PLAIN),  # vmovups %zmm0,(%rax)
        ("660f3a140001", PLAIN),  # pextrb
        ("dd18", PLAIN),  # fstpl (%rax)
        ("0f0100", PLAIN),  # sgdt
        ("0f01f8", PLAIN),  # swapgs
        ("0f01fe", EXEC),  # invlpgb
        ("0f01ff", EXEC),  # tlbsync
        ("480f07", EXEC),  # sysretq
        ("0f22c0", PLAIN),  # mov %rax,%cr0
        ("0f22e0", EXEC),  # mov %rax,%cr4
        ("440f22c0", PLAIN),  # mov %rax,%cr8
    ],
    "arm64": [
        ("0004c0da", PLAIN),  # no such instruction
        ("20742e48", RMW),  # casp
        ("20fc9fc8", PLAIN),  # stlr
        ("20fcdfc8", PLAIN),  # ldar
        ("200000d9", PLAIN),  # stlur
        ("20c0bff8", PLAIN),  # ldapr
        ("2000a2f8", RMW),  # ldadda
        ("e00322f8", STACK),  # ldadd on the stack
        ("200420f9", PLAIN),  # str
        ("200400a9", PLAIN),  # stp
        ("e07bbfa9", STACK),  # stp x0, x30, [sp, #-16]!
        ("200000ad", PLAIN),  # stp q0, q0
        ("2070004c", PLAIN),  # st1
        ("200820d9", PLAIN),  # stg
        ("20742bd5", PLAIN),  # dc zva
        ("20802219", RMW),  # swpp
        ("20102219", RMW),  # ldclrp
        ("20302219", RMW),  # ldsetp
        ("20902238", RMW),  # rcwclr
        ("0021b8d5", PLAIN),  # not ttbr
        ("002018d5", EXEC),  # msr ttbr0_el1
        ("202018d5", EXEC),  # msr ttbr1_el1
        ("3f3e03d5", EXEC),  # dsb sy nxs
        ("ff0b9fd6", EXEC),  # eretaa
        ("ff0f9fd6", EXEC),  # eretab
    ],
}


@pytest.mark.parametrize("arch", RARE)
def test_rare_instructions(decode: Decode, arch: str) -> None:
    cases = RARE[arch]
    kinds = [answer.kind for answer in decode(arch, (data for data, _ in cases))]
    assert dict(zip((data for data, _ in cases), kinds, strict=True)) == dict(cases)


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


def test_user_code_can_only_make_marks(decode: Decode) -> None:
    marks = {"x86_64": "0f1f840007004453", "arm64": f"{0xD280001F | 0x5D07 << 5:08x}"}
    marks["arm64"] = bytes.fromhex(marks["arm64"])[::-1].hex()
    for arch, mark in marks.items():
        (answer,) = decode(arch, [mark], "user")
        assert (answer.kind, answer.mark) == (MARK, 7)
        (answer,) = decode(arch, [mark])
        assert answer.kind == PLAIN
        lines = [f"{data} rax=1" for data, _ in RARE[arch]]
        assert {answer.kind for answer in decode(arch, lines, "user")} == {PLAIN}
    near = ["0f1f840007004454", "0f1f440007004453", "660f1f840007004453", "0f1f8400070044"]
    assert {answer.kind for answer in decode("x86_64", near, "user")} == {PLAIN}
