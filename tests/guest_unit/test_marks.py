"""The mark instruction: numbers as in the schema, bytes as in docs/architecture.md."""

import re
import subprocess
from pathlib import Path

import capstone
import pytest

from shootdown.trace import schema
from tests.guest_unit.conftest import GUEST

PROBE = """
#include "marks.h"
void all(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	mark_thread("observer0");
	mark_begin(mark_pack("sixteen letters."), c);
	mark_end(mark_pack("x"), c);
	mark_range(a, (const void *)b, c);
	mark_unrange(a);
	mark_iter(a);
	mark_note(a, b, c, d);
}
"""


def test_numbers_are_those_of_the_schema():
    text = (GUEST / "marks.h").read_text()
    numbers = {name: int(value) for name, value in re.findall(r"MARK_(\w+) = (\d+)", text)}
    assert numbers == {mark.name: mark.value for mark in schema.Mark}


COMPILERS = {"x86_64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}


def compiled(arch: str, tmp_path: Path, text: str, *options: str) -> bytes:
    """The text section of a C source."""
    compiler = COMPILERS[arch]
    source, module, code = (tmp_path / f"probe.{kind}" for kind in ("c", "o", "bin"))
    source.write_text(text)
    include = (f"-I{GUEST}", f"-I{GUEST / 'arch' / arch}")
    command = [compiler, "-std=gnu11", "-D_GNU_SOURCE", *options, *include]
    subprocess.run([*command, "-c", source, "-o", module], check=True)
    objcopy = compiler.replace("gcc", "objcopy")
    subprocess.run([objcopy, "-O", "binary", "-j", ".text", module, code], check=True)
    return code.read_bytes()


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_bytes_on_x86_64(tmp_path: Path, level: str):
    code = compiled("x86_64", tmp_path, PROBE, level)
    found = re.findall(rb"\x0f\x1f\x84\x00(.)\x00DS", code, re.DOTALL)
    assert {each[0] for each in found} == set(schema.Mark)
    for instruction in capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64).disasm(code, 0):
        if b"DS" in bytes(instruction.bytes):
            assert instruction.size == 8
            assert instruction.mnemonic == "nop"
            assert "rax + rax + 0x534400" in instruction.op_str


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_words_on_arm64(tmp_path: Path, level: str):
    code = compiled("arm64", tmp_path, PROBE, level)
    words = [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]
    marks = [
        word >> 5 & 0xFF
        for word in words
        if word & 0xFFE0_001F == 0xD280_001F and word >> 13 & 0xFF == 0x5D
    ]
    assert set(marks) == set(schema.Mark)
    for word in words:
        if word & 0xFFE0_001F == 0xD280_001F:
            expected = 0xD280_0000 | (0x5D00 | word >> 5 & 0xFF) << 5 | 31
            assert word == expected


NOTE = """
#include "marks.h"
void note(uint64_t a, uint64_t b, uint64_t c, uint64_t d) { mark_note(a, b, c, d); }
"""


def test_arguments_are_in_the_first_four_registers_of_a_call(tmp_path: Path):
    """A function that marks its own arguments is the mark and a return: nothing moves."""
    mark = b"\x0f\x1f\x84\x00\x07\x00DS"
    assert compiled("x86_64", tmp_path, NOTE, "-O2", "-fcf-protection=none") == mark + b"\xc3"
    words = (0xD280_0000 | 0x5D07 << 5 | 31, 0xD65F_03C0)
    code = b"".join(word.to_bytes(4, "little") for word in words)
    assert compiled("arm64", tmp_path, NOTE, "-O2") == code
