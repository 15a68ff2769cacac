"""Which libraries a program needs, on programs and libraries that are built here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from shootdown.errors import InfraError
from shootdown.loads.elf import is_elf, linkage
from shootdown.loads.libraries import closure

COMPILERS = {"x86_64-linux-gnu-gcc": 62, "aarch64-linux-gnu-gcc": 183}


class Shelf:
    """Packages as directories: what is in them, and what they depend on."""

    def __init__(self, root: Path, depends: dict[str, list[str]]) -> None:
        self.root = root
        self.known = depends
        self.opened: list[str] = []

    def depends(self, package: str) -> list[str]:
        return self.known.get(package, [])

    def files(self, package: str) -> dict[str, Path] | None:
        directory = self.root / package
        if not directory.is_dir():
            return None
        if package not in self.opened:
            self.opened.append(package)
        return {path.name: path for path in directory.iterdir()}


def build(out: Path, *words: str | Path, compiler: str = "x86_64-linux-gnu-gcc") -> Path:
    """Link nothing but what ``words`` say into ``out``."""
    out.parent.mkdir(exist_ok=True)
    source = out.with_suffix(".c")
    source.write_text("void _start(void) {}\n")
    line = [compiler, "-nostdlib", "-o", out, source, "-Wl,--no-as-needed", *words]
    subprocess.run(line, check=True)
    source.unlink()
    return out


def library(path: Path, *needs: Path) -> Path:
    return build(path, "-shared", "-fPIC", f"-Wl,-soname={path.name}", *needs)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """prog needs libb.so.2, which needs liba.so.1; libc1 and an alternative hold nothing of it."""
    a = library(tmp_path / "liba1" / "liba.so.1")
    b = library(tmp_path / "libb2t64" / "libb.so.2", a)
    library(tmp_path / "libz9" / "libz.so.9")
    build(tmp_path / "prog" / "prog", "-pie", b, f"-Wl,-rpath-link={a.parent}")
    depends = {"prog": ["libz9", "none | other", "libb2t64"], "libb2t64": ["libc1", "liba1"]}
    return Shelf(tmp_path, depends)


def test_every_library_once_and_nothing_else(shelf: Shelf) -> None:
    found = closure(shelf.root / "prog" / "prog", "prog", shelf)
    assert {name: path.parent.name for name, path in found.items()} == {
        "libb.so.2": "libb2t64",
        "liba.so.1": "liba1",
    }
    assert "libz9" not in shelf.opened  # a dependency that no file needs is not fetched


def test_libraries_that_need_each_other(tmp_path: Path) -> None:
    a = library(tmp_path / "p" / "liba.so.1")
    b = library(tmp_path / "p" / "libb.so.1", a)
    library(tmp_path / "p" / "liba.so.1", b)
    program = build(tmp_path / "p" / "prog", "-pie", b, f"-Wl,-rpath-link={a.parent}")
    assert set(closure(program, "p", Shelf(tmp_path, {}))) == {"liba.so.1", "libb.so.1"}


def test_a_library_that_nobody_has_is_named(shelf: Shelf) -> None:
    (shelf.root / "liba1" / "liba.so.1").unlink()
    with pytest.raises(InfraError, match=r"libb2t64 needs liba\.so\.1"):
        closure(shelf.root / "prog" / "prog", "prog", shelf)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_linkage_is_what_readelf_says(tmp_path: Path, compiler: str) -> None:
    source = tmp_path / "a.c"
    source.write_text("#include <math.h>\nint main(int n, char **v) { return (int)cos(n); }\n")
    program = tmp_path / "a"
    subprocess.run([compiler, "-o", program, source, "-Wl,--no-as-needed", "-lm"], check=True)
    told = subprocess.run(
        ["readelf", "--wide", "--dynamic", "--program-headers", program],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    linked = linkage(program)
    assert linked.machine == COMPILERS[compiler]
    assert list(linked.needed) == re.findall(r"Shared library: \[(.*)\]", told)
    assert linked.interpreter == re.findall(r"interpreter: (.*)\]", told)[0]


def test_static_program_needs_nothing(tmp_path: Path) -> None:
    linked = linkage(build(tmp_path / "p" / "static", "-static"))
    assert (linked.interpreter, linked.needed) == ("", ())


def test_what_is_no_program(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\n" * 20)
    assert not is_elf(text)
    for damaged in (text, tmp_path / "missing"):
        with pytest.raises(InfraError, match=re.escape(str(damaged))):
            linkage(damaged)


def test_no_truncation_is_a_traceback(shelf: Shelf, tmp_path: Path) -> None:
    whole = (shelf.root / "libb2t64" / "libb.so.2").read_bytes()
    cut = tmp_path / "cut"
    for size in range(0, len(whole), 97):
        cut.write_bytes(whole[:size])
        try:
            linkage(cut)
        except InfraError as error:
            assert str(cut) in str(error)
