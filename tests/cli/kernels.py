"""A repository of kernels: Debian's, and the same with a few bytes changed in the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from shootdown import arch
from shootdown.arch.base import Arch
from shootdown.kernel import mutations
from shootdown.kernel.facts import KernelFacts
from tests.kernel import forms

_ENDBR64: Final = bytes.fromhex("f30f1efa")
_RET: Final = b"\xc3"
_PAGE: Final = 4096

FILE: Final = {"x86_64": "vmlinux", "arm64": "Image"}
"""A form in which the kernel is not compressed, so that it boots after a change."""


def plain(known: KernelFacts) -> bytes:
    """The kernel in that form."""
    data = known.path.read_bytes()
    return forms.inside(data) if known.arch == "x86_64" else data


def renamed(known: KernelFacts) -> bytes:
    """A good kernel: another compiler's name in its banner."""
    data, banner = plain(known), known.image.banner.encode()
    assert data.count(banner) == 1
    return data.replace(banner, banner.replace(b"gcc", b"cgc"))


def flushless(known: KernelFacts) -> bytes:
    """A bad kernel, as if it had been built without its flush (``mutations.no_flush``)."""
    data = bytearray(plain(known))
    for va, old, new in _changes(known):
        at = _offset(known, data, va)
        assert data[at : at + len(old)] == old
        data[at : at + len(new)] = new
    return bytes(data)


def _offset(known: KernelFacts, data: bytearray, va: int) -> int:
    """Where in the file the byte at ``va`` is: each segment is in one piece."""
    segment = next(part for part in known.image.segments if part.va <= va < part.end)
    return data.index(segment.data[:_PAGE]) + va - segment.va


def _changes(known: KernelFacts) -> list[tuple[int, bytes, bytes]]:
    """VA, old and new content."""
    if known.arch == "arm64":
        return [(patch.va, patch.old, patch.new) for patch in mutations.no_flush(known)]
    va = known.va("flush_tlb_mm_range")
    if known.image.read(va, 4) == _ENDBR64:
        va += len(_ENDBR64)
    # ftrace looks at its 5 bytes when it starts, and complains about others.
    return [(va + 5, known.image.read(va + 5, 1), _RET)]


def git(place: Path, *words: str) -> str:
    """What git prints."""
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    quick = ["-c", "core.compression=0", "-c", "gc.auto=0"]
    command = ["git", *who, *quick, *words]
    return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout


def repository(place: Path, which: Arch) -> list[str]:
    """Commits, oldest first: three good ones, one that does not build, good, bad, bad."""
    known = forms.stock(which.name)
    stock, bad = plain(known), flushless(known)
    makefile = f".PHONY: all\nall:\n\tcp kernel {FILE[which.name]}\n"
    place.mkdir()
    git(place, "init", "--quiet")
    (place / ".gitignore").write_text(f"{FILE[which.name]}\nruns\n")
    commits = []
    for title, change in (
        ("A kernel", {"kernel": stock, "Makefile": makefile.encode()}),
        ("Another compiler", {"kernel": renamed(known)}),
        ("Documentation", {"README": b"A kernel\n"}),
        ("A Makefile that does not work", {"Makefile": b"all:\n\tfalse\n"}),
        ("Repair the Makefile", {"Makefile": makefile.encode()}),
        ("Flush less", {"kernel": bad}),
        ("More documentation", {"README": b"A fast kernel\n"}),
    ):
        for name, data in change.items():
            (place / name).write_bytes(data)
        git(place, "add", "--all")
        git(place, "commit", "--quiet", "--message", title)
        commits.append(git(place, "rev-parse", "HEAD").strip())
    return commits


def main() -> None:
    """``python -m tests.cli.kernels DIRECTORY [ARCH]``: a repository to try a bisection in."""
    place, name = Path(sys.argv[1]), (*sys.argv[2:], "x86_64")[0]
    repository(place, arch.get(name))
    print(git(place, "log", "--oneline", "--reverse"), end="")


if __name__ == "__main__":
    main()
