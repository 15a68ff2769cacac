"""What a built kernel is made of: a name, the fragments and edits it stands for, and its key.

``built:6.12`` is the small kernel of ``images/kernel/*.config``; ``built:6.12+debug`` is the same
with what ``images/variants/debug.toml`` changes. Variants add up: ``built:6.12+debug+kasan``.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import shootdown
from shootdown.arch import Arch, names
from shootdown.errors import InfraError, UsageError
from shootdown.kernel import built_config, built_edits
from shootdown.kernel.built_edits import Edit
from shootdown.kernel.built_tools import GCC, TOOLCHAINS, Toolchain

PREFIX: Final = "built:"
IMAGES: Final = Path(shootdown.__file__).resolve().parents[2] / "images"

_SPEC: Final = re.compile(r"built:(\d+\.\d+(?:\.\d+)?(?:-\d+)?)((?:\+[a-z0-9][a-z0-9-]*)*)")
_KEYS: Final = {"summary", "archs", "mem", "toolchain", "config", "edits"}
_FORMAT: Final = 1
"""Changes with how a kernel is built; part of every key."""


@dataclass(frozen=True)
class Variant:
    """Changes to a kernel, from ``images/variants/NAME.toml``."""

    name: str
    summary: str
    """What it is for, one line."""
    archs: tuple[str, ...]
    """Architectures it is for; empty for all."""
    mem: int
    """MiB of RAM that a guest needs with it; 0 when the default will do."""
    toolchain: Toolchain | None
    """What it is built with; None when it does not matter."""
    config: dict[str, str]
    """Options over those of the kernel, by name."""
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Name:
    """What ``built:VERSION+VARIANT`` says."""

    version: str
    """6.12, 6.12.117 or 6.12.117-1."""
    variants: tuple[Variant, ...]

    @property
    def suffix(self) -> str:
        """``+debug+kasan``, or empty."""
        return "".join(f"+{variant.name}" for variant in self.variants)

    @property
    def mem(self) -> int:
        """MiB of RAM that a guest needs; 0 when the default will do."""
        return max((variant.mem for variant in self.variants), default=0)

    @property
    def toolchain(self) -> Toolchain:
        """What it is built with: gcc unless a variant wants another. Two do not want two."""
        return next((v.toolchain for v in self.variants if v.toolchain), GCC)

    @property
    def archs(self) -> tuple[str, ...]:
        """Names of the architectures that every variant is for."""
        limits = [variant.archs for variant in self.variants if variant.archs]
        return tuple(arch for arch in names() if all(arch in limit for limit in limits))

    def for_arch(self, arch: Arch) -> None:
        """Raise UsageError when a variant is not for the architecture."""
        for variant in self.variants:
            if variant.archs and arch.name not in variant.archs:
                raise UsageError(
                    f"variant {variant.name} is for {', '.join(variant.archs)}, not {arch.name}"
                )


def parse(spec: str, images: Path = IMAGES) -> Name:
    """The name's parts. Raises UsageError when it is none or a variant is unknown or wrong."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise UsageError(f"{spec!r} is no built kernel: write built:6.12 or built:6.12+VARIANT")
    names = match[2].split("+")[1:]
    if len(set(names)) < len(names):
        raise UsageError(f"{spec} names a variant twice")
    loaded = tuple(load(name, images) for name in names)
    wanted = sorted({v.toolchain.name for v in loaded if v.toolchain})
    if len(wanted) > 1:
        raise UsageError(f"{spec} is to be built with {' and with '.join(wanted)}")
    return Name(match[1], loaded)


def variants(images: Path = IMAGES) -> list[str]:
    """Names of all variants."""
    return sorted(path.stem for path in (images / "variants").glob("*.toml"))


def load(name: str, images: Path = IMAGES) -> Variant:
    """A variant by name. Raises UsageError when there is none or its file is wrong."""
    path = images / "variants" / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(variants(images)) or "none"
        raise UsageError(f"there is no variant {name}; known are {known}")
    try:
        table = tomllib.loads(path.read_text())
        return _variant(name, table)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _variant(name: str, table: Mapping[str, Any]) -> Variant:
    if unknown := sorted(set(table) - _KEYS):
        raise UsageError(f"unknown key {unknown[0]}; known are {', '.join(sorted(_KEYS))}")
    summary, config, edits = (table.get("summary"), table.get("config", ""), table.get("edits", []))
    archs, mem = table.get("archs", []), table.get("mem", 0)
    toolchain = table.get("toolchain")
    if not isinstance(summary, str) or not isinstance(config, str) or not isinstance(mem, int):
        raise UsageError("summary (needed) and config are texts, mem is a number")
    if not all(isinstance(value, list) for value in (archs, edits)):
        raise UsageError("archs and edits are lists")
    if not (config or edits or toolchain):
        raise UsageError("config, edits or toolchain is needed")
    if toolchain is not None and toolchain not in TOOLCHAINS:
        raise UsageError(f"toolchain: {toolchain!r} is none of {', '.join(TOOLCHAINS)}")
    if others := [arch for arch in archs if arch not in names()]:
        raise UsageError(f"archs: {others[0]!r} is none of {', '.join(names())}")
    return Variant(
        name,
        summary,
        tuple(archs),
        mem,
        TOOLCHAINS[toolchain] if toolchain else None,
        built_config.parse(config, "config"),
        tuple(built_edits.parse(edit) for edit in edits),
    )


@dataclass(frozen=True)
class Recipe:
    """All that decides what a built kernel is; two that are equal make the same kernel."""

    source: str
    """Version of the source package, 6.12.117-1."""
    arch: str
    suffix: str
    """Names of the variants as ``uname -r`` ends, ``+debug``."""
    config: dict[str, str]
    """Options asked for, by name."""
    edits: tuple[Edit, ...]
    tools: tuple[str, ...]
    """A line for each program of the toolchain, with its version."""

    @property
    def key(self) -> str:
        """SHA-256 of everything above, in hex."""
        return _digest(
            self.source, self.arch, self.suffix, self.config, _plain(self.edits), self.tools
        )

    @property
    def work_key(self) -> str:
        """The same without the edits: kernels that differ in these alone are built in one place."""
        return _digest(self.source, self.arch, self.config, self.tools)


def make(
    name: Name, arch: Arch, source: str, tools: tuple[str, ...], images: Path = IMAGES
) -> Recipe:
    """The recipe of a kernel from the source package of version ``source``.

    Raises UsageError when a variant is not for the architecture or a fragment is wrong, InfraError
    when a fragment cannot be read.
    """
    name.for_arch(arch)
    files = [images / "kernel" / f"{part}.config" for part in ("common", arch.name)]
    try:
        fragments = [built_config.parse(file.read_text(), str(file)) for file in files]
    except OSError as error:
        raise InfraError(f"Cannot read {error.filename}: {error.strerror}.") from error
    fragments += [variant.config for variant in name.variants]
    edits = tuple(edit for variant in name.variants for edit in variant.edits)
    return Recipe(source, arch.name, name.suffix, built_config.merge(fragments), edits, tools)


def _plain(edits: tuple[Edit, ...]) -> list[list[list[str]]]:
    # What an edit is for may be said in other words without a kernel being built again.
    return [[[f.file, f.function, f.old, f.new] for f in edit.forms] for edit in edits]


def _digest(*parts: object) -> str:
    text = json.dumps([_FORMAT, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
