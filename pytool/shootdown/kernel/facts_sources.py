"""Where a kernel's symbols and types can come from, in the order of preference.

A source that a kernel does not have is passed over. One that speaks of another kernel is an error:
nothing is guessed, and nothing contradictory is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Generic, TypeVar

from shootdown.errors import InfraError
from shootdown.kernel import image as images
from shootdown.kernel import kallsyms, symbols
from shootdown.kernel.btf import MAGIC, Btf
from shootdown.kernel.dwarf import Dwarf
from shootdown.kernel.image import KernelImage
from shootdown.kernel.image_elf import FileContent
from shootdown.kernel.symbols import SymbolTable
from shootdown.kernel.tree import KernelFiles

ASK: Final = "`shootdown fetch --boot` boots the kernel once and reads its /proc/kallsyms"
T = TypeVar("T")
Types = Btf | Dwarf
"""The layouts of structures: both have ``look_up``, ``member``, ``has``, ``size`` and ``enum``."""


@dataclass(frozen=True)
class Finding(Generic[T]):
    """What became of one source."""

    source: str
    value: T
    note: str
    """What was found where, or why there is nothing."""
    wrong: bool = False
    """Whether there is something that cannot be used."""

    def __str__(self) -> str:
        return f"{self.source}, {self.note}"


@dataclass(frozen=True)
class Source(Generic[T]):
    """One place that something may come from."""

    name: str
    look: Callable[[Kernel], tuple[T | None, str]]
    """What it gives, and a note: what was found where, or why there is nothing.

    Raises InfraError when what is there is damaged or of another kernel.
    """


@dataclass(frozen=True)
class Kernel:
    """A kernel's files, opened as they are needed."""

    image: KernelImage
    """What boots."""
    files: KernelFiles

    @cached_property
    def vmlinux(self) -> KernelImage | None:
        """The ELF file. Raises InfraError when it is of another kernel than the image."""
        path = self.files.vmlinux
        if path is None or path == self.image.path:
            return self.image if path else None
        found = images.load(path)
        if difference := _difference(self.image, found):
            raise InfraError(
                f"{path} and {self.image.path} are of different kernels ({difference}); "
                "build both again, or move away the one that is not meant."
            )
        return found

    @cached_property
    def symbols(self) -> Finding[SymbolTable]:
        """The first source of symbols. Raises InfraError when there is none, or it is wrong."""
        return _first(
            SYMBOLS,
            self,
            f"{self.image.path} carries no symbol table; use a kernel built with CONFIG_KALLSYMS, "
            f"or put its vmlinux or its System.map beside it. {ASK}, where there is one.",
        )

    @cached_property
    def types(self) -> Finding[Types]:
        """The first source of types. Raises InfraError when there is none, or it is wrong."""
        return _first(
            TYPES,
            self,
            f"{self.image.path} carries no BTF, which says where structure members are; use a "
            "kernel built with CONFIG_DEBUG_INFO_BTF, or put its vmlinux with DWARF beside it.",
        )


def _difference(one: KernelImage, other: KernelImage) -> str:
    """What tells two images' kernels apart; empty when nothing does."""
    for what, first, second in (
        ("architecture", one.arch, other.arch),
        ("release", one.release, other.release),
        ("build-id", one.build_id, other.build_id),
        ("banner", one.banner, other.banner),
    ):
        if first and second and first != second:
            return f"{what} {second} and {first}"
    return ""


def _first(sources: Sequence[Source[T]], kernel: Kernel, none: str) -> Finding[T]:
    """What the first source that has it gives; ``none`` is the complaint if no source has."""
    for source in sources:
        value, note = source.look(kernel)
        if value is not None:
            return Finding(source.name, value, note)
    raise InfraError(none)


def survey(sources: Sequence[Source[T]], kernel: Kernel) -> Iterator[Finding[T | None]]:
    """Every source, whether or not it is needed."""
    for source in sources:
        try:
            value, note = source.look(kernel)
            yield Finding(source.name, value, note)
        except InfraError as error:
            yield Finding(source.name, None, str(error), wrong=True)


