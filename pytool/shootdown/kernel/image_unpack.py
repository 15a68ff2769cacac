"""Decompression of kernel payloads: the standard library where it can, else the usual program."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from shootdown.errors import InfraError


@dataclass(frozen=True)
class Compression:
    """One compression format: its name, the bytes it starts with, and how to undo it."""

    name: str
    magic: bytes
    unpack: Callable[[bytes], bytes]


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _whole(stream: _Decompressor, data: bytes) -> bytes:
    """All of one stream, whatever padding the image appends. EOFError when its end is missing."""
    plain = stream.decompress(data)
    if not stream.eof:
        raise EOFError
    return plain


def _gzip(data: bytes) -> bytes:
    return _whole(zlib.decompressobj(wbits=31), data)


def _lzma(data: bytes) -> bytes:
    return _whole(lzma.LZMADecompressor(), data)


def _bzip2(data: bytes) -> bytes:
    return _whole(bz2.BZ2Decompressor(), data)


def _program(name: str) -> Callable[[bytes], bytes]:
    """Decompress with ``NAME -dc``. The Debian package is called like the program."""

    def run(data: bytes) -> bytes:
        path = shutil.which(name)
        if path is None:
            raise InfraError(
                f"The kernel is compressed with {name} and the program is missing; "
                f"install it with 'apt install {name}'."
            )
        done = subprocess.run([path, "-dc"], input=data, capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise OSError(said[-1] if said else f"exit status {done.returncode}")
        return done.stdout

    return run


COMPRESSIONS: Final = (
    Compression("gzip", b"\x1f\x8b", _gzip),
    Compression("xz", b"\xfd7zXZ\0", _lzma),
    Compression("lzma", b"\x5d\0\0", _lzma),
    Compression("bzip2", b"BZh", _bzip2),
    Compression("zstd", b"\x28\xb5\x2f\xfd", _program("zstd")),
    Compression("lz4", b"\x02\x21\x4c\x18", _program("lz4")),
    Compression("lz4", b"\x04\x22\x4d\x18", _program("lz4")),
    Compression("lzo", b"\x89LZO\0\r\n\x1a\n", _program("lzop")),
)

_SAMPLE: Final = 1 << 16
_BROKEN: Final = (OSError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError)


def kind_of(data: bytes) -> Compression | None:
    """How ``data`` is compressed; None when it is in no way known here."""
    return next((kind for kind in COMPRESSIONS if data.startswith(kind.magic)), None)


def looks_random(data: bytes) -> bool:
    """Whether the bytes are as evenly spread as those of encrypted or compressed data.

    Of machine code or text, which have favourites, a third of the values are rare.
    """
    sample = np.frombuffer(data[-_SAMPLE:], np.uint8)
    if len(sample) < _SAMPLE:
        return False
    counts = np.bincount(sample, minlength=256)
    even = _SAMPLE // 256
    return bool(counts.min() > even / 2 and counts.max() < even * 2)


def hint(data: bytes) -> str:
    """What to add to a complaint about ``data`` that nothing is known of; most often nothing."""
    return ": it looks encrypted" if looks_random(data) else ""


def unpack(data: bytes, what: str, *, sized: bool) -> bytes:
    """The decompressed ``data``; ``what`` names it in errors.

    ``sized``: the build appended the decompressed size as four bytes, little endian
    (``scripts/Makefile.lib: size_append``; formats but gzip, which ends with it anyway).
    Raises InfraError when the format is unknown, its program is missing or the data is broken.
    """
    kind = kind_of(data)
    if kind is None:
        how = "encrypted, or compressed in an unknown way" if looks_random(data) else "damaged"
        raise InfraError(
            f"{what} is {how} (its payload starts with {data[:4].hex()}); use one of "
            f"{', '.join(dict.fromkeys(c.name for c in COMPRESSIONS))}."
        )
    appended = sized and kind.name != "gzip"
    try:
        plain = kind.unpack(data[:-4] if appended else data)
    except EOFError:
        plain = b""
    except _BROKEN as error:
        raise InfraError(
            f"{what} cannot be decompressed ({kind.name}: {error}); fetch the file again."
        ) from None
    if not plain or (appended and len(plain) != int.from_bytes(data[-4:], "little")):
        raise InfraError(f"{what} is truncated ({kind.name} data ends early); fetch it again.")
    return plain
