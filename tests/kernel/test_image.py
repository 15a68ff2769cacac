"""Kernel files of every form, whole and broken."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shootdown import arch
from shootdown.arch.base import Arch
from shootdown.errors import InfraError
from shootdown.kernel.image import KernelImage, load
from tests.kernel import forms, synthetic

WHOLE = synthetic.image()
KERNEL = """
const char linux_banner[] = "Linux version 6.99-elf (nobody) #1";
char big[100000];
void _start(void) { for (;;); }
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpacked kernels go to a place of the test's own."""
    monkeypatch.setenv("SHOOTDOWN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "kernel"
    path.write_bytes(data)
    return path


def zboot(payload: bytes) -> bytes:
    header = b"MZ\0\0zimg" + struct.pack("<II", 64, len(payload)) + bytes(8) + b"any\0"
    return header.ljust(64, b"\0") + payload


def bzimage(payload: bytes) -> bytes:
    head = bytearray(2 * 512)
    head[0x1F1] = 1
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    head[0x248:0x250] = struct.pack("<II", 16, len(payload))
    return bytes(head) + bytes(16) + payload


def sized(packed: bytes, plain: bytes) -> bytes:
    return packed + struct.pack("<I", len(plain))


def program(name: str, *flags: str) -> bytes:
    """A compressor that only exists as a program."""
    done = subprocess.run([name, *flags, "-c"], input=WHOLE, capture_output=True, check=True)
    return done.stdout


@pytest.fixture
def vmlinux(tmp_path: Path) -> dict[str, Path]:
    """An ELF file with a banner, for each architecture."""
    made = {}
    (tmp_path / "k.c").write_text(KERNEL)
    for name in arch.names():
        made[name] = tmp_path / f"vmlinux-{name}"
        compiler = arch.get(name).machine.compiler
        flags = ["-nostdlib", "-static", "-fno-pie", "-no-pie", "-Wl,--build-id"]
        flags += ["-Wl,-z,max-page-size=4096", "-Wl,-Ttext-segment=0x10000000"]
        source = str(tmp_path / "k.c")
        subprocess.run([compiler, *flags, "-o", str(made[name]), source], check=True)
    return made


def test_real_kernels(kernel: tuple[Arch, Path], image: KernelImage) -> None:
    which, path = kernel
    assert (image.arch, image.release, image.path) == (which.name, path.parent.name, path)
    assert image.boot_path == path
    assert len(bytes.fromhex(image.build_id)) == 20
    with pytest.raises(InfraError, match="the kernel image is odd"):
        image.read(1 << 40, 8)


def test_real_kernels_are_refused_truncated(kernel: tuple[Arch, Path], tmp_path: Path) -> None:
    data = kernel[1].read_bytes()
    for size in (0, 100, len(data) // 3, len(data) - 70_000):
        with pytest.raises(InfraError, match=r"truncated|no kernel image"):
            load(put(tmp_path, data[:size]))


def test_the_wrong_architecture(kernel: tuple[Arch, Path]) -> None:
    which, path = kernel
    for name in set(arch.names()) - {which.name}:
        with pytest.raises(InfraError, match=f"is a kernel for {which.name}, not for {name}"):
            load(path, name)


def test_flat_image(tmp_path: Path) -> None:
    found = load(put(tmp_path, WHOLE))
    assert (found.arch, found.release, found.build_id) == ("arm64", "6.99-synthetic", "")
    assert found.boot_path == found.path
    assert found.read(synthetic.BASE, len(WHOLE)) == WHOLE
    assert found.word(synthetic.BASE + 16) == 0x40_0000


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(WHOLE),
        zboot(gzip.compress(WHOLE)),
        zboot(lzma.compress(WHOLE)),
        zboot(lzma.compress(WHOLE, format=lzma.FORMAT_ALONE)),
        zboot(bz2.compress(WHOLE)),
        zboot(program("zstd")),
        zboot(program("lz4", "-l")),
    ],
    ids=["gz", "zboot-gzip", "zboot-xz", "zboot-lzma", "zboot-bzip2", "zboot-zstd", "zboot-lz4"],
)
def test_packed_images(packed: bytes, tmp_path: Path, cache: Path) -> None:
    found = load(put(tmp_path, packed))
    assert found.read(synthetic.BASE, len(WHOLE)) == WHOLE
    assert found.boot_path.read_bytes() == WHOLE
    assert found.boot_path.is_relative_to(cache)
    assert load(found.path).boot_path == found.boot_path


