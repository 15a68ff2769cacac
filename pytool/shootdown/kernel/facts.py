"""Everything the tool knows of a kernel: symbols, offsets, identity; read once, then cached."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import numpy as np

from shootdown.errors import InfraError
from shootdown.kernel import exits, facts_check, groups, inlined, irq_off, lock_forms, tree
from shootdown.kernel import facts_sources as sources
from shootdown.kernel import image as images
from shootdown.kernel.btf import Btf, Member
from shootdown.kernel.cache import sha256
from shootdown.kernel.exits import Places
from shootdown.kernel.facts_derived import FINDERS
from shootdown.kernel.facts_needs import NEEDS
from shootdown.kernel.facts_sources import Kernel, Types
from shootdown.kernel.image import KernelImage
from shootdown.kernel.symbols import SymbolTable
from shootdown.kernel.tree import KernelFiles

_FORMAT: Final = 8
"""Goes up when what is cached, or how it is found, changes."""
_UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class KernelFacts:
    """A kernel, as the tool sees it."""

    files: KernelFiles
    """The files it was read from."""
    boot_path: Path
    """The file for QEMU's ``-kernel``."""
    arch: str
    release: str
    build_id: str
    """Hexadecimal; empty when the kernel carries none."""
    symbols: SymbolTable = field(repr=False)
    members: dict[str, Member] = field(repr=False)
    """Of ``facts_needs`` and ``lock_forms``: what the kernel has."""
    constants: dict[str, int] = field(repr=False)
    """Of ``facts_needs`` and of event groups: the enumerators the kernel has."""
    functions: dict[str, Places] = field(repr=False)
    """Functions that event groups speak of: where they begin and end."""
    inlined: dict[str, str]
    """Functions that groups record, by name: which caller the compiler has put them into."""
    missing: tuple[str, ...]
    """Of ``facts_needs``: symbols, members and enumerators the kernel does not have."""
    symbols_from: str
    """Name of the source of symbols, and where it is."""
    types_from: str
    """Name of the source of types, and where it is."""

    def __hash__(self) -> int:
        """Of where they come from: tables have none."""
        return hash((self.files, self.build_id))

    @property
    def path(self) -> Path:
        """The file that holds the kernel's memory."""
        return self.files.image

    def va(self, symbol: str) -> int:
        """VA of a symbol. Raises InfraError when the kernel has none of that name."""
        return self.symbols.va(symbol)

    def member(self, path: str) -> Member:
        """Offset and size in bytes of ``struct.member``. Raises InfraError when there is none."""
        return self.members.get(path) or self.types.member(path)

    def has(self, name: str) -> bool:
        """Whether the kernel has a function or variable, or (``struct.member``) a member.

        Of functions and members only those that a group asks for are known.
        """
        return name in self.members or name in self.functions or name in self.symbols

    @cached_property
    def image(self) -> KernelImage:
        """The kernel's memory; opens the file. Raises InfraError."""
        return images.load(self.path, self.arch)

    @cached_property
    def types(self) -> Types:
        """All of the kernel's types; opens the file. Raises InfraError."""
        return Kernel(self.image, self.files).types.value

    @cached_property
    def btf(self) -> Btf:
        """All of the kernel's types, as BTF has them. Raises InfraError when there is none."""
        return read_btf(self.image, self.symbols)


def load(source: Path | KernelImage, cache: Path) -> KernelFacts:
    """The facts of a kernel; ``cache`` is the directory of everything cached.

    ``source`` is what ``tree.locate`` takes, or a file that is open already. What was learned is
    kept under the names and content of the files. Raises InfraError when the file is no kernel,
    QEMU cannot boot it, it has no symbols or no types, or those of another kernel, or it is a
    PREEMPT_RT kernel; UsageError for a directory that is no build tree.
    """
    path = source.path if isinstance(source, KernelImage) else source
    files = tree.locate(path, cache)
    try:
        entry = cache / "facts" / f"{_digest(files)}-{_version()}.npz"
    except OSError as error:
        raise InfraError(f"Cannot read the kernel {files.image}: {error.strerror}.") from None
    if entry not in _loaded:
        known = _recall(entry, files)
        if known is None:
            opened = source if isinstance(source, KernelImage) else None
            known = learn(opened or images.load(files.image), files)
            _keep(entry, known)
        _loaded[entry] = known
    return _loaded[entry]


_loaded: Final[dict[Path, KernelFacts]] = {}
"""By what is read: of many trials each one asks for them again, several times."""


def _digest(files: KernelFiles) -> str:
    """SHA-256 of what the files are called and of their SHA-256. Raises OSError."""
    lines = [f"{sha256(file)} {os.fspath(file)}\n" for file in files.all]
    return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()


