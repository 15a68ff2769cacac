"""From what --kernel says to a bootable image."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shootdown.arch import Arch
from shootdown.errors import UsageError
from shootdown.kernel import debian, facts

# Boot images of a build tree, in any architecture's directory.
_IMAGES: Final = ("arch/*/boot/bzImage", "arch/*/boot/Image", "arch/*/boot/Image.gz")


def validate(spec: str) -> None:
    """Raise UsageError when ``spec`` names no file and no build tree; nothing is fetched."""
    if not spec.startswith("debian:"):
        _local(spec)


def image(spec: str, arch: Arch, cache: Path) -> Path:
    """The image for ``debian:VERSION``, an image's path or a build tree.

    Raises UsageError when there is no such thing, and what kernel.debian raises.
    """
    if spec.startswith("debian:"):
        return debian.resolve(spec, arch, cache).path
    return _local(spec)


def architecture(spec: str, cache: Path) -> str:
    """Name of the architecture of a local image or build tree. Raises what ``image`` raises."""
    return facts.load(_local(spec), cache).arch


def _local(spec: str) -> Path:
    path = Path(spec).expanduser()
    if path.is_dir():
        return _of_tree(path)
    if path.is_file():
        return path.resolve()
    raise UsageError(
        f"kernel {spec} does not exist; name a kernel image, a build tree or debian:VERSION"
    )


def _of_tree(tree: Path) -> Path:
    if not (tree / ".config").is_file():
        raise UsageError(f"{tree} is no kernel build tree: it holds no .config; build one there")
    for pattern in _IMAGES:
        # arch/x86_64/boot/bzImage is a link to arch/x86/boot/bzImage.
        found = sorted({path.resolve() for path in tree.glob(pattern)})
        if found:
            return found[0]
    raise UsageError(f"{tree} is a build tree without a boot image; run make there first")
