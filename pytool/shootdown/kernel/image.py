"""Kernel images: the forms they come in, and their memory by virtual address."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel import image_elf, image_flat
from shootdown.kernel.cache import cache_root, sha256
from shootdown.kernel.image_unpack import unpack
from shootdown.kernel.symbols import SymbolTable

_BANNER: Final = re.compile(rb"Linux version (\S+) \(")
_MACHINES: Final = {62: "x86_64", 183: "arm64"}
"""Architecture by e_machine of an ELF kernel."""


@dataclass(frozen=True)
class Segment:
    """A stretch of the kernel's memory as the file holds it; ``.bss`` is in none."""

    va: int
    data: bytes = field(repr=False)

    @property
    def end(self) -> int:
        """VA of the first byte behind it."""
        return self.va + len(self.data)


@dataclass(frozen=True)
class KernelImage:
    """A kernel binary, decompressed."""

    path: Path
    """The file that was given."""
    boot_path: Path
    """The file for QEMU's ``-kernel``."""
    arch: str
    """Name of the architecture: an ``arch.base.Arch.name``."""
    segments: tuple[Segment, ...] = field(repr=False)
    symbols: SymbolTable | None = field(repr=False)
    """The file's own symbol table, when it is an unstripped ELF file."""
    release: str
    """What ``uname -r`` will say."""
    build_id: str
    """GNU build-id, hexadecimal; empty when the kernel has none."""

    def read(self, va: int, size: int) -> bytes:
        """``size`` bytes at ``va``. Raises InfraError when the file does not hold all of them."""
        for segment in self.segments:
            at = va - segment.va
            if at >= 0 and at + size <= len(segment.data):
                return segment.data[at : at + size]
        raise InfraError(f"{self.path} holds no {size} bytes at {va:#x}; the kernel image is odd.")

    def word(self, va: int) -> int:
        """The 64-bit word at ``va``. Raises InfraError when the file does not hold it."""
        return int.from_bytes(self.read(va, 8), "little")


@dataclass(frozen=True)
class _Opened:
    """A kernel in memory; ``boot`` is what QEMU boots when that is not the file itself."""

    arch: str
    segments: tuple[Segment, ...]
    symbols: SymbolTable | None = None
    boot: bytes | None = None


@dataclass(frozen=True)
class Format:
    """One form of kernel file: its name, how it is recognised, how it is opened."""

    name: str
    matches: Callable[[bytes], bool]
    open: Callable[[bytes, str], _Opened]