def test_unwritable_cache(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where a directory should be")
    with pytest.raises(InfraError, match="Cannot write the unpacked kernel"):
        load(put(tmp_path, gzip.compress(WHOLE)))


def test_elf(vmlinux: dict[str, Path]) -> None:
    for name, path in vmlinux.items():
        found = load(path)
        assert (found.arch, found.release) == (name, "6.99-elf")
        assert len(found.build_id) == 40
        assert found.symbols is not None
        assert found.read(found.symbols["linux_banner"], 5) == b"Linux"
    assert load(vmlinux["x86_64"]).boot_path == vmlinux["x86_64"]
    flat = load(vmlinux["arm64"])
    content = flat.boot_path.read_bytes()
    first = min(segment.va for segment in flat.segments)
    assert flat.symbols is not None
    assert content[flat.symbols["linux_banner"] - first :].startswith(b"Linux version 6.99-elf")


def test_bzimage(vmlinux: dict[str, Path], tmp_path: Path) -> None:
    inner = vmlinux["x86_64"].read_bytes()
    for packed in (gzip.compress(inner), sized(lzma.compress(inner), inner)):
        found = load(put(tmp_path, bzimage(packed)))
        assert (found.arch, found.release) == ("x86_64", "6.99-elf")
        assert found.boot_path == found.path


def test_a_missing_program_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, zboot(program("zstd")))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfraError, match="apt install zstd"):
        load(path)


def other_machine(data: bytes) -> bytes:
    return data[:18] + struct.pack("<H", 8) + data[20:]


def bits32(data: bytes) -> bytes:
    """The bzImage as of boot protocol 2.15, without XLF_KERNEL_64."""
    return data[:0x206] + b"\x0f\x02" + data[0x208:]


