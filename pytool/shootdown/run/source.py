"""From what --kernel says to a kernel's files."""

from __future__ import annotations

from pathlib import Path

from shootdown.arch import Arch
from shootdown.errors import UsageError
from shootdown.kernel import debian, facts, tree


def validate(spec: str) -> None:
    """Raise UsageError when ``spec`` names no file and no build tree; nothing is fetched."""
    if not spec.startswith("debian:") and (path := _local(spec)).is_dir():
        tree.of_tree(path)


def image(spec: str, arch: Arch, cache: Path) -> Path:
    """The image for ``debian:VERSION``, a kernel's file, a build tree or a Debian package.

    Raises UsageError when there is no such thing, and what kernel.debian and kernel.tree raise.
    """
    if spec.startswith("debian:"):
        return debian.resolve(spec, arch, cache).path
    return tree.locate(_local(spec), cache).image


def architecture(spec: str, cache: Path) -> str:
    """Name of the architecture of a local kernel. Raises what ``image`` raises."""
    return facts.load(_local(spec), cache).arch


def _local(spec: str) -> Path:
    path = Path(spec).expanduser()
    if not path.is_dir() and not path.is_file():
        raise UsageError(
            f"kernel {spec} does not exist; name a kernel image, a build tree or debian:VERSION"
        )
    return path.absolute()
