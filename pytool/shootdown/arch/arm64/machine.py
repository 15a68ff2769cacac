"""How QEMU emulates arm64."""

from __future__ import annotations

from shootdown.arch.base import Machine

MACHINE = Machine(
    qemu="qemu-system-aarch64",
    debian="arm64",
    compiler="aarch64-linux-gnu-gcc",
    args=(
        # The device tree would otherwise carry random seeds, and two runs would differ.
        *("-machine", "virt,gic-version=3,dtb-randomness=off"),
    ),
    # lpa2=off: 48-bit VAs and four levels with 4 KiB pages.
    # pauth-impdef=on: the architected pointer authentication hash is slow to emulate.
    cpu=("max", "lpa2=off", "pauth-impdef=on"),
    console="ttyAMA0",
    agent="ttyAMA1",
    # QEMU has no property for FEAT_MOPS, whose stores no plugin sees; the kernel can ignore it.
    cmdline=("nokaslr", "mitigations=off", "kpti=off", "arm64.nomops"),
    ram_base=0x4000_0000,
    gdb="aarch64",
    elf_machine=183,  # EM_AARCH64
)
