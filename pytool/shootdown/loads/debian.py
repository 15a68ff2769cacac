"""A program of a Debian package with the libraries it needs, fetched once and kept.

It lies in ``CACHE/loads/ARCH/PACKAGE/``: the program, its libraries under their SONAMEs, and
``manifest.json``, which says the version, the interpreter's path, and the packages they are from.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from shootdown.arch.base import Arch
from shootdown.errors import InfraError
from shootdown.kernel import cache as store
from shootdown.kernel.apt import Package, PrivateApt
from shootdown.loads.elf import is_elf, linkage
from shootdown.loads.libraries import closure

SUITES: Final = ("trixie", "bookworm", "forky", "sid")
"""Where a program is looked for, best first. All its packages are of the same suite."""


@dataclass(frozen=True)
class Program:
    """A program in the cache, and what has to be in the guest with it."""

    name: str
    version: str
    """Of its package."""
    files: tuple[tuple[str, Path], ...]
    """Absolute path in the guest, file of the host; the program's own first."""

    @property
    def path(self) -> str:
        """Where it stands in the guest."""
        return self.files[0][0]


def fetch(name: str, arch: Arch, cache: Path) -> Program:
    """The program ``/usr/bin/NAME`` of the package NAME, fetched unless the cache has it.

    ``cache`` is the root of the cache. A program in the cache asks neither network nor apt. Raises
    InfraError when it cannot be fetched, kept or run.
    """
    entry = cache / "loads" / arch.name / name
    try:
        with store.locked(entry.parent / ".lock", f"it fetches {name} for {arch.name}"):
            if store.whole(entry) is None:
                _fetch(name, arch, cache, entry)
            return _program(name, entry)
    except OSError as error:
        where = error.filename or entry
        raise InfraError(f"cannot keep {name} in {where}: {error.strerror or error}") from error


def _program(name: str, entry: Path) -> Program:
    about = store.whole(entry)
    if about is None:
        raise InfraError(f"{entry} changes while it is written: try again")
    libraries = sorted(set(about["files"]) - {name})
    interpreter = str(about["interpreter"])
    # Debian's dynamic linker looks into /lib when there is no cache of libraries.
    places = [(f"/usr/bin/{name}", entry / name)]
    places += [(f"/lib/{library}", entry / library) for library in libraries]
    places += [(interpreter, entry / Path(interpreter).name)]
    return Program(name, str(about["version"]), tuple(dict(places).items()))


def _fetch(name: str, arch: Arch, cache: Path, entry: Path) -> None:
    shelf = cache / "apt" / arch.machine.debian
    kernels = cache / "kernels" / arch.name / ".lock"
    # Kernels of the architecture are fetched through the same apt.
    with (
        store.locked(kernels, f"it fetches a kernel for {arch.name}"),
        TemporaryDirectory(dir=entry.parent, prefix=".fetch-") as scratch,
    ):
        print(f"looking up {name} for {arch.name}", file=sys.stderr, flush=True)
        apt = PrivateApt(shelf, arch.machine.debian)
        apt.update(again=False)
        suite = _Suite(apt, _choose(name, apt), Path(scratch) / "packages")
        staged = Path(scratch) / "files"
        staged.mkdir()
        about = _stage(name, arch, suite, staged)
        store.seal(staged, entry, about)


def _stage(name: str, arch: Arch, suite: _Suite, staged: Path) -> dict[str, object]:
    """Copy the program and its libraries to ``staged``; returns what the manifest says of them."""
    program = (suite.files(name) or {}).get(name)
    if program is None:
        raise InfraError(f"package {name} of {suite.name} holds no program {name}")
    linked = linkage(program)
    if linked.machine != arch.machine.elf_machine or not linked.interpreter:
        raise InfraError(f"{name} of {suite.name} is no dynamic program for {arch.name}")
    libraries = closure(program, name, suite)
    interpreter = Path(linked.interpreter).name
    if interpreter not in libraries:
        libc = {**(suite.files("libc6") or {})}
        libraries[interpreter] = libc[interpreter]
    shutil.copy2(program, staged / name)
    for soname, file in libraries.items():
        shutil.copy2(file, staged / soname)
    return {
        "version": suite.version(name),
        "suite": suite.name,
        "interpreter": linked.interpreter,
        "packages": suite.used(libraries.values()),
    }


def _choose(name: str, apt: PrivateApt) -> Package:
    found = {package.suite: package for package in reversed(apt.versions(name))}
    for suite in SUITES:
        if suite in found:
            return found[suite]
    raise InfraError(f"the mirror has no package {name} in {', '.join(SUITES)}")


class _Suite:
    """Fulfils ``libraries.Repository`` with the packages of the suite that has ``wanted``."""

    def __init__(self, apt: PrivateApt, wanted: Package, scratch: Path) -> None:
        self.name: Final = wanted.suite
        self._apt = apt
        self._scratch = scratch
        self._packages: dict[str, Package | None] = {wanted.name: wanted}
        self._files: dict[str, dict[str, Path]] = {}

    def depends(self, package: str) -> list[str]:
        """Names of the packages that a package depends on, alternatives included."""
        known = self._package(package)
        return self._apt.depends(known) if known else []

    def files(self, package: str) -> dict[str, Path] | None:
        """The files of a package by name, fetched and unpacked the first time."""
        known = self._package(package)
        if known is None:
            return None
        if package not in self._files:
            self._files[package] = self._unpack(known)
        return self._files[package]

    def version(self, package: str) -> str:
        """Version of a package that was asked for."""
        known = self._packages.get(package)
        return known.version if known else ""

    def used(self, files: Iterable[Path]) -> dict[str, str]:
        """Versions of the packages that some of ``files`` are from."""
        names = {file.relative_to(self._scratch).parts[0] for file in files}
        return {name: self.version(name) for name in sorted(names)}

    def _package(self, name: str) -> Package | None:
        if name not in self._packages:
            of_suite = [p for p in self._apt.versions(name) if p.suite == self.name]
            self._packages[name] = of_suite[0] if of_suite else None
        return self._packages[name]

    def _unpack(self, package: Package) -> dict[str, Path]:
        archive = self._apt.download(package)
        tree = self._scratch / package.name
        tree.mkdir(parents=True)
        done = subprocess.run(
            ["dpkg-deb", "--extract", archive, tree], capture_output=True, text=True, check=False
        )
        archive.unlink()
        if done.returncode:
            raise InfraError(f"{archive.name} does not unpack: {done.stderr.strip()}")
        # A SONAME is often a symbolic link to the file; both count.
        return {
            path.name: path.resolve()
            for path in sorted(tree.rglob("*"))
            if path.is_file() and path.resolve().is_relative_to(tree.resolve()) and is_elf(path)
        }
