"""Kernel source packages of the distribution: fetched, unpacked once, shared by all builds.

``CACHE/source/VERSION/tree`` is the source of ``linux-source-X.Y`` of that version, as packed.
It is never built in or changed: builds have trees of hard links to it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from shootdown.arch.base import Arch
from shootdown.errors import InfraError, UsageError
from shootdown.kernel import cache as store
from shootdown.kernel.apt import Package, PrivateApt
from shootdown.kernel.debian_versions import order

KEEP: Final = timedelta(days=30)
"""How long a name means the same version without the mirror being asked again."""
ROOM: Final = 6 << 30
"""Free bytes for a package, its source and one build."""

_PIPE: Final = """\
set -o pipefail
dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout --file=- "$2" |
	tar --extract --xz --file=- --strip-components=1 --directory="$3"
"""
_NAME: Final = re.compile(r"linux-source-\d+\.\d+")


class SourceShelf:
    """The sources in a cache. ``cache`` is its root, ``arch`` the one whose lists are asked."""

    def __init__(self, cache: Path, arch: Arch) -> None:
        self._root = cache / "source"
        self._apt_state = cache / "apt" / arch.machine.debian
        self._apt_lock = cache / "kernels" / arch.name / ".lock"  # what debian.py holds for it
        self._architecture = arch.machine.debian

    def version(self, name: str) -> str:
        """The version of the source package that ``name`` (6.12, 6.12.117, 6.12.117-1) means.

        What was looked up in the last 30 days, and a version whose source is here, is not looked
        up again. Raises UsageError when no suite has it, InfraError, OSError.
        """
        if self._tree(name).is_dir():
            return name
        record = self._root / "names" / f"{name}.json"
        known = store.read_json(record) or {}
        if known and _recent(known):
            return str(known["version"])
        try:
            version = self._find(name).version
        except InfraError as error:
            if not known:
                raise
            print(f"using {known['version']}, found earlier: {error}", file=sys.stderr)
            return str(known["version"])
        found = datetime.now(UTC).isoformat(timespec="seconds")
        store.write_json(record, {"version": version, "found": found})
        return version

    def tree(self, version: str) -> Path:
        """The unpacked source of that version of the package. Raises InfraError, OSError."""
        tree = self._tree(version)
        if tree.is_dir():
            return tree
        with store.locked(self._root / ".lock", f"it unpacks a kernel's source into {self._root}"):
            if not tree.is_dir():
                self._unpack(self._find(version), tree)
        return tree

    def _tree(self, version: str) -> Path:
        return self._root / version / "tree"

    def _apt(self) -> PrivateApt:
        apt = PrivateApt(self._apt_state, self._architecture)
        apt.update(again=False)
        return apt

    def _find(self, name: str) -> Package:
        """The newest source package that ``name`` means, in any suite."""
        print(f"looking up the source of Linux {name}", file=sys.stderr, flush=True)
        with store.locked(self._apt_lock, "it fetches a kernel"):
            every = self._apt().search(_NAME)
        package = newest(name, every)
        if package is None:
            latest = {p.name: p.version for p in sorted(every, key=lambda p: order(p.version))}
            listing = ", ".join(f"{name} ({version})" for name, version in sorted(latest.items()))
            raise UsageError(f"Debian has no source of Linux {name}; it has {listing or 'none'}")
        return package

    def _unpack(self, package: Package, tree: Path) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._root).free
        if free < ROOM:
            raise InfraError(
                f"{self._root} has {free >> 20} MiB free and building a kernel takes "
                f"{ROOM >> 20} MiB; make room or name another cache with SHOOTDOWN_CACHE"
            )
        for left_by_a_killed_process in self._root.glob(".unpack-*"):
            shutil.rmtree(left_by_a_killed_process)
        with store.locked(self._apt_lock, "it fetches a kernel"):
            archive = self._apt().download(package)
        print(f"unpacking {package.name} {package.version}", file=sys.stderr, flush=True)
        with TemporaryDirectory(dir=self._root, prefix=".unpack-") as name:
            staged = Path(name) / "tree"
            staged.mkdir()
            _extract(archive, package.name, staged)
            tree.parent.mkdir(exist_ok=True)
            staged.rename(tree)
        archive.unlink()


def newest(name: str, packages: list[Package]) -> Package | None:
    """The newest package whose version is ``name`` or begins with it, part by part."""
    fitting = [
        package
        for package in packages
        if package.version == name
        or (package.version.startswith(name) and package.version[len(name)] in ".+-~")
    ]
    return max(fitting, key=lambda package: order(package.version), default=None)


def _recent(record: dict[str, object]) -> bool:
    try:
        return datetime.fromisoformat(str(record["found"])) > datetime.now(UTC) - KEEP
    except (KeyError, ValueError):
        return False


def _extract(archive: Path, package: str, into: Path) -> None:
    """Unpack the source in the package file ``archive``: a compressed tar file in a tar file."""
    packed = f"./usr/src/{package}.tar.xz"
    done = subprocess.run(
        ["bash", "-c", _PIPE, "unpack", archive, packed, into],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no reason given"]
        raise InfraError(f"{archive.name} does not unpack: {words[-1]}; try again")
    if not (into / "Kbuild").is_file():
        raise InfraError(f"{archive.name} holds no kernel source at {packed}")
