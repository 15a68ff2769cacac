"""BTF against the compiler's own offsetof, and real kernels."""

from __future__ import annotations

import struct
import subprocess
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shootdown.errors import InfraError
from shootdown.kernel.btf import Btf, Member
from shootdown.kernel.facts import read_btf
from shootdown.kernel.image import KernelImage
from shootdown.kernel.symbols import SymbolTable

SOURCE = """
#include <stddef.h>
#include <stdio.h>
typedef struct { long counter; } counter_t;
typedef const volatile counter_t odd_t;
enum colour { RED, GREEN = 7 };
struct inner { char pad[3]; union { int number; struct { short low, high; }; }; };
struct outer {
    char first;
    struct { odd_t count; union { void *pointer; char bytes[24]; }; };
    struct inner array[4], last;
    enum colour paint;
    unsigned flag : 1, wide : 7;
    struct outer *next;
    double real;
};
struct outer outer;
#define SAY(path) printf("outer.%s %zu %zu\\n", #path, offsetof(struct outer, path), \\
                         sizeof(((struct outer *)0)->path))
int main(void)
{
    SAY(first); SAY(count); SAY(count.counter); SAY(pointer); SAY(bytes); SAY(array);
    SAY(last.number); SAY(last.high); SAY(last.low); SAY(paint); SAY(next); SAY(real);
    return 0;
}
"""
PATHS = 12


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """The BTF of ``SOURCE`` as gcc writes it, and what the program says."""
    here = tmp_path_factory.mktemp("btf")
    (here / "a.c").write_text(SOURCE)
    subprocess.run(["gcc", "-gbtf", "-o", "a", "a.c"], cwd=here, check=True)
    section = ["--only-section=.BTF", "--set-section-flags", ".BTF=alloc"]
    subprocess.run(["objcopy", "-O", "binary", *section, "a", "a.btf"], cwd=here, check=True)
    said = subprocess.run([here / "a"], capture_output=True, text=True, check=True).stdout
    return (here / "a.btf").read_bytes(), said


def test_offsets_are_the_compilers(compiled: tuple[bytes, str]) -> None:
    btf = Btf(compiled[0])
    lines = [line.split() for line in compiled[1].splitlines()]
    assert len(lines) == PATHS
    for path, offset, size in lines:
        assert btf.member(path) == Member(int(offset), int(size)), path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("outer.flag", "'flag' is a bitfield"),
        ("outer.nothing", "no member 'nothing'"),
        ("nothing.first", "no structure 'nothing'"),
        ("outer.first.inside", "no member 'inside'"),
        ("outer.next.first", "no member 'first'"),  # a pointer leads out of the structure
    ],
)
def test_what_has_no_offset(compiled: tuple[bytes, str], path: str, why: str) -> None:
    btf = Btf(compiled[0])
    assert not btf.has(path)
    with pytest.raises(InfraError, match=why):
        btf.member(path)


def test_enum_and_size(compiled: tuple[bytes, str]) -> None:
    btf = Btf(compiled[0])
    assert btf.enum("colour") == {"RED": 0, "GREEN": 7}
    assert btf.size("inner") == 8
    with pytest.raises(InfraError, match="no enum 'inner'"):
        btf.enum("inner")


def blob(types: bytes, strings: bytes) -> bytes:
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings


def test_signed_and_wide_enums() -> None:
    narrow = struct.pack("<III", 1, 1 << 31 | 6 << 24 | 2, 4) + struct.pack("<IiIi", 5, -3, 7, 9)
    values = struct.pack("<IIIIII", 5, 5, 1, 7, 0xFFFFFFFE, 0xFFFFFFFF)
    wide = struct.pack("<III", 3, 1 << 31 | 19 << 24 | 2, 8) + values
    btf = Btf(blob(narrow + wide, b"\0n\0w\0a\0b\0"))
    assert btf.enum("n") == {"a": -3, "b": 9}
    assert btf.enum("w") == {"a": 5 | 1 << 32, "b": -2}


def test_typedefs_in_a_circle() -> None:
    structure = struct.pack("<IIIIII", 1, 4 << 24 | 1, 8, 3, 2, 0)
    circle = struct.pack("<III", 0, 8 << 24, 2)
    with pytest.raises(InfraError, match="damaged"):
        Btf(blob(structure + circle, b"\0e\0a\0")).member("e.a.b")


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", b"MZ" * 20, blob(b"\0" * 12, b"\0")])
def test_no_btf(data: bytes) -> None:
    with pytest.raises(InfraError, match="BTF"):
        Btf(data)


def test_truncated(compiled: tuple[bytes, str]) -> None:
    with pytest.raises(InfraError, match="truncated"):
        Btf(compiled[0][:-40])


@settings(deadline=None)
@given(data=st.data())
def test_damage_raises_nothing_else(compiled: tuple[bytes, str], data: st.DataObject) -> None:
    damaged = bytearray(compiled[0])
    place = data.draw(st.integers(0, len(damaged) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=32))
    damaged[place : place + len(junk)] = junk
    for path in ("outer.last.high", "outer.count.counter", "colour.RED"):
        with suppress(InfraError):
            Btf(bytes(damaged)).member(path)
    with suppress(InfraError):
        Btf(bytes(damaged)).enum("colour")


def test_real_kernels(image: KernelImage, symbols: SymbolTable) -> None:
    btf = read_btf(image, symbols)
    lock = btf.member("mm_struct.mmap_lock")
    count = btf.member("mm_struct.mmap_lock.count.counter")
    assert (count.offset, count.size) == (lock.offset, 8)
    assert btf.member("task_struct.comm").size == 16
    assert btf.member("task_struct.tgid").offset == btf.member("task_struct.pid").offset + 4
    assert btf.member("task_struct.thread").size > 100
    assert btf.enum("pid_type")["PIDTYPE_TGID"] == 1


def test_real_kernel_without_symbols_finds_the_same(
    image: KernelImage, symbols: SymbolTable
) -> None:
    found = read_btf(image, SymbolTable([], np.array([], dtype=np.uint64)))
    assert found.member("mm_struct.pgd") == read_btf(image, symbols).member("mm_struct.pgd")
