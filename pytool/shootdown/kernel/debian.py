"""Debian's cloud kernels, fetched by name: ``debian:6.12`` is the newest 6.12 in any suite.

A kernel lies in ``CACHE/kernels/ARCH/RELEASE/``: ``vmlinuz``, ``config`` where its package has one,
``System.map``, which in Debian is a stub that only names the debug package, and ``manifest.json``.
What a name meant, and since when, is in ``CACHE/kernels/ARCH/names/``.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from shootdown.arch.base import Arch
from shootdown.errors import InfraError, UsageError
from shootdown.kernel import cache as store
from shootdown.kernel import deb
from shootdown.kernel.apt import PrivateApt
from shootdown.kernel.debian_versions import Candidate, candidates, pattern

DEFAULT = "debian:6.12"
KEEP = timedelta(days=30)
"""How long a name means the same release without the mirror being asked again."""

_SPEC = re.compile(r"debian:([0-9][0-9A-Za-z.+~-]*)")


@dataclass(frozen=True)
class FetchedKernel:
    """A kernel of Debian's in the cache."""

    path: Path
    """The image as Debian packs it (vmlinuz)."""
    package: str
    version: str
    """Version of the package: 6.12.117-1."""
    suite: str
    """Where it was found: trixie-security."""

    @property
    def release(self) -> str:
        """What ``uname -r`` says: 6.12.117+deb13-cloud-amd64."""
        return self.path.parent.name


def resolve(spec: str, arch: Arch, cache: Path, *, refresh: bool = False) -> FetchedKernel:
    """The cloud kernel that ``spec`` names, fetched if the cache does not have it.

    ``spec`` is ``debian:`` and the first parts of a version (6.12, 6.12.117), a package version
    (6.12.117-1) or a release (6.12.117+deb13). ``cache`` is the root of the cache. A name that
    was looked up in the last 30 days, or that is a release in the cache, asks neither network nor
    apt; with ``refresh`` the mirror is asked anyway.

    Raises UsageError for a name that is none or that no suite has, InfraError if fetching fails.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise UsageError(f"{spec!r} is no Debian kernel: write debian: and a version, as {DEFAULT}")
    shelf = _Shelf(cache, arch)
    try:
        return shelf.get(match[1], refresh)
    except OSError as error:
        where = error.filename or shelf.root
        raise InfraError(f"cannot keep kernels in {where}: {error.strerror or error}") from error


class _Shelf:
    """The kernels of one architecture in the cache, and what their names mean."""

    def __init__(self, cache: Path, arch: Arch) -> None:
        self.root = cache / "kernels" / arch.name
        self._apt = cache / "apt" / arch.machine.debian
        self._arch = arch

    def get(self, name: str, refresh: bool) -> FetchedKernel:
        if not refresh and (known := self._known(name)):
            return known
        with store.locked(self.root / ".lock", f"it fetches a kernel into {self.root}"):
            # Whoever held the lock may have fetched what is wanted here.
            if not refresh and (known := self._known(name)):
                return known
            try:
                return self._fetch(name, refresh)
            except InfraError as error:
                old = None if refresh else self._recorded(name)
                if old is None:
                    raise
                print(f"using {old.release}, found earlier: {error}", file=sys.stderr)
                return old

    def _known(self, name: str) -> FetchedKernel | None:
        """What ``name`` means without asking anybody."""
        flavour = f"-cloud-{self._arch.machine.debian}"
        exact = self._entry(name.removesuffix(flavour) + flavour)
        return exact or self._recorded(name, datetime.now(UTC) - KEEP)

    def _recorded(self, name: str, since: datetime | None = None) -> FetchedKernel | None:
        """What ``name`` meant when it was last looked up, if that was not before ``since``."""
        record = store.read_json(self._record(name)) or {}
        try:
            stale = since is not None and datetime.fromisoformat(record["found"]) < since
            return None if stale else self._entry(record["release"])
        except (KeyError, TypeError, ValueError):
            return None

    def _record(self, name: str) -> Path:
        return self.root / "names" / f"{name}.json"

    def _entry(self, release: str) -> FetchedKernel | None:
        """The kernel of that release, if all of it is in the cache and unchanged."""
        about = store.whole(self.root / release)
        if about is None:
            return None
        text = (str(about.get(key)) for key in ("package", "version", "suite"))
        return FetchedKernel(self.root / release / "vmlinuz", *text)

    def _fetch(self, name: str, refresh: bool) -> FetchedKernel:
        apt = PrivateApt(self._apt, self._arch.machine.debian)
        print(f"looking up Debian kernel {name} for {self._arch.name}", file=sys.stderr, flush=True)
        apt.update(again=refresh)
        wanted = self._look_up(name, apt)
        kernel = self._entry(wanted.release)
        if kernel is None or kernel.version != wanted.package.version:
            self._store(wanted, apt.download(wanted.package))
            kernel = self._entry(wanted.release)
        if kernel is None:
            raise InfraError(f"{self.root / wanted.release} changes while it is written: try again")
        found = datetime.now(UTC).isoformat(timespec="seconds")
        store.write_json(self._record(name), {"release": wanted.release, "found": found})
        return kernel

    def _look_up(self, name: str, apt: PrivateApt) -> Candidate:
        """The newest kernel of that name in any suite."""
        debian = self._arch.machine.debian
        every = candidates(apt.search(pattern(debian)), debian)
        named = [candidate for candidate in every if candidate.named(name)]
        if not named:
            newest = {candidate.series: candidate.version for candidate in every}
            listing = ", ".join(f"{series} ({version})" for series, version in newest.items())
            raise UsageError(
                f"Debian has no cloud kernel {name} for {self._arch.name}; it has {listing}"
            )
        return named[-1]

    def _store(self, wanted: Candidate, archive: Path) -> None:
        """Make an entry of the image in the package file ``archive``, which is used up."""
        for left_by_a_killed_process in self.root.glob(".fetch-*"):
            shutil.rmtree(left_by_a_killed_process)
        with TemporaryDirectory(dir=self.root, prefix=".fetch-") as name:
            staged = Path(name)
            deb.unpack(archive, staged, wanted.release)
            package = wanted.package
            about = {"package": package.name, "version": package.version, "suite": package.suite}
            store.seal(staged, self.root / wanted.release, about)
        archive.unlink()
