"""What a build leaves, and what it says where it cannot be done."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from shootdown.compiled import __main__ as program
from shootdown.compiled import build, place
from shootdown.errors import ExitCode, InfraError
from tests.compiled.conftest import Package, need


def test_the_source_as_it_is_now_is_compiled():
    need(place.built() is not None, "the source as it is now is not compiled: run `make compiled`")


def test_what_is_there_is_not_built_again(package: Package):
    before = package.built
    assert len(before) == 1
    done = package.build(PATH="/nowhere")
    assert (done.returncode, done.stderr) == (0, "")
    assert package.built == before


def test_a_build_that_fails_leaves_nothing(package: Package, tmp_path: Path):
    before = package.built
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\necho 'no room' >&2\nexit 1\n")
    compiler.chmod(0o755)
    entries = package.package / "model/entries.py"
    entries.write_text(entries.read_text() + "\n# edited\n")
    done = package.build(PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == ExitCode.INFRA
    assert "gave up on shootdown.model." in done.stderr and "no room" in done.stderr
    assert package.built == before


def test_a_source_that_changes_meanwhile_is_not_taken(package: Package, tmp_path: Path):
    before = package.built
    entries = package.package / "model/entries.py"
    entries.write_text(entries.read_text() + "\n# edited\n")
    compiler = tmp_path / "gcc"
    compiler.write_text(f"#!/bin/sh\necho '# again' >>{entries}\nexec /usr/bin/gcc \"$@\"\n")
    compiler.chmod(0o755)
    done = package.build(PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == ExitCode.INFRA
    assert "changed while it was compiled" in done.stderr
    assert package.built == before


def without_cython(patch: pytest.MonkeyPatch, _: Path) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    patch.setattr(build, "version", version)


def without_compiler(patch: pytest.MonkeyPatch, empty: Path) -> None:
    patch.setattr(build, "version", lambda _: "another")
    patch.setenv("PATH", str(empty))


def without_header(patch: pytest.MonkeyPatch, empty: Path) -> None:
    patch.setattr(build, "version", lambda _: "another")
    patch.setattr(build.sysconfig, "get_path", lambda _: str(empty))


@pytest.mark.parametrize(
    ("without", "what"),
    [
        (without_cython, "missing: Cython;"),
        (without_compiler, "missing: a C compiler;"),
        (without_header, "Python.h (Debian: python3-dev);"),
    ],
)
def test_what_is_missing(without, what: str, monkeypatch, tmp_path, capsys):
    without(monkeypatch, tmp_path)
    with pytest.raises(InfraError, match=r"^[^\n]*$") as caught:
        build.build(print)
    assert what in str(caught.value)
    monkeypatch.setattr(sys, "argv", ["shootdown.compiled"])
    assert program.main() == ExitCode.INFRA
    assert what in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["shootdown.compiled", "--if-possible"])
    assert program.main() == 0
