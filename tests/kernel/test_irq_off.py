"""Where code turns interrupts off and on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shootdown.kernel import irq_off
from shootdown.kernel.btf import Member
from shootdown.kernel.image import KernelImage, Segment
from shootdown.kernel.symbols import SymbolTable

VA = 0xFFFF_FFFF_8100_0000
PV_OPS = VA + 0x1000
MEMBERS = dict(zip(irq_off.MEMBERS, (Member(0x20, 8), Member(0x28, 8)), strict=True))


def sites(
    image: KernelImage, arch: str, code: bytes, symbols: dict[str, int] | None = None
) -> irq_off.Sites:
    held = replace(image, arch=arch, segments=(Segment(VA, code),))
    table = SymbolTable([], np.zeros(0, np.uint64)).with_more(symbols or {})
    return irq_off.find(held, table, MEMBERS if symbols else {}, VA, VA + len(code))


def call(at: int, slot: int) -> bytes:
    """``call *slot(%rip)``."""
    return b"\xff\x15" + (slot - (VA + at + 6)).to_bytes(4, "little", signed=True)


def test_x86(image: KernelImage) -> None:
    found = sites(image, "x86_64", b"\x90\xfa\x90\xfb\xc3")
    assert found == irq_off.Sites((VA + 2,), (VA + 3,))


def test_x86_by_pv_ops(image: KernelImage) -> None:
    code = call(0, PV_OPS + 0x20) + call(6, PV_OPS + 0x18) + call(12, PV_OPS + 0x28)
    assert sites(image, "x86_64", code, {"pv_ops": PV_OPS}) == irq_off.Sites((VA + 6,), (VA + 12,))
    assert sites(image, "x86_64", code) == irq_off.Sites((), ())


def test_arm64(image: KernelImage) -> None:
    words = (0xD53B4220, 0xD50343DF, 0xD503201F, 0xD51B4220)  # mrs, msr daifset, nop, msr daif
    code = b"".join(word.to_bytes(4, "little") for word in words)
    assert sites(image, "arm64", code) == irq_off.Sites((VA + 8,), (VA + 12,))
