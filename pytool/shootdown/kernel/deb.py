"""Kernels inside Debian packages: files of ``linux-image-*`` as distributions and CI build them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from shootdown.errors import InfraError
from shootdown.kernel import cache as store

MAGIC: Final = b"!<arch>\ndebian-binary"
_MEMBERS: Final = tuple(
    (re.compile(r"\./" + pattern), name)
    for pattern, name in (
        (r"boot/vmlinu[xz]-(?P<release>[^/]+)", "vmlinuz"),
        (r"(usr/)?lib/modules/(?P<release>[^/]+)/vmlinuz(\.unsigned)?", "vmlinuz"),
        (r"boot/System\.map-(?P<release>[^/]+)", "System.map"),
        (r"(usr/)?lib/modules/(?P<release>[^/]+)/System\.map", "System.map"),
        (r"boot/config-(?P<release>[^/]+)", "config"),
        (r"(usr/)?lib/modules/(?P<release>[^/]+)/config", "config"),
        (r"usr/lib/debug/boot/vmlinux-(?P<release>[^/]+)", "vmlinux"),
        (r"usr/lib/debug/(usr/)?lib/modules/(?P<release>[^/]+)/vmlinux", "vmlinux"),
    )
)
"""Members of a package, and what they are called when they are unpacked."""


def is_package(path: Path) -> bool:
    """Whether the file is a Debian package. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def unpacked(package: Path, cache: Path) -> Path:
    """Directory in the cache with ``vmlinuz`` and what else of the kernel the package holds.

    ``cache`` is the root of the cache. Raises InfraError when the package is damaged, or holds no
    kernel image or several.
    """
    try:
        shelf = cache / "packages"
        entry = shelf / store.sha256(package)
        if store.whole(entry):
            return entry
        with (
            store.locked(shelf / ".lock", f"it unpacks a kernel into {shelf}"),
            TemporaryDirectory(dir=shelf, prefix=".unpack-") as name,
        ):
            staged = Path(name)
            unpack(package, staged)
            store.seal(staged, entry, {"package": package.name})
    except OSError as error:
        where = error.filename or package
        raise InfraError(
            f"Cannot unpack {package} at {where}: {error.strerror or error}."
        ) from None
    return entry


def unpack(package: Path, into: Path, release: str | None = None) -> None:
    """Write ``vmlinuz`` and what else of the kernel there is to the directory ``into``.

    ``release``: the only kernel that is looked at. Raises InfraError when the package is damaged,
    or holds no kernel image or several; OSError.
    """
    releases: set[str] = set()

    def wanted(member: str) -> str | None:
        for pattern, name in _MEMBERS:
            match = pattern.fullmatch(member)
            if match and release in (None, match["release"]):
                releases.add(match["release"])
                return name
        return None

    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as stream:
        assert stream.stdout is not None
        _extract(stream.stdout, wanted, into, package)
        while stream.stdout.read(1 << 20):
            pass
    if stream.returncode:
        raise InfraError(f"{package.name} does not unpack: it is damaged; fetch it again.")
    if len(releases) > 1:
        several = ", ".join(sorted(releases))
        raise InfraError(f"{package.name} holds several kernels ({several}); give one image.")
    if not (into / "vmlinuz").exists():
        raise InfraError(f"{package.name} holds no kernel image; give a linux-image package.")


def _extract(
    stream: IO[bytes], wanted: Callable[[str], str | None], into: Path, package: Path
) -> None:
    """Write the regular files of a tar stream that are ``wanted`` under the name it gives them."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if not member.isreg() or (name := wanted(member.name)) is None:
                    continue
                if source := archive.extractfile(member):
                    with (into / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except (tarfile.TarError, EOFError) as error:
        raise InfraError(f"{package.name} does not unpack: {error}; fetch it again.") from error
