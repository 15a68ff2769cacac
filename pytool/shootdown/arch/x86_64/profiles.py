"""Configurations of x86-64 guests beside the default one."""

from __future__ import annotations

from typing import Final

from shootdown.arch.base import Profile

PROFILES: Final = {
    "kaslr": Profile(
        about="the kernel runs at an address of its own in every boot, and so does all it maps",
        cmdline={"nokaslr": ()},
    ),
    "pti": Profile(
        about="page-table isolation: user mode runs on page tables of its own",
        # arch/x86/mm/pti.c, pti_check_boottime_disable(): mitigations=off outweighs pti=on.
        # Without pti=on QEMU's CPU gets none: it says it is AMD's.
        cmdline={"mitigations=off": (), "pti=off": ("pti=on",)},
    ),
    "la57": Profile(
        about="five levels of page tables, 57-bit addresses",
        cpu={"la57=off": ("la57=on",)},
    ),
}
