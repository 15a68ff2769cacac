"""Everything the tool knows of a kernel: symbols, offsets, identity; read once, then cached."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import numpy as np

from shootdown.errors import InfraError
from shootdown.kernel import image as images
from shootdown.kernel import kallsyms
from shootdown.kernel.btf import MAGIC, Btf, Member
from shootdown.kernel.cache import sha256
from shootdown.kernel.facts_derived import FINDERS
from shootdown.kernel.facts_needs import NEEDS
from shootdown.kernel.image import KernelImage
from shootdown.kernel.symbols import SymbolTable

_FORMAT: Final = 2
"""Goes up when what is cached, or how it is found, changes."""
_UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class KernelFacts:
    """A kernel, as the tool sees it."""

    path: Path
    """The file it was read from."""
    boot_path: Path
    """The file for QEMU's ``-kernel``."""
    arch: str
    release: str
    build_id: str
    """Hexadecimal; empty when the kernel carries none."""
    symbols: SymbolTable = field(repr=False)
    members: dict[str, Member] = field(repr=False)
    """Of ``facts_needs``: what the kernel has."""
    constants: dict[str, int] = field(repr=False)
    """Of ``facts_needs``: the enumerators the kernel has."""
    missing: tuple[str, ...]
    """Of ``facts_needs``: symbols, members and enumerators the kernel does not have."""

    def va(self, symbol: str) -> int:
        """VA of a symbol. Raises InfraError when the kernel has none of that name."""
        return self.symbols.va(symbol)

    def member(self, path: str) -> Member:
        """Offset and size in bytes of ``struct.member``. Raises InfraError when there is none."""
        return self.members.get(path) or self.btf.member(path)

    @cached_property
    def image(self) -> KernelImage:
        """The kernel's memory; opens the file. Raises InfraError."""
        return images.load(self.path, self.arch)

    @cached_property
    def btf(self) -> Btf:
        """All of the kernel's types; opens the file. Raises InfraError."""
        return read_btf(self.image, self.symbols)


def load(source: Path | KernelImage, cache: Path) -> KernelFacts:
    """The facts of a kernel file; ``cache`` is the directory of everything cached.

    What was learned of a file is kept under its SHA-256. Raises InfraError when the file is no
    kernel, or carries no symbols or no BTF.
    """
    path = source if isinstance(source, Path) else source.path
    try:
        entry = cache / "facts" / f"{sha256(path)}-{_version()}.npz"
    except OSError as error:
        raise InfraError(f"Cannot read the kernel {path}: {error.strerror}.") from None
    known = _recall(entry, path)
    if known is None:
        known = learn(images.load(source) if isinstance(source, Path) else source)
        _keep(entry, known)
    return known


def learn(image: KernelImage) -> KernelFacts:
    """The facts, from the image itself. Raises InfraError without symbols or BTF."""
    symbols = kallsyms.read(image)
    btf = read_btf(image, symbols)
    needs = NEEDS[image.arch]
    symbols = symbols.with_more(_derive(needs.symbols, image, symbols, btf))
    constants = {
        name: value for name in needs.constants if (value := _constant(btf, name)) is not None
    }
    members = {name: btf.member(name) for name in needs.members if btf.has(name)}
    wanted = needs.symbols + needs.members + needs.constants
    return KernelFacts(
        path=image.path,
        boot_path=image.boot_path,
        arch=image.arch,
        release=image.release,
        build_id=image.build_id,
        symbols=symbols,
        members=members,
        constants=constants,
        missing=tuple(n for n in wanted if n not in {*symbols, *members, *constants}),
    )


def read_btf(image: KernelImage, symbols: SymbolTable) -> Btf:
    """The kernel's types: between ``__start_BTF`` and ``__stop_BTF``, else found by their header.

    Raises InfraError when the kernel has none.
    """
    if "__start_BTF" in symbols and "__stop_BTF" in symbols:
        start = symbols["__start_BTF"]
        return Btf(image.read(start, symbols["__stop_BTF"] - start))
    header = MAGIC.to_bytes(2, "little") + bytes((1, 0, 24, 0, 0, 0))
    for segment in image.segments:
        at = segment.data.find(header)
        if at >= 0:
            return Btf(segment.data[at:])
    raise InfraError(
        f"{image.path} carries no BTF, which says where structure members are; "
        "use a kernel built with CONFIG_DEBUG_INFO_BTF."
    )


def _derive(
    names: tuple[str, ...], image: KernelImage, symbols: SymbolTable, btf: Btf
) -> dict[str, int]:
    found = {
        name: FINDERS[name](image, symbols, btf)
        for name in names
        if name not in symbols and name in FINDERS
    }
    return {name: va for name, va in found.items() if va is not None}


def _constant(btf: Btf, name: str) -> int | None:
    enum, _, enumerator = name.partition(".")
    try:
        return btf.enum(enum).get(enumerator)
    except InfraError:
        return None


def _version() -> str:
    """Changes with the format and with what is looked up."""
    return hashlib.sha256(repr((_FORMAT, NEEDS, sorted(FINDERS))).encode()).hexdigest()[:8]


def _keep(entry: Path, facts: KernelFacts) -> None:
    """Cache the facts. A cache that cannot be written costs time, not correctness."""
    about = {
        "boot": str(facts.boot_path) if facts.boot_path != facts.path else "",
        "arch": facts.arch,
        "release": facts.release,
        "build_id": facts.build_id,
        "members": {name: [m.offset, m.size] for name, m in facts.members.items()},
        "constants": facts.constants,
        "missing": facts.missing,
    }
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=entry.parent, suffix=".npz", delete=False) as file:
            np.savez(
                file,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                names=np.frombuffer("\n".join(facts.symbols.names).encode(), np.uint8),
                vas=facts.symbols.vas,
            )
        Path(file.name).replace(entry)
    except OSError:
        return


def _recall(entry: Path, path: Path) -> KernelFacts | None:
    """The cached facts of the file ``path``; None when there are none, or they are damaged."""
    try:
        with entry.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            about: dict[str, Any] = json.loads(kept["about"].tobytes())
            names = kept["names"].tobytes().decode().split("\n")
            symbols = SymbolTable(names, kept["vas"])
        boot = Path(about["boot"]) if about["boot"] else path
        if not boot.is_file():
            return None
        return KernelFacts(
            path=path,
            boot_path=boot,
            arch=about["arch"],
            release=about["release"],
            build_id=about["build_id"],
            symbols=symbols,
            members={name: Member(*where) for name, where in about["members"].items()},
            constants=about["constants"],
            missing=tuple(about["missing"]),
        )
    except _UNREADABLE:
        return None
