"""The files of one kernel: what boots, and what lies beside it and tells more."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from shootdown.errors import InfraError, UsageError
from shootdown.kernel import asked, deb, image_elf

_BOOT: Final = ("bzImage", "Image", "vmlinuz.efi", "Image.gz", "Image.*")
"""Boot images of a build tree in the order of preference, below ``arch/*/boot``."""
_BESIDE: Final = ("bzImage", "Image", "vmlinuz", "Image.gz", "vmlinuz.efi")
"""Boot images that may lie beside a vmlinux."""
_NAME: Final = re.compile(r"(?:vmlinu[xz](?:\.efi)?|bzImage|Image(?:\.\w+)?)(-.+)?")
"""Names that kernel files have; the group is what sets one kernel's apart from another's."""
_ARCHS: Final = {"CONFIG_X86_64": "x86", "CONFIG_ARM64": "arm64"}
"""Directory below ``arch`` by configuration."""


@dataclass(frozen=True)
class KernelFiles:
    """Where everything of one kernel is."""

    image: Path
    """What boots. A vmlinux when there is nothing else."""
    vmlinux: Path | None = None
    """The ELF file, which may have symbols and debugging information; may be ``image``."""
    system_map: Path | None = None
    config: Path | None = None
    asked: Path | None = None
    """What a guest said of the image's symbols (``asked``)."""

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file that says something of the kernel's memory."""
        found = (self.image, self.vmlinux, self.system_map, self.asked)
        return tuple(dict.fromkeys(file for file in found if file))


def locate(path: Path, cache: Path) -> KernelFiles:
    """The kernel that ``path`` means: a build tree, one of a kernel's files, or a Debian package.

    Files beside each other belong together if they have a kernel's usual names and end alike
    (``bzImage`` and ``vmlinux``, ``vmlinuz-6.12.1`` and ``System.map-6.12.1``). ``cache`` is the
    root of the cache. Raises UsageError when a directory is no built tree, InfraError when a file
    cannot be read or a package has no kernel.
    """
    try:
        found = of_tree(path) if path.is_dir() else _of_file(path, cache)
        return replace(found, asked=asked.find(found.image, cache))
    except OSError as error:
        raise InfraError(f"Cannot read the kernel {path}: {error.strerror}.") from None


def _of_file(path: Path, cache: Path) -> KernelFiles:
    if deb.is_package(path):
        return _beside(deb.unpacked(path, cache) / "vmlinuz")
    if path.name == "vmlinux" and (path.parent / ".config").is_file():
        return of_tree(path.parent)
    root = _root(path.resolve())
    return _in_tree(root, path.resolve()) if root else _beside(path)


def of_tree(tree: Path) -> KernelFiles:
    """The kernel built in a directory: a source tree, or an output directory (``make O=``).

    Raises UsageError when the directory is no build tree or nothing was built yet.
    """
    if not (tree / ".config").is_file():
        hint = "configure and build it"
        if (tree / "Kbuild").is_file():
            hint = "name its output directory (O=), or configure and build it"
        raise UsageError(f"{tree} is no kernel build tree: it holds no .config; {hint}")
    image = _boot_image(tree) or _file(tree / "vmlinux")
    if image is None:
        raise UsageError(f"{tree} is a build tree without a boot image; run make there first")
    return _in_tree(tree, image)


def _boot_image(tree: Path) -> Path | None:
    boot = f"arch/{_directory(tree)}/boot"
    images = chain.from_iterable(sorted(tree.glob(f"{boot}/{name}")) for name in _BOOT)
    # arch/x86_64/boot/bzImage is a link to arch/x86/boot/bzImage.
    return next((path.resolve() for path in images if path.is_file()), None)


def _directory(tree: Path) -> str:
    """Name below ``arch`` of what the tree is configured for; ``*`` when .config does not say."""
    try:
        lines = (tree / ".config").read_text(errors="replace").splitlines()
    except OSError as error:
        raise InfraError(f"Cannot read {tree / '.config'}: {error.strerror}.") from None
    configured = {line.removesuffix("=y") for line in lines if line.endswith("=y")}
    for name, directory in _ARCHS.items():
        if name in configured:
            return directory
    if {"CONFIG_X86_32", "CONFIG_ARM"} & configured:
        raise UsageError(f"{tree} is configured for a 32-bit machine; build x86-64 or arm64 there")
    return "*"


def _root(path: Path) -> Path | None:
    """The build tree whose ``arch/*/boot`` the file is in."""
    if path.parent.name != "boot" or len(path.parents) < 4 or path.parents[2].name != "arch":
        return None
    return path.parents[3] if (path.parents[3] / ".config").is_file() else None


def _in_tree(tree: Path, image: Path) -> KernelFiles:
    vmlinux, symbols, config = (_file(tree / name) for name in ("vmlinux", "System.map", ".config"))
    return KernelFiles(image, vmlinux, symbols, config)


def _beside(path: Path) -> KernelFiles:
    match = _NAME.fullmatch(path.name)
    elf = image_elf.FileContent(path)[:4] == image_elf.MAGIC
    if match is None:
        return KernelFiles(path, path if elf else None)
    place, suffix = path.parent, match[1] or ""
    image = path
    if elf:
        images = (_file(place / f"{name}{suffix}") for name in _BESIDE)
        image = next(filter(None, images), path)
    return KernelFiles(
        image,
        path if elf else _file(place / f"vmlinux{suffix}"),
        _file(place / f"System.map{suffix}"),
        _file(place / f"config{suffix}"),
    )


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None