def _elf_symbols(kernel: Kernel) -> tuple[SymbolTable | None, str]:
    vmlinux = kernel.vmlinux
    if vmlinux is None:
        return None, "no vmlinux"
    if vmlinux.symbols is None:
        return None, f"{vmlinux.path} is stripped"
    _demand(vmlinux.symbols, kernel.image, str(vmlinux.path))
    return vmlinux.symbols, f"{vmlinux.path}, {len(vmlinux.symbols.names)} symbols"


def _system_map(kernel: Kernel) -> tuple[SymbolTable | None, str]:
    path = kernel.files.system_map
    return _map(kernel, path) if path else (None, "none beside the image")


def _map(kernel: Kernel, path: Path) -> tuple[SymbolTable | None, str]:
    try:
        found = symbols.read_map(path.read_bytes(), str(path))
    except OSError as error:
        raise InfraError(f"Cannot read {path}: {error.strerror}.") from None
    if found is None:
        return None, f"{path} lists no symbols"
    _demand(found, kernel.image, str(path))
    return found, f"{path}, {len(found.names)} symbols"


def _demand(table: SymbolTable, image: KernelImage, what: str) -> None:
    if not kallsyms.agrees(table, image):
        raise InfraError(
            f"The symbols of {what} disagree with the text of {image.path}; "
            "they are of another kernel: build both again, or move the file away."
        )


def _kallsyms(kernel: Kernel) -> tuple[SymbolTable | None, str]:
    found = kallsyms.read_tables(kernel.image)
    if found is None:
        return None, "none; it was built without CONFIG_KALLSYMS"
    return found, f"{kernel.image.path}, {len(found.names)} symbols"


def _proc_kallsyms(kernel: Kernel) -> tuple[SymbolTable | None, str]:
    # Events are asked for by address before the guest boots: the one that told was another.
    path = kernel.files.asked
    return _map(kernel, path) if path else (None, f"not asked yet: {ASK}")


def _btf(kernel: Kernel) -> tuple[Btf | None, str]:
    image = kernel.image
    try:
        table = kernel.symbols.value
    except InfraError:
        table = None
    found = find_btf(image, table)
    if found is not None:
        return found, str(image.path)
    vmlinux = kernel.vmlinux
    if vmlinux is None or ".BTF" not in vmlinux.sections:
        return None, "none; it was built without CONFIG_DEBUG_INFO_BTF"
    start, size = vmlinux.sections[".BTF"]
    return Btf(FileContent(vmlinux.path)[start : start + size]), f"{vmlinux.path}, section .BTF"


def find_btf(image: KernelImage, table: SymbolTable | None) -> Btf | None:
    """BTF between ``__start_BTF`` and ``__stop_BTF``, else found by its header.

    Raises InfraError when it is damaged.
    """
    header = MAGIC.to_bytes(2, "little") + bytes((1, 0, 24, 0, 0, 0))
    if table and "__start_BTF" in table and "__stop_BTF" in table:
        start = table["__start_BTF"]
        blob = image.read(start, max(0, table["__stop_BTF"] - start))
        if blob.startswith(header[:2]):
            return Btf(blob)
    for segment in image.segments:
        at = segment.data.find(header)
        if at >= 0:
            return Btf(segment.data[at:])
    return None


def _dwarf(kernel: Kernel) -> tuple[Dwarf | None, str]:
    vmlinux = kernel.vmlinux
    if vmlinux is None:
        return None, "no vmlinux"
    if ".debug_info" not in vmlinux.sections:
        return None, f"none in {vmlinux.path}; it was built without CONFIG_DEBUG_INFO"
    return Dwarf(vmlinux.path), f"{vmlinux.path}, section .debug_info"


SYMBOLS: Final[tuple[Source[SymbolTable], ...]] = (
    Source("ELF symbol table", _elf_symbols),
    Source("System.map", _system_map),
    Source("kallsyms in the image", _kallsyms),
    Source("/proc/kallsyms", _proc_kallsyms),
)
TYPES: Final[tuple[Source[Types], ...]] = (Source("BTF", _btf), Source("DWARF", _dwarf))
