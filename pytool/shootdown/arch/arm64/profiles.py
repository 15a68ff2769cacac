"""Configurations of arm64 guests beside the default one."""

from __future__ import annotations

from typing import Final

from shootdown.arch.base import Profile

PROFILES: Final = {
    "kaslr": Profile(
        about="the kernel runs at an address that the seed decides, and so does its linear map",
        cmdline={"nokaslr": ()},
        # The firmware's word of randomness, kaslr-seed in the device tree; QEMU's --seed makes it.
        args={
            "virt,gic-version=3,dtb-randomness=off": ("virt,gic-version=3,dtb-randomness=on",),
        },
    ),
    "kpti": Profile(
        about="page-table isolation: user mode runs with a trampoline in the kernel's place",
        cmdline={"mitigations=off": (), "kpti=off": ("kpti=on",)},
    ),
    "lpa2": Profile(
        about="five levels of page tables, 52-bit addresses, where the kernel was built for them",
        cpu={"lpa2=off": ("lpa2=on",)},
    ),
}
