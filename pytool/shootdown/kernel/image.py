"""Kernel images: the forms they come in, and their memory by virtual address."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel import image_elf, image_flat
from shootdown.kernel.cache import cache_root, sha256
from shootdown.kernel.image_elf import Content, Elf, FileContent
from shootdown.kernel.image_unpack import hint, kind_of, unpack
from shootdown.kernel.symbols import SymbolTable

_BANNER: Final = re.compile(rb"Linux version \S+ \([^\0]{,500}")
_HEAD_BYTES: Final = 4096
_SAMPLE: Final = 1 << 20
_LARGEST: Final = 1 << 30
"""Bytes from a kernel's first to its last."""
_HAS_XLOADFLAGS: Final = 0x020C
"""Version of the boot protocol."""
_XLF_KERNEL_64: Final = 1
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
    form: str
    """Name of its form, and how it is compressed."""
    arch: str
    """Name of the architecture: an ``arch.base.Arch.name``."""
    segments: tuple[Segment, ...] = field(repr=False)
    symbols: SymbolTable | None = field(repr=False)
    """The file's own symbol table, when it is an unstripped ELF file."""
    banner: str
    """``linux_banner``: release, compiler, and when it was built."""
    build_id: str
    """GNU build-id, hexadecimal; empty when the kernel has none."""
    obstacle: str = ""
    """Why QEMU cannot boot the file; empty when it can."""
    sections: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """Of an ELF file: offset in the file and bytes of each section with content, by name."""

    @property
    def release(self) -> str:
        """What ``uname -r`` will say."""
        return self.banner.split()[2]

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
    packed: str = ""
    """How the kernel is compressed in the file."""
    obstacle: str = ""
    sections: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """One form of kernel file: its name, how it is recognised, how it is opened."""

    name: str
    matches: Callable[[bytes], bool]
    """Whether a file that begins with these 4 KiB is of this form."""
    open: Callable[[Content, str], _Opened]


def load(path: Path, arch: str | None = None) -> KernelImage:
    """Open a kernel file of any form in ``FORMATS``.

    ``arch``: the architecture it has to be of. Raises InfraError when the file is missing, of
    another form or architecture, truncated, or carries no Linux banner.
    """
    try:
        data = FileContent(path)
        form = _form_of(data, str(path))
        opened = form.open(data, str(path))
    except OSError as error:
        raise InfraError(f"Cannot read the kernel {path}: {error.strerror}.") from None
    if arch is not None and opened.arch != arch:
        raise InfraError(f"{path} is a kernel for {opened.arch}, not for {arch}; give one for it.")
    parts = [segment.data for segment in opened.segments]
    return KernelImage(
        path=path,
        boot_path=path if opened.boot is None else _extracted(path, opened.boot),
        form=", ".join(filter(None, (form.name, opened.packed))),
        arch=opened.arch,
        segments=opened.segments,
        symbols=opened.symbols,
        banner=_banner(parts, str(path)),
        build_id=_build_id(parts),
        obstacle=opened.obstacle,
        sections=opened.sections,
    )


def _form_of(data: Content, what: str) -> Format:
    head = data[:_HEAD_BYTES]
    for form in FORMATS:
        if form.matches(head):
            return form
    for name, matches in _REFUSED:
        if matches(head):
            raise InfraError(f"{what} is {name}; give a kernel for x86-64 or arm64.")
    known = ", ".join(form.name for form in FORMATS)
    looks = hint(data[:_SAMPLE])
    raise InfraError(f"{what} is no kernel image of a known form{looks}; give one of: {known}.")


def _banner(parts: Sequence[bytes], what: str) -> str:
    for part in parts:
        if match := _BANNER.search(part):
            return match[0].decode("ascii", "replace").rstrip()
    looks = hint(max(parts, key=len)[:_SAMPLE])
    raise InfraError(
        f"{what} holds no Linux banner, so it is no Linux kernel{looks}; give another."
    )


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


def _open_bzimage(content: Content, what: str) -> _Opened:
    """Documentation/arch/x86/boot.rst: setup_sects, syssize, payload_offset, payload_length."""
    data = content[: len(content)]
    header = data.ljust(0x250, b"\0")
    (version,) = struct.unpack_from("<H", header, 0x206)
    if version >= _HAS_XLOADFLAGS and not header[0x236] & _XLF_KERNEL_64:
        raise InfraError(f"{what} is a bzImage for 32-bit x86; give a kernel for x86-64 or arm64.")
    setup = ((header[0x1F1] or 4) + 1) * 512
    (paragraphs,) = struct.unpack_from("<I", header, 0x1F4)
    offset, length = struct.unpack_from("<II", header, 0x248)
    payload = data[setup + offset : setup + offset + length]
    if length == 0 or len(payload) < length or len(data) < setup + 16 * paragraphs:
        raise InfraError(f"{what} is a truncated bzImage; fetch or build it again.")
    vmlinux = unpack(payload, what, sized=True)
    if not vmlinux.startswith(image_elf.MAGIC):
        raise InfraError(f"{what} is a bzImage without an ELF kernel inside; give another one.")
    inside = _open_elf(vmlinux, what)
    return _Opened(inside.arch, inside.segments, inside.symbols, packed=_compression(payload))


