"""Symbols and types from every source, each when those before it are missing; and wrong ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shootdown import arch
from shootdown.errors import InfraError
from shootdown.kernel import asked, facts
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.image import load
from shootdown.kernel.symbols import read_map
from tests.kernel import forms
from tests.kernel.forms import run, stock

COMPILERS = {
    "x86_64-gcc": ["gcc", "-gdwarf-5"],
    "x86_64-clang": ["clang", "-gdwarf-5"],
    "arm64-gcc": ["aarch64-linux-gnu-gcc", "-gdwarf-4"],
    "arm64-clang": ["clang", "--target=aarch64-linux-gnu", "-g"],
}


@pytest.fixture(scope="module")
def kernels() -> dict[str, KernelFacts]:
    return {name: stock(name) for name in arch.names()}


@pytest.fixture(scope="module")
def x86(kernels: dict[str, KernelFacts]) -> KernelFacts:
    return kernels["x86_64"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the tests unpack goes to a place of their own."""
    monkeypatch.setenv("SHOOTDOWN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def content(known: KernelFacts) -> bytes:
    """The kernel unpacked: an x86-64 ELF file, an arm64 Image."""
    data = known.path.read_bytes()
    return forms.inside(data) if known.arch == "x86_64" else data


def write(known: KernelFacts, place: Path, plain: bytes) -> Path:
    """The kernel with ``plain`` inside, as it boots."""
    if known.arch == "x86_64":
        path = place / "bzImage"
        path.write_bytes(forms.repacked(known.path.read_bytes(), "lz4", plain))
    else:
        path = place / "Image"
        path.write_bytes(plain)
    return path


def btf_of(known: KernelFacts) -> tuple[int, int]:
    """VA and bytes of the kernel's BTF."""
    start = known.va("__start_BTF")
    return start, known.va("__stop_BTF") - start


def no_btf(known: KernelFacts) -> bytes:
    return forms.without(content(known), known.image, *btf_of(known))


def no_kallsyms(known: KernelFacts) -> bytes:
    start, end = known.symbols.extent("kallsyms_token_table")
    return forms.without(content(known), known.image, start, end - start)


@pytest.mark.parametrize("which", COMPILERS)
def test_types_from_dwarf(
    kernels: dict[str, KernelFacts], tmp_path: Path, cache: Path, which: str
) -> None:
    known = kernels[which.partition("-")[0]]
    source = forms.declarations(known.members, known.constants)
    (tmp_path / "types.c").write_text(source)
    run(tmp_path, *COMPILERS[which], "-fno-pic", "-c", "types.c")
    image = write(known, tmp_path, no_btf(known))
    forms.vmlinux(tmp_path / "vmlinux", load(image), known.symbols, tmp_path / "types.o")
    found = facts.load(image, cache)
    assert found.types_from == f"DWARF, {tmp_path}/vmlinux, section .debug_info"
    assert found.members == known.members
    assert found.constants == known.constants
    assert found.missing == known.missing
    for enum in {path.partition(".")[0] for path in found.constants} - {""}:
        values = {f"{enum}.{name}": value for name, value in found.types.enum(enum).items()}
        assert values.items() <= found.constants.items()
    with pytest.raises(InfraError, match=r"has no 'task_struct\.nothing'"):
        found.member("task_struct.nothing")
    with pytest.raises(InfraError, match="no enum 'nothing'"):
        found.types.enum("nothing")
    with pytest.raises(InfraError, match="no name of a structure's member"):
        found.member("x.y; shell touch broken")


def test_dwarf_without_gdb(
    x86: KernelFacts, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "types.c").write_text("int nothing;")
    run(tmp_path, "gcc", "-g", "-c", "types.c")
    image = write(x86, tmp_path, no_btf(x86))
    forms.vmlinux(tmp_path / "vmlinux", load(image), x86.symbols, tmp_path / "types.o")
    (tmp_path / "bin").mkdir()
    lz4 = next(p for p in os.environ["PATH"].split(":") if (Path(p) / "lz4").exists())
    (tmp_path / "bin/lz4").symlink_to(Path(lz4) / "lz4")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(InfraError, match="install gdb-multiarch"):
        facts.load(image, cache)


def test_no_types_at_all(x86: KernelFacts, tmp_path: Path, cache: Path) -> None:
    image = write(x86, tmp_path, no_btf(x86))
    with pytest.raises(InfraError, match=r"carries no BTF.*put its vmlinux with DWARF beside it"):
        facts.load(image, cache)


def test_symbols_from_system_map(x86: KernelFacts, tmp_path: Path, cache: Path) -> None:
    image = write(x86, tmp_path, no_kallsyms(x86))
    with pytest.raises(InfraError, match=r"no symbol table.*its System\.map beside it"):
        facts.load(image, cache)
    text = forms.system_map(x86.symbols)
    for more in ("", "ffffffffc0000000 t function_of_a_module\t[module]\n"):
        (tmp_path / "System.map").write_text(text + more)
        found = facts.load(image, cache)
        assert found.symbols_from.startswith(f"System.map, {tmp_path}/System.map")
        assert dict(found.symbols) == dict(x86.symbols)
        assert found.members == x86.members


def test_symbols_that_a_guest_was_asked_for(x86: KernelFacts, tmp_path: Path, cache: Path) -> None:
    image = write(x86, tmp_path, no_kallsyms(x86))
    kept = asked.keep(image, cache, forms.system_map(x86.symbols))
    found = facts.load(image, cache)
    assert found.symbols_from == f"/proc/kallsyms, {kept}, {len(x86.symbols.names)} symbols"
    assert dict(found.symbols) == dict(x86.symbols)
    (tmp_path / "other").write_bytes(image.read_bytes() + b"\0")
    with pytest.raises(InfraError, match="no symbol table"):
        facts.load(tmp_path / "other", cache)
    kept.write_text(moved(x86))
    with pytest.raises(InfraError, match="disagree with the text"):
        facts.load(image, cache)


def test_what_a_system_map_may_be() -> None:
    assert read_map(b"", "it") is None
    assert read_map(b"ffffffffffffffff B The real System.map is elsewhere\n", "it") is None
    assert read_map(b"\xff\xfe junk \0" * 1000, "it") is None
    found = read_map(b"0000000000000010 A one\nffffffff81000000 T $x\n0000000000000020 t two", "it")
    assert found is not None and dict(found) == {"one": 0x10, "two": 0x20}
    with pytest.raises(InfraError, match="hides the addresses"):
        read_map(b"0000000000000000 T _text\n0000000000000000 T _stext\n", "/proc/kallsyms")


def moved(known: KernelFacts) -> str:
    """What a guest's /proc/kallsyms says that KASLR has moved."""
    text = forms.system_map(known.symbols)
    return text.replace("ffffffff8", "ffffffff9")


def older(_: KernelFacts) -> str:
    return forms.system_map(stock("x86_64", "debian:6.1").symbols)


@pytest.mark.parametrize("table", [moved, older])
def test_system_map_of_another_kernel(
    x86: KernelFacts, tmp_path: Path, cache: Path, table: Callable[[KernelFacts], str]
) -> None:
    (tmp_path / "bzImage").write_bytes(x86.path.read_bytes())
    (tmp_path / "System.map").write_text(table(x86))
    with pytest.raises(InfraError, match=r"System\.map disagree with the text of .*bzImage"):
        facts.load(tmp_path / "bzImage", cache)


def test_vmlinux_of_another_kernel(
    x86: KernelFacts, kernels: dict[str, KernelFacts], tmp_path: Path, cache: Path
) -> None:
    plain = forms.inside(x86.path.read_bytes())
    build_id = bytes.fromhex(x86.build_id)
    banner = x86.image.banner.encode()
    others = {
        "release": forms.inside(stock("x86_64", "debian:6.1").path.read_bytes()),
        "architecture": kernels["arm64"].path.read_bytes(),
        "build-id": plain.replace(build_id, bytes(reversed(build_id))),
        "banner": plain.replace(banner, banner.replace(b"gcc", b"GCC")),
    }
    (tmp_path / "bzImage").write_bytes(x86.path.read_bytes())
    for what, data in others.items():
        (tmp_path / "vmlinux").write_bytes(data)
        with pytest.raises(InfraError, match=rf"are of different kernels \({what} "):
            facts.load(tmp_path / "bzImage", cache)


def test_elf_symbols_of_another_build(x86: KernelFacts, tmp_path: Path, cache: Path) -> None:
    """A vmlinux with the right name, but symbols that the text disagrees with."""
    (tmp_path / "bzImage").write_bytes(x86.path.read_bytes())
    shifted = x86.symbols.vas + np.uint64(64)
    wrong = type(x86.symbols)(x86.symbols.names, shifted)
    forms.vmlinux(tmp_path / "vmlinux", x86.image, wrong)
    with pytest.raises(InfraError, match=r"symbols of .*vmlinux disagree with the text"):
        facts.load(tmp_path / "bzImage", cache)


@pytest.mark.parametrize("name", arch.names())
def test_btf_of_another_kernel(
    kernels: dict[str, KernelFacts], tmp_path: Path, cache: Path, name: str
) -> None:
    known, other = kernels[name], stock(name, "debian:6.1")
    start, size = btf_of(known)
    if "__start_BTF" in other.symbols:
        first, length = btf_of(other)
        strange = other.image.read(first, length)
    else:  # arm64's 6.1 lists functions only
        segment = next(s for s in other.image.segments if b"\x9f\xeb\x01\0\x18" in s.data)
        strange = segment.data[segment.data.find(b"\x9f\xeb\x01\0\x18") :][:size]
    plain, own = content(known), known.image.read(start, size)
    assert len(strange) <= size and plain.count(own) == 1
    image = write(known, tmp_path, plain.replace(own, strange.ljust(size, b"\0")))
    with pytest.raises(InfraError, match=r"The types of .* are of another kernel: \w+\.\w+ is not"):
        facts.load(image, cache)
