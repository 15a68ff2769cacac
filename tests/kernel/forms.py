"""One kernel in every form that users have: made from Debian's by packing it again."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from shootdown import arch
from shootdown.kernel import debian, facts
from shootdown.kernel.btf import Member
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.image import KernelImage
from shootdown.kernel.image_unpack import unpack
from shootdown.kernel.symbols import SymbolTable

_CACHE: Final = cache_root()
"""Of everybody, whatever tests set for themselves."""


def stock(name: str, spec: str = debian.DEFAULT) -> KernelFacts:
    """One of Debian's kernels, for the architecture of that name."""
    return facts.load(debian.resolve(spec, arch.get(name), _CACHE).path, _CACHE)


def _program(*words: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        return subprocess.run([*words, "-c"], input=data, capture_output=True, check=True).stdout

    return pack


PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=0),
    "zstd": _program("zstd", "-1"),
    "lz4": _program("lz4", "-l", "-1"),
    "lzo": _program("lzop", "-1"),
}
"""Quick ways to write what the kernel's build writes, by the name of the compression."""


def _payload(bzimage: bytes) -> tuple[int, int]:
    """Offset and bytes of the packed kernel (Documentation/arch/x86/boot.rst)."""
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    return (bzimage[0x1F1] + 1) * 512 + offset, length


def inside(bzimage: bytes) -> bytes:
    """The ELF file, and the relocations behind it, that a bzImage unpacks."""
    start, length = _payload(bzimage)
    return unpack(bzimage[start : start + length], "the kernel", sized=True)


def repacked(bzimage: bytes, packing: str, plain: bytes) -> bytes:
    """The bzImage with ``plain`` inside. It loads but does not boot: its own code unpacks it."""
    payload = PACKERS[packing](plain)
    if packing != "gzip":
        payload += struct.pack("<I", len(plain))
    start, length = _payload(bzimage)
    made = bytearray(bzimage[:start] + payload + bzimage[start + length :])
    made += bytes(-len(made) % 16)
    struct.pack_into("<I", made, 0x24C, len(payload))
    struct.pack_into("<I", made, 0x1F4, (len(made) - (made[0x1F1] + 1) * 512) // 16)
    return bytes(made)


def zboot(packing: str, plain: bytes) -> bytes:
    """An EFI zboot image, without the program that would unpack it."""
    payload = PACKERS[packing](plain)
    header = b"MZ\0\0zimg" + struct.pack("<II", 64, len(payload)) + bytes(8) + packing.encode()
    return header.ljust(64, b"\0") + payload


def without(data: bytes, image: KernelImage, va: int, size: int) -> bytes:
    """The file with the ``size`` bytes of the kernel's memory at ``va`` zeroed, which it holds."""
    content = image.read(va, size)
    assert data.count(content) == 1
    return data.replace(content, bytes(size))


def system_map(symbols: SymbolTable) -> str:
    """The symbols as ``nm`` lists them."""
    pairs = zip(symbols.names, symbols.vas.tolist(), strict=True)
    return "".join(f"{va:016x} T {name}\n" for name, va in pairs)


def vmlinux(
    made: Path, image: KernelImage, symbols: SymbolTable, types: Path | None = None
) -> Path:
    """An ELF file with the image's memory, a symbol table, and the DWARF of the object ``types``.

    Written to ``made`` by the assembler and the linker.
    """
    place, script, source = made.parent, [], []
    for number, segment in enumerate(image.segments):
        (place / f"segment{number}").write_bytes(segment.data)
        source.append(f'.section .part{number}, "awx"\n.incbin "segment{number}"')
        script.append(f".part{number} {segment.va:#x} : {{ *(.part{number}) }}")
    seen: dict[str, int] = {}
    for name, va in zip(symbols.names, symbols.vas.tolist(), strict=True):
        seen[name] = seen.get(name, -1) + 1
        again = f".again.{seen[name]}" if seen[name] else ""
        source.append(f'.set "{name}{again}", {va:#x}')
    (place / "kernel.s").write_text("\n".join(source) + "\n")
    bss = ".types 0x40000000 (NOLOAD) : { *(.bss) *(.data) *(COMMON) }"
    (place / "kernel.lds").write_text("SECTIONS {\n" + "\n".join([*script, bss]) + "\n}\n")
    prefix = arch.get(image.arch).machine.compiler.removesuffix("gcc")
    run(place, f"{prefix}as", "-o", "kernel.o", "kernel.s")
    objects = ["kernel.o", *([str(types)] if types else [])]
    run(place, f"{prefix}ld", "-T", "kernel.lds", "-e", "0", "-o", made.name, *objects)
    return made


def run(place: Path, *words: str) -> None:
    """Run a program in ``place`` that has to succeed."""
    subprocess.run(words, cwd=place, check=True, capture_output=True)


def declarations(members: Mapping[str, Member], constants: Mapping[str, int]) -> str:
    """C source whose structures have these members, at their offsets and in their sizes."""
    tree: dict[str, Any] = {}
    for path, member in members.items():
        node = tree
        for name in path.split("."):
            node = node.setdefault(name, {})
        node[""] = member
    lines = [
        f"struct {name} {{ union {{ {_whole(node)}{_union(node, 0)} }}; }} a_{name};"
        for name, node in tree.items()
    ]
    enums: dict[str, list[str]] = {}
    for path, value in constants.items():
        enum, _, name = path.partition(".")
        enums.setdefault(enum, []).append(f"{name} = {value}")
    lines += [f"enum {name} {{ {', '.join(v)} }} a_{name};" for name, v in enums.items()]
    return "\n".join(lines) + "\n"


def _whole(node: dict[str, Any]) -> str:
    """What gives a structure the size that was asked for."""
    return f"char whole_of_it[{node[''].size}]; " if "" in node else ""


def _union(node: dict[str, Any], base: int) -> str:
    """Members that lie where they please, each in a structure of its own."""
    parts = []
    for name, inner in node.items():
        if not name:
            continue
        first = min(_members(inner), key=lambda member: member.offset).offset
        pad = f"char pad_{name}[{first - base}]; " if first > base else ""
        leaf = isinstance(inner.get(""), Member) and len(inner) == 1
        kind = (
            f"char {name}[{inner[''].size}]"
            if leaf
            else f"struct {{ {_union(inner, first)} }} {name}"
        )
        parts.append(f"struct {{ {pad}{kind}; }};")
    return f"union {{ {' '.join(parts)} }};"


def _members(node: dict[str, Any]) -> list[Member]:
    found = [node[""]] if "" in node else []
    for name, inner in node.items():
        if name:
            found += _members(inner)
    return found