def _open_elf(data: Content, what: str) -> _Opened:
    elf = image_elf.parse(data, what)
    if elf.machine not in _MACHINES:
        raise InfraError(
            f"{what} is an ELF file for machine {elf.machine}; give one for x86-64 or arm64."
        )
    return replace(_FROM_ELF[_MACHINES[elf.machine]](elf, what), sections=elf.sections)


def _x86_64_elf(elf: Elf, _: str) -> _Opened:
    """QEMU boots the ELF file itself."""
    segments = tuple(Segment(va, part) for va, part in elf.segments)
    obstacle = "" if elf.pvh else "QEMU boots a vmlinux only with CONFIG_PVH: give its bzImage"
    return _Opened("x86_64", segments, elf.symbols, obstacle=obstacle)


def _arm64_elf(elf: Elf, what: str) -> _Opened:
    """The ELF file's physical addresses are virtual ones; only the flat form boots."""
    base = min(va for va, _ in elf.segments)
    span = max(va + len(part) for va, part in elf.segments) - base
    if span > _LARGEST:
        raise InfraError(f"{what} spreads over {span:#x} bytes of addresses; it is no kernel.")
    memory = bytearray(span)
    for va, part in elf.segments:
        memory[va - base : va - base + len(part)] = part
    flat = bytes(memory)
    if _is_flat(flat):  # an ELF file begins with the header of its Image
        image_flat.check_kind(flat, what)
    placed = Segment(base, image_flat.relocate(flat, base))
    return _Opened("arm64", (placed,), elf.symbols, flat)


_FROM_ELF: Final = {"x86_64": _x86_64_elf, "arm64": _arm64_elf}


def _is_flat(data: bytes) -> bool:
    return data[image_flat.MAGIC_AT : image_flat.MAGIC_AT + 4] == image_flat.MAGIC


def _open_flat(content: Content, what: str) -> _Opened:
    data = content[: len(content)]
    image_flat.check_whole(data, what)
    base, placed = image_flat.place(data, what)
    return _Opened("arm64", (Segment(base, placed),))


def _unpacked(payload: bytes, what: str) -> _Opened:
    """Open the flat Image that was packed inside a file; QEMU gets the unpacked one."""
    data = unpack(payload, what, sized=False)
    if not _is_flat(data):
        raise InfraError(f"{what} holds no arm64 Image; give another kernel file.")
    opened = _open_flat(data, what)
    return replace(opened, boot=data, packed=_compression(payload))


def _compression(payload: bytes) -> str:
    kind = kind_of(payload)
    return kind.name if kind else ""


def _open_zboot(content: Content, what: str) -> _Opened:
    """drivers/firmware/efi/libstub/zboot-header.S: payload offset and size at 8."""
    data = content[: len(content)]
    offset, size = struct.unpack_from("<II", data.ljust(16, b"\0"), 8)
    payload = data[offset : offset + size]
    if not size or len(payload) < size:
        raise InfraError(f"{what} is a truncated EFI zboot image; fetch or build it again.")
    return _unpacked(payload, what)


FORMATS: Final = (
    Format("x86 bzImage", _is_bzimage, _open_bzimage),
    Format("ELF vmlinux", lambda head: head.startswith(image_elf.MAGIC), _open_elf),
    Format("arm64 Image", _is_flat, _open_flat),
    Format(
        "compressed arm64 Image",
        lambda head: kind_of(head) is not None,
        lambda data, what: _unpacked(data[: len(data)], what),
    ),
    Format(
        "EFI zboot image",
        lambda head: head[:2] == b"MZ" and head[4:8] == b"zimg",
        _open_zboot,
    ),
)

_REFUSED: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    ("a zImage for 32-bit arm", lambda head: head[0x24:0x28] == b"\x18\x28\x6f\x01"),
    ("a zImage for big-endian arm", lambda head: head[0x24:0x28] == b"\x01\x6f\x28\x18"),
    ("a U-Boot image", lambda head: head[:4] == b"\x27\x05\x19\x56"),
)
"""Kernels that are none of ours, by what they begin with."""