def far(data: bytes) -> bytes:
    """The ELF file with content for its last program, far away from the first."""
    (at,), (count,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
    headers = [at + 56 * number for number in range(count)]
    last = [place for place in headers if struct.unpack_from("<I", data, place)[0] == 1][-1]
    changed = struct.pack("<QQQQ", 0, 0xFFFF << 48, 0, 8)
    return data[: last + 8] + changed + data[last + 8 + len(changed) :]


def flagged(flags: int) -> bytes:
    """The Image with other flags in its header."""
    return WHOLE[:24] + struct.pack("<Q", flags) + WHOLE[32:]


def encrypted(data: bytes) -> bytes:
    """A header, or an ELF file, and nothing readable where the kernel should be."""
    noise = random.Random(1).randbytes(1 << 20)
    return noised(data, noise) if data.startswith(b"\x7fELF") else data + noise


def noised(elf: bytes, noise: bytes) -> bytes:
    """The ELF file with one program, which is ``noise``."""
    (at,) = struct.unpack_from("<Q", elf, 32)
    program = struct.pack("<IIQQQQQQ", 1, 5, len(elf), 1 << 32, 0, len(noise), len(noise), 4096)
    count = struct.pack("<H", 1)
    return elf[:56] + count + elf[58:at] + program + elf[at + len(program) :] + noise


def test_broken_files(vmlinux: dict[str, Path], tmp_path: Path) -> None:
    elf = vmlinux["x86_64"].read_bytes()
    cases = {
        "no kernel image of a known form; give": b"#!/bin/sh\n",
        "of a known form: it looks encrypted": random.Random(1).randbytes(1 << 17),
        "zImage for 32-bit arm": bytes(0x24) + b"\x18\x28\x6f\x01",
        "zImage for big-endian arm": bytes(0x24) + b"\x01\x6f\x28\x18",
        "U-Boot image": b"\x27\x05\x19\x56" + bytes(60),
        "bzImage for 32-bit x86": bits32(bzimage(gzip.compress(elf))),
        "object file": elf[:16] + b"\x01" + elf[17:],
        "spreads over": far(vmlinux["arm64"].read_bytes()),
        "is a 32-bit ELF file": b"\x7fELF\x01" + elf[5:],
        "is a big-endian ELF file": b"\x7fELF\x02\x02" + elf[6:],
        "ELF file for machine 8": other_machine(elf),
        "truncated ELF": elf[: len(elf) // 2],
        "truncated bzImage": bzimage(gzip.compress(elf))[:-5],
        "without an ELF kernel inside": bzimage(gzip.compress(b"nothing")),
        "is damaged": bzimage(b"\x89LZX" + elf),
        "compressed in an unknown way": bzimage(bytes(range(256)) * 256),
        "cannot be decompressed": zboot(gzip.compress(WHOLE)[:10] + b"\xff" * 50),
        "data ends early": bzimage(sized(lzma.compress(elf), elf + b"more")),
        "holds no arm64 Image": gzip.compress(elf),
        "truncated EFI zboot": zboot(gzip.compress(WHOLE))[:-9],
        "big-endian arm64": flagged(0xB),
        "with pages of an unknown size": flagged(8),
        "with pages of 16 KiB, and tables of 4 KiB": flagged(8 | 2 << 1),
        "with pages of 64 KiB.*use one built with CONFIG_ARM64_4K_PAGES": flagged(8 | 3 << 1),
        "does not reveal the address": WHOLE[: synthetic.TABLES],
        "the address it runs at: it looks encrypted": encrypted(WHOLE[:64]),
        "no Linux kernel: it looks encrypted": encrypted(elf),
        "no Linux banner": WHOLE.replace(b"Linux version", b"Minix version"),
    }
    for why, data in cases.items():
        with pytest.raises(InfraError, match=why):
            load(put(tmp_path, data))


@pytest.mark.parametrize("packing", forms.PACKERS)
def test_every_compression_truncated(tmp_path: Path, packing: str) -> None:
    whole = forms.PACKERS[packing](WHOLE)
    for lost in (1, 9, len(whole) // 2):
        for data in (whole[:-lost], zboot(whole[:-lost])):
            with pytest.raises(InfraError, match=r"data ends early|cannot be decompressed"):
                load(put(tmp_path, data))


@pytest.mark.parametrize(
    ("flags", "why"), [(2 << 1, "of 16 KiB"), (3 << 1, "of 64 KiB"), (1 | 1 << 1, "big-endian")]
)
def test_other_arm64_kernels_in_every_form(tmp_path: Path, flags: int, why: str) -> None:
    """The header inside is what counts; an ELF file has it too."""
    image = flagged(8 | flags)
    (tmp_path / "Image").write_bytes(image)
    (tmp_path / "k.s").write_text('.globl _start\n_start: .incbin "Image"\n')
    words = ["-nostdlib", "-static", "-Wl,-N,--build-id=none,-Ttext=0xffff800080000000"]
    forms.run(tmp_path, arch.get("arm64").machine.compiler, *words, "-o", "vmlinux", "k.s")
    elf = (tmp_path / "vmlinux").read_bytes()
    for data in (image, gzip.compress(image), zboot(lzma.compress(image)), elf):
        with pytest.raises(InfraError, match=why):
            load(put(tmp_path, data))


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InfraError, match="Cannot read the kernel"):
            load(path)


@settings(deadline=None)
@given(
    form=st.sampled_from([WHOLE, zboot(gzip.compress(WHOLE)), bzimage(gzip.compress(b"\x7fELF"))]),
    place=st.integers(0, 1200),
    junk=st.binary(min_size=1, max_size=16),
)
def test_damaged_headers_raise_nothing_else(
    form: bytes, place: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(form)
    data[place : place + len(junk)] = junk
    with suppress(InfraError):
        load(put(tmp_path_factory.mktemp("damaged"), bytes(data)))
