"""x86-64's part of a plan."""

from __future__ import annotations

from typing import Final

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.plan_spec import PerCpuWord, ProbePoint, Registers, Spec, mm_probes, switch
from shootdown.trace.schema import Probe, Watch

_START_KERNEL_MAP: Final = 0xFFFF_FFFF_8000_0000
"""arch/x86/include/asm/page_64_types.h: __START_KERNEL_map."""
_PAGE_OFFSET_BASE_L4: Final = 0xFFFF_8880_0000_0000
"""arch/x86/include/asm/page_64_types.h: __PAGE_OFFSET_BASE_L4."""


def _linear(facts: KernelFacts, ram: int) -> str:
    """With CONFIG_DYNAMIC_MEMORY_LAYOUT the base is a variable (KASLR, five levels)."""
    variable = facts.symbols.get("page_offset_base")
    return f"{_PAGE_OFFSET_BASE_L4 + ram:#x}" if variable is None else f"{ram:#x}+@{variable:#x}"


def _image_pa(facts: KernelFacts, va: int) -> str:
    """arch/x86/include/asm/page_64.h: __phys_addr_nodebug."""
    return f"{va:#x}-{_START_KERNEL_MAP:#x}+@{facts.va('phys_base'):#x}"


SPEC: Final = Spec(
    linear=_linear,
    image_pa=_image_pa,
    image_word="phys_base",
    image_va=lambda pa, word: pa - word + _START_KERNEL_MAP,
    kernel_root="init_top_pgt",
    registers=Registers("rsp", ("rdi", "rsi", "rdx", "rcx", "r8", "r9"), "rax"),
    slow_table=lambda facts: facts.va("level1_fixmap_pgt"),
    probes=(
        *mm_probes("rdi", "rsi"),
        # The first instruction still has the user's registers; SYSCALL leaves its return in RCX.
        ProbePoint(
            Probe.SYSCALL,
            "entry_SYSCALL_64",
            ("rax", "rdi", "rsi", "rdx", "r10", "r8", "r9", "rcx"),
        ),
        ProbePoint(Probe.TASK_SWITCH, "__switch_to", switch("rsi")),
        ProbePoint(Probe.FAULT, "exc_page_fault", ("cr2", "rsi"), optional=True),
        ProbePoint(Probe.SWITCH_MM, "switch_mm_irqs_off", ("rsi",), optional=True),
    ),
    percpu=(
        PerCpuWord(Watch.IS_LAZY, "cpu_tlbstate_shared", "tlb_state_shared.is_lazy"),
        PerCpuWord(Watch.LOADED_MM, "cpu_tlbstate", "tlb_state.loaded_mm"),
    ),
    # QEMU's q35 (hw/i386/pc_q35.c): from this size on, what is above 2 GiB moves to 4 GiB.
    ram_below=0xB000_0000,
)
