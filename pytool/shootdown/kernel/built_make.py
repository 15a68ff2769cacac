"""Running the kernel's own build in a working directory of the cache.

``CACHE/build/WORK/src`` is a tree of hard links to the source, ``obj`` is what make writes. Both
stay: the next kernel that differs by an edit is built from there in a minute, and a build that was
interrupted goes on where it stopped. Everything in ``CACHE/build`` may be removed at any time.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shootdown.arch.base import Arch
from shootdown.errors import InfraError
from shootdown.kernel.built_tools import GCC, Toolchain

TARGETS: Final = {"x86_64": ("x86", "bzImage"), "arm64": ("arm64", "Image")}
"""Directory below ``arch``, and the image that is made there in ``boot``."""

_IDENTITY: Final = {
    # The same kernel every time: its banner says when, where and by whom.
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
    "KBUILD_BUILD_USER": "shootdown",
    "KBUILD_BUILD_HOST": "shootdown",
    "KBUILD_BUILD_VERSION": "1",
    "LC_ALL": "C",
}
_KEPT: Final = ("PATH", "HOME", "TMPDIR", "USER", "CCACHE_DIR")
"""All of the caller's environment that make sees; ``make kernels`` has flags of its own."""
_STEP: Final = re.compile(r"  ([A-Z][A-Z0-9 ]{1,7}?) +(\S+)$")
_PLAIN_S: Final = 30.0
"""Seconds between two lines of progress where no terminal is."""


@dataclass(frozen=True)
class Workshop:
    """One working directory: a source, a configuration and a toolchain."""

    path: Path
    arch: Arch
    jobs: int
    toolchain: Toolchain = GCC

    @property
    def source(self) -> Path:
        """The tree that may be edited."""
        return self.path / "src"

    @property
    def objects(self) -> Path:
        """What make writes."""
        return self.path / "obj"

    @property
    def log(self) -> Path:
        """All that make said, of the last build."""
        return self.path / "build.log"

    @property
    def image(self) -> Path:
        """The boot image, when it is built."""
        directory, name = TARGETS[self.arch.name]
        return self.objects / "arch" / directory / "boot" / name

    def link_source(self, pristine: Path) -> None:
        """Make ``src`` of hard links to the unpacked source, if it is not there yet. OSError."""
        if self.source.is_dir():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        staged = self.path / "src.new"
        shutil.rmtree(staged, ignore_errors=True)
        done = subprocess.run(
            ["cp", "--archive", "--link", pristine, staged],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise InfraError(f"Cannot link {pristine} to {staged}: {done.stderr.splitlines()[0]}.")
        staged.rename(self.source)

    def edit(self, pristine: Path, changed: Mapping[str, str]) -> None:
        """Give ``src`` the changed files, and all others as they were. OSError.

        A file whose text differs is replaced, never written to: it is a hard link. Which files may
        differ is noted before they do, so an interrupted build leaves nothing behind unnoticed.
        """
        note = self.path / "edited"
        before = note.read_text().splitlines() if note.exists() else []
        touched = sorted({*before, *changed})
        note.write_text("".join(f"{name}\n" for name in touched))
        for name in touched:
            text = changed.get(name)
            data = (pristine / name).read_bytes() if text is None else _encoded(text)
            target = self.source / name
            if target.read_bytes() != data:
                staged = target.with_name(f"{target.name}.new")
                staged.write_bytes(data)
                staged.replace(target)

    def configure(self, wanted: str) -> str:
        """Have the kernel's Kconfig make a ``.config`` of the options; its text.

        What is not in ``wanted`` is off where it can be. Raises InfraError, OSError.
        """
        self.objects.mkdir(parents=True, exist_ok=True)
        fragment = self.path / "wanted.config"
        fragment.write_text(wanted)
        self._make("configuring", f"KCONFIG_ALLCONFIG={fragment}", "allnoconfig")
        return (self.objects / ".config").read_text()

    def build(self, suffix: str, what: str) -> None:
        """Build the boot image. ``suffix`` ends the release; ``what`` names it in progress lines.

        Raises InfraError with make's first error, OSError.
        """
        self._make(what, f"LOCALVERSION={suffix}", f"-j{self.jobs}", TARGETS[self.arch.name][1])

    def _make(self, what: str, *words: str) -> None:
        directory, _ = TARGETS[self.arch.name]
        command = [
            *("make", "-C", str(self.source), f"O={self.objects}", f"ARCH={directory}"),
            *(*self.toolchain.words(self.arch), *words),
        ]
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        with (
            self.log.open("w") as log,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=kept | _IDENTITY,
                text=True,
                errors="replace",
                process_group=0,  # all of it can be ended
            ) as process,
        ):
            assert process.stdout is not None
            progress = _Progress(what)
            try:
                for line in process.stdout:
                    log.write(line)
                    progress.see(line)
            except BaseException:
                _end(process)
                raise
            finally:
                progress.close()
        if process.returncode:
            raise InfraError(
                f"{what}: make failed{_first_error(self.log)}; all it said is in {self.log}"
            )


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _end(process: subprocess.Popen[str]) -> None:
    """End make and all it started: politely, so that it removes what is half made, then surely."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        os.killpg(process.pid, signal.SIGKILL)


def _first_error(log: Path) -> str:
    for line in log.read_text(errors="replace").splitlines():
        if re.search(r"\berror:|\*\*\*|undefined reference", line):
            return f" ({line.strip()[:200]})"
    return ""


class _Progress:
    """How far a build is: one line that changes on a terminal, now and then a line elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._terminal = sys.stderr.isatty()
        self._start = self._shown = time.monotonic()
        self._files = 0

    def see(self, line: str) -> None:
        """Take note of a line that make printed."""
        match = _STEP.match(line.rstrip("\n"))
        if match is None:
            return
        self._files += 1
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else _PLAIN_S):
            return
        self._shown = now
        minutes, seconds = divmod(int(now - self._start), 60)
        text = f"{self._what}: {minutes}:{seconds:02}, {self._files} files made, {match[2]}"
        if self._terminal:
            print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the line to whoever prints next."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
