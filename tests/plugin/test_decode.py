"""The plugin's decoders against capstone: kernels' text, random bytes, and what is rare in both."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import pytest

from shootdown.kernel import scan
from shootdown.kernel.facts import KernelFacts
from tests.plugin import oracle
from tests.plugin.conftest import Decode
from tests.plugin.oracle import EXEC, MARK, PLAIN, RMW, STACK, Answer

KERNEL_VA: Final = {"x86_64": 0xFFFF_FFFF_8100_0000, "arm64": 0xFFFF_8000_8000_0000}
WINDOW: Final = 4096
"""Bytes of text that are looked at in one place."""


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
