"""Operands of real instructions."""

from __future__ import annotations

import pytest

from shootdown.race import operand

CASES = [
    ("x86_64", "488b07", 3, {"rdi": 0x7000}, 0x7000),  # mov rax, [rdi]
    ("x86_64", "488b440df8", 5, {"rbp": 0x100, "rcx": 0x20}, 0x118),  # mov rax, [rbp+rcx-8]
    ("x86_64", "4889543308", 5, {"rbx": 0x100, "rsi": 0x20}, 0x128),  # mov [rbx+rsi+8], rdx
    ("x86_64", "498904d4", 4, {"r12": 0x1000, "rdx": 3}, 0x1018),  # mov [r12+rdx*8], rax
    ("x86_64", "488707", 3, {"rdi": 0x7000}, 0x7000),  # xchg [rdi], rax
    ("x86_64", "488b0510000000", 7, {"rip": 0x1000}, 0x1017),  # mov rax, [rip+0x10]
    ("arm64", "020040f9", 4, {"x0": 0x7000}, 0x7000),  # ldr x2, [x0]
    ("arm64", "620600f9", 4, {"x19": 0x7000}, 0x7008),  # str x2, [x19, #8]
    ("arm64", "627821f8", 4, {"x3": 0x1000, "x1": 3}, 0x1018),  # str x2, [x3, x1, lsl #3]
    ("arm64", "6280e1f8", 4, {"x3": 0x1000}, 0x1000),  # swpal x1, x2, [x3]
]


@pytest.mark.parametrize(("arch", "data", "size", "registers", "va"), CASES)
def test_address(arch: str, data: str, size: int, registers: dict[str, int], va: int) -> None:
    found = operand.decode(arch, bytes.fromhex(data) + bytes(8), 0x1000)
    assert found is not None
    assert found.size == size
    assert {name for name, _ in found.registers} == set(registers)
    assert found.va(registers) == va


def test_no_operand() -> None:
    assert operand.decode("x86_64", bytes.fromhex("4889d8"), 0) is None  # mov rax, rbx
    assert operand.decode("arm64", bytes.fromhex("c0035fd6"), 0) is None  # ret
    assert operand.decode("arm64", b"\0\0", 0) is None


def test_halves_of_registers_and_segments() -> None:
    assert (
        operand.decode("arm64", bytes.fromhex("025861b8"), 0) is None
    )  # ldr w2, [x0, w1, uxtw #2]
    assert operand.decode("x86_64", bytes.fromhex("65488b07"), 0) is None  # mov rax, gs:[rdi]