def learn(image: KernelImage, files: KernelFiles | None = None) -> KernelFacts:
    """The facts, from the files themselves. Raises what ``load`` raises."""
    if image.obstacle:
        raise InfraError(f"{image.path} does not boot: {image.obstacle}.")
    kernel = Kernel(image, files or KernelFiles(image.path))
    listed, types = kernel.symbols, kernel.types
    needs = NEEDS[image.arch]
    members, constants = types.value.look_up(
        dict.fromkeys(
            (
                *needs.members,
                *facts_check.MEMBERS,
                *lock_forms.MEMBERS,
                *irq_off.MEMBERS,
                *groups.all_members(),
            )
        ),
        dict.fromkeys((*needs.constants, *groups.all_constants())),
    )
    lock_forms.demand_count(members, f"{image.path} (Linux {image.release})")
    symbols = listed.value.with_more(_derive(needs.symbols, image, listed.value, types.value))
    facts_check.check(members, symbols, image, str(types))
    wanted = needs.symbols + needs.members + needs.constants
    return KernelFacts(
        files=kernel.files,
        boot_path=image.boot_path,
        arch=image.arch,
        release=image.release,
        build_id=image.build_id,
        symbols=symbols,
        members=members,
        constants=constants,
        functions=_functions(image, symbols, members),
        inlined=inlined.find(image, symbols, groups.all_calls()),
        missing=tuple(n for n in wanted if n not in {*symbols, *members, *constants}),
        symbols_from=str(listed),
        types_from=str(types),
    )


def _functions(
    image: KernelImage, symbols: SymbolTable, members: dict[str, Member]
) -> dict[str, Places]:
    """The places of what groups record: functions, and sections inside of functions."""
    found = exits.find(image, symbols, groups.all_functions())
    for section in groups.all_sections():
        name, host = section.function.name, found.get(section.within.name)
        if host and name not in found:
            end = symbols.next_after(host.entry)
            sites = irq_off.find(image, symbols, members, host.entry, end)
            # Several of both need not be one section; one end is what all beginnings come to.
            if sites.off and sites.on and 1 in (len(sites.off), len(sites.on)):
                found[name] = Places(sites.off[0], sites.on, (), sites.off[1:])
    return found


def read_btf(image: KernelImage, symbols: SymbolTable) -> Btf:
    """The kernel's BTF. Raises InfraError when it has none."""
    found = sources.find_btf(image, symbols)
    if found is None:
        raise InfraError(
            f"{image.path} carries no BTF, which says where structure members are; "
            "use a kernel built with CONFIG_DEBUG_INFO_BTF."
        )
    return found


def _derive(
    names: tuple[str, ...], image: KernelImage, symbols: SymbolTable, types: Types
) -> dict[str, int]:
    found = {
        name: FINDERS[name](image, symbols, types)
        for name in names
        if name not in symbols and name in FINDERS
    }
    return {name: va for name, va in found.items() if va is not None}


def _version() -> str:
    """Changes with the format and with what is looked up."""
    asked = (groups.all_members(), groups.all_constants(), groups.all_functions())
    calls = groups.all_calls()
    known = (_FORMAT, NEEDS, sorted(FINDERS), lock_forms.MEMBERS, *asked, calls)
    return hashlib.sha256(repr(known).encode()).hexdigest()[:8]


def _keep(entry: Path, facts: KernelFacts) -> None:
    """Cache the facts. A cache that cannot be written costs time, not correctness."""
    about = {
        "boot": str(facts.boot_path) if facts.boot_path != facts.path else "",
        "arch": facts.arch,
        "release": facts.release,
        "build_id": facts.build_id,
        "members": {name: [m.offset, m.size] for name, m in facts.members.items()},
        "constants": facts.constants,
        "functions": {n: [f.entry, f.returns, f.tails, f.also] for n, f in facts.functions.items()},
        "inlined": facts.inlined,
        "missing": facts.missing,
        "symbols_from": facts.symbols_from,
        "types_from": facts.types_from,
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


def _recall(entry: Path, files: KernelFiles) -> KernelFacts | None:
    """The cached facts of the files; None when there are none, or they are damaged."""
    try:
        with entry.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            about: dict[str, Any] = json.loads(kept["about"].tobytes())
            names = kept["names"].tobytes().decode().split("\n")
            symbols = SymbolTable(names, kept["vas"])
        boot = Path(about["boot"]) if about["boot"] else files.image
        if not boot.is_file():
            return None
        return KernelFacts(
            files=files,
            boot_path=boot,
            arch=about["arch"],
            release=about["release"],
            build_id=about["build_id"],
            symbols=symbols,
            members={name: Member(*where) for name, where in about["members"].items()},
            constants=about["constants"],
            functions={
                name: Places(entry, tuple(returns), tuple(tails), tuple(also))
                for name, (entry, returns, tails, also) in about["functions"].items()
            },
            inlined=about["inlined"],
            missing=tuple(about["missing"]),
            symbols_from=about["symbols_from"],
            types_from=about["types_from"],
        )
    except _UNREADABLE:
        return None
