"""How QEMU emulates x86-64."""

from __future__ import annotations

from shootdown.arch.base import Machine

MACHINE = Machine(
    qemu="qemu-system-x86_64",
    debian="amd64",
    compiler="x86_64-linux-gnu-gcc",
    args=(
        # q35 keeps RAM in one piece from PA 0 up to 2816 MiB; more is split around the PCI hole.
        *("-machine", "q35"),
    ),
    # Without fast string operations the kernel clears and copies pages with 8-byte stores,
    # not with single bytes, which are slow and drown the trace.
    # la57=off: four levels, as everywhere outside the largest servers.
    cpu=("max", "la57=off", "erms=off", "fsrm=off"),
    console="ttyS0",
    agent="ttyS1",
    # no_timer_check: on a busy host a guest's timer ticks late, and the kernel panics over that
    # (check_timer in arch/x86/kernel/apic/io_apic.c).
    cmdline=("nokaslr", "mitigations=off", "pti=off", "no_timer_check"),
    ram_base=0,
    gdb="i386:x86-64",
    elf_machine=62,  # EM_X86_64
)
