"""arm64's part of a plan."""

from __future__ import annotations

from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.plan_spec import (
    Memory,
    ProbePoint,
    Registers,
    Spec,
    mm_probes,
    single,
    switch,
)
from shootdown.trace.schema import Probe

_PAGE: Final = 4096
_ENTRIES: Final = 512
_FIXMAP_SLOTS: Final = ("FIX_PTE", "FIX_PMD", "FIX_PUD", "FIX_P4D", "FIX_PGD")


def va_bits(facts: KernelFacts) -> int:
    """CONFIG_ARM64_VA_BITS, from the number of levels it takes.

    With 4 KiB pages a kernel of 39, 48 or 52 bits has 3, 4 or 5 levels (arch/arm64/Kconfig:
    PGTABLE_LEVELS), and mm/memory.c defines ``__pud_alloc`` and ``__p4d_alloc`` only for levels
    that exist (``__PAGETABLE_PUD_FOLDED``, ``__PAGETABLE_P4D_FOLDED``).
    """
    if "__p4d_alloc" in facts.symbols:
        return 52
    return 48 if "__pud_alloc" in facts.symbols else 39


def _linear(facts: KernelFacts, ram: int) -> str:
    """arch/arm64/include/asm/memory.h: __phys_to_virt, ``(x - PHYS_OFFSET) | PAGE_OFFSET``.

    PHYS_OFFSET is ``memstart_addr``. PAGE_OFFSET goes by the VA size that was configured, also on
    a CPU with a smaller one: there ``arm64_memblock_init`` takes the difference off
    ``memstart_addr``.
    """
    page_offset = (1 << 64) - (1 << va_bits(facts))
    return f"{page_offset + ram:#x}-@{facts.va('memstart_addr'):#x}"


def _image_pa(facts: KernelFacts, va: int) -> str:
    """arch/arm64/include/asm/memory.h: __kimg_to_phys."""
    return f"{va:#x}-@{facts.va('kimage_voffset'):#x}"


def _slow_table(facts: KernelFacts) -> int:
    """The page of ``bm_pte`` behind the slots through which tables are edited.

    ``bm_pte`` spans the fixmap from its lowest 2 MiB on (arch/arm64/mm/fixmap.c: BM_PTE_TABLE_IDX);
    slots count downwards, in pages, from FIXADDR_TOP, a multiple of 2 MiB.
    """
    constants = facts.constants
    last = constants.get("fixed_addresses.__end_of_fixed_addresses")
    slots = [constants.get(f"fixed_addresses.{name}") for name in _FIXMAP_SLOTS]
    used = {-(-slot // _ENTRIES) for slot in slots if slot is not None}
    if last is None or not used:
        raise InfraError("The kernel's BTF has no enum 'fixed_addresses', which places the fixmap.")
    above = single(used, "fixmap (FIX_PTE to FIX_PGD)")
    return facts.va("bm_pte") + _PAGE * (-(-last // _ENTRIES) - above)


_REGS: Final = "pt_regs.regs"

SPEC: Final = Spec(
    linear=_linear,
    image_pa=_image_pa,
    image_word="kimage_voffset",
    image_va=lambda pa, word: pa + word,
    kernel_root="swapper_pg_dir",
    registers=Registers("sp", tuple(f"x{number}" for number in range(6)), "x0"),
    slow_table=_slow_table,
    probes=(
        *mm_probes("x0", "x1"),
        # The number is the low half of x8 (arch/arm64/kernel/syscall.c: el0_svc_common, int scno).
        ProbePoint(
            Probe.SYSCALL,
            "do_el0_svc",
            (
                Memory("x0", _REGS, at=8 * 8, size=4),
                *(Memory("x0", _REGS, at=8 * number) for number in range(6)),
                Memory("x0", "pt_regs.pc"),
            ),
        ),
        ProbePoint(Probe.TASK_SWITCH, "__switch_to", switch("x1")),
        ProbePoint(Probe.FAULT, "do_mem_abort", ("x0", "x1"), optional=True),
    ),
    percpu=(),
    # QEMU's virt (hw/arm/virt.c) keeps RAM in one piece; 255 GiB is where its map ends.
    ram_below=255 << 30,
)