def load(path: Path, arch: str | None = None) -> KernelImage:
    """Open a kernel file of any form in ``FORMATS``.

    ``arch``: the architecture it has to be of. Raises InfraError when the file is missing, of
    another form or architecture, truncated, or carries no Linux banner.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InfraError(f"Cannot read the kernel {path}: {error.strerror}.") from None
    opened = _open(data, str(path))
    if arch is not None and opened.arch != arch:
        raise InfraError(f"{path} is a kernel for {opened.arch}, not for {arch}; give one for it.")
    parts = [segment.data for segment in opened.segments]
    return KernelImage(
        path=path,
        boot_path=path if opened.boot is None else _extracted(path, opened.boot),
        arch=opened.arch,
        segments=opened.segments,
        symbols=opened.symbols,
        release=_release(parts, str(path)),
        build_id=_build_id(parts),
    )


def _open(data: bytes, what: str) -> _Opened:
    for form in FORMATS:
        if form.matches(data):
            return form.open(data, what)
    known = ", ".join(form.name for form in FORMATS)
    raise InfraError(f"{what} is no kernel image of a known form; give one of: {known}.")


def _release(parts: Sequence[bytes], what: str) -> str:
    for part in parts:
        if match := _BANNER.search(part):
            return match[1].decode("ascii", "replace")
    raise InfraError(f"{what} holds no Linux banner, so it is no Linux kernel; give another file.")


def _build_id(parts: Sequence[bytes]) -> str:
    # vDSO images carry notes of their own; the linker script puts the kernel's behind .rodata.
    found = [note for part in parts for note in image_elf.build_ids(part)]
    return found[-1] if found else ""


def _extracted(path: Path, image: bytes) -> Path:
    """A file in the cache with the bytes of ``image``, named after the file it came from."""
    target = cache_root() / "images" / f"{sha256(path)}.Image"
    try:
        if not (target.is_file() and target.stat().st_size == len(image)):
            target.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=target.parent, delete=False) as file:
                file.write(image)
            Path(file.name).replace(target)
    except OSError as error:
        raise InfraError(f"Cannot write the unpacked kernel {target}: {error.strerror}.") from None
    return target


def _is_bzimage(data: bytes) -> bool:
    return data[0x1FE:0x200] == b"\x55\xaa" and data[0x202:0x206] == b"HdrS"


def _open_bzimage(data: bytes, what: str) -> _Opened:
    """Documentation/arch/x86/boot.rst: setup_sects, syssize, payload_offset, payload_length."""
    header = data.ljust(0x250, b"\0")
    setup = ((header[0x1F1] or 4) + 1) * 512
    (paragraphs,) = struct.unpack_from("<I", header, 0x1F4)
    offset, length = struct.unpack_from("<II", header, 0x248)
    payload = data[setup + offset : setup + offset + length]
    if length == 0 or len(payload) < length or len(data) < setup + 16 * paragraphs:
        raise InfraError(f"{what} is a truncated bzImage; fetch or build it again.")
    vmlinux = unpack(payload, what, sized=True)
    if not vmlinux.startswith(image_elf.MAGIC):
        raise InfraError(f"{what} is a bzImage without an ELF kernel inside; give another one.")
    return _open_elf(vmlinux, what)


def _open_elf(data: bytes, what: str) -> _Opened:
    elf = image_elf.parse(data, what)
    if elf.machine not in _MACHINES:
        raise InfraError(
            f"{what} is an ELF file for machine {elf.machine}; give one for x86-64 or arm64."
        )
    segments = tuple(Segment(va, part) for va, part in elf.segments)
    arch = _MACHINES[elf.machine]
    return _Opened(arch, segments, elf.symbols, _BOOT_FROM_ELF[arch](segments))


def _flatten(segments: tuple[Segment, ...]) -> bytes:
    """The segments as they lie in memory, from the first to the last: what objcopy would write."""
    start = min(segment.va for segment in segments)
    memory = bytearray(max(segment.end for segment in segments) - start)
    for segment in segments:
        memory[segment.va - start : segment.va - start + len(segment.data)] = segment.data
    return bytes(memory)


_BOOT_FROM_ELF: Final[dict[str, Callable[[tuple[Segment, ...]], bytes | None]]] = {
    # QEMU boots the ELF file itself (CONFIG_PVH).
    "x86_64": lambda _: None,
    # The ELF file's physical addresses are virtual ones; only the flat form boots.
    "arm64": _flatten,
}


def _is_flat(data: bytes) -> bool:
    return data[image_flat.MAGIC_AT : image_flat.MAGIC_AT + 4] == image_flat.MAGIC


def _open_flat(data: bytes, what: str) -> _Opened:
    image_flat.check_whole(data, what)
    base, placed = image_flat.place(data, what)
    return _Opened("arm64", (Segment(base, placed),))


def _reopen(data: bytes, what: str) -> _Opened:
    """Open the flat Image that was packed inside a file; QEMU gets the unpacked one."""
    if not _is_flat(data):
        raise InfraError(f"{what} holds no arm64 Image; give another kernel file.")
    opened = _open_flat(data, what)
    return _Opened(opened.arch, opened.segments, opened.symbols, data)


def _open_zboot(data: bytes, what: str) -> _Opened:
    """drivers/firmware/efi/libstub/zboot-header.S: payload offset and size at 8."""
    offset, size = struct.unpack_from("<II", data.ljust(16, b"\0"), 8)
    payload = data[offset : offset + size]
    if not size or len(payload) < size:
        raise InfraError(f"{what} is a truncated EFI zboot image; fetch or build it again.")
    return _reopen(unpack(payload, what, sized=False), what)


FORMATS: Final = (
    Format("x86 bzImage", _is_bzimage, _open_bzimage),
    Format("ELF vmlinux", lambda data: data.startswith(image_elf.MAGIC), _open_elf),
    Format("arm64 Image", _is_flat, _open_flat),
    Format(
        "gzip'd arm64 Image",
        lambda data: data.startswith(b"\x1f\x8b"),
        lambda data, what: _reopen(unpack(data, what, sized=False), what),
    ),
    Format(
        "EFI zboot image",
        lambda data: data[:2] == b"MZ" and data[4:8] == b"zimg",
        _open_zboot,
    ),
)
