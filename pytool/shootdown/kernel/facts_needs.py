"""What the tool wants to know of a kernel, by architecture.

Nothing here is demanded: what a kernel lacks is listed in ``KernelFacts.missing``, and whoever
cannot do without it says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Needs:
    """Names to look up."""

    symbols: tuple[str, ...]
    members: tuple[str, ...]
    """Structure members, as ``Btf.member`` takes them."""
    constants: tuple[str, ...] = ()
    """Enumerators, as ``enum.NAME``."""

    def __add__(self, other: Needs) -> Needs:
        return Needs(
            self.symbols + other.symbols,
            self.members + other.members,
            self.constants + other.constants,
        )


_COMMON: Final = Needs(
    symbols=(
        "_text",
        "_stext",
        "_end",
        "rest_init",
        "init_mm",
        "init_task",
        "__per_cpu_offset",
        "pgd_alloc",
        "pgd_free",
        "__switch_to",
        "mem_section",
    ),
    members=(
        "mm_struct.pgd",
        "mm_struct.mm_users",
        "mm_struct.mm_count",
        "mm_struct.mmlist",
        "mm_struct.mmap_lock.count",
        "mm_struct.mmap_lock.owner",
        "task_struct.pid",
        "task_struct.tgid",
        "task_struct.comm",
        "task_struct.stack",
        "task_struct.mm",
        "task_struct.active_mm",
        "task_struct.tasks",
        "task_struct.signal",
        "task_struct.thread_node",
        "signal_struct.thread_head",
    ),
)

_X86_64: Final = Needs(
    symbols=(
        "init_top_pgt",
        "level1_fixmap_pgt",
        "page_offset_base",
        "phys_base",
        "cpu_tlbstate",
        "cpu_tlbstate_shared",
        "entry_SYSCALL_64",
        "exc_page_fault",
        "switch_mm_irqs_off",
        "flush_tlb_mm_range",
    ),
    members=(
        "tlb_state.loaded_mm",
        "tlb_state.ctxs",
        "tlb_state_shared.is_lazy",
        "pcpu_hot.current_task",
        "task_struct.thread.sp",
        "pt_regs.ax",
        "pt_regs.orig_ax",
        "pt_regs.ip",
        "pt_regs.sp",
    ),
)

_ARM64: Final = Needs(
    symbols=(
        "swapper_pg_dir",
        "bm_pte",
        "__entry_task",
        "memstart_addr",
        "kimage_voffset",
        "do_el0_svc",
        "do_mem_abort",
    ),
    members=(
        "pt_regs.regs",
        "pt_regs.sp",
        "pt_regs.pc",
        "pt_regs.pstate",
        "pt_regs.orig_x0",
        "pt_regs.syscallno",
        "task_struct.thread.cpu_context.sp",
    ),
    constants=(
        "fixed_addresses.FIX_PTE",
        "fixed_addresses.FIX_PMD",
        "fixed_addresses.FIX_PUD",
        "fixed_addresses.FIX_P4D",
        "fixed_addresses.FIX_PGD",
        "fixed_addresses.__end_of_fixed_addresses",
    ),
)

NEEDS: Final[dict[str, Needs]] = {"x86_64": _COMMON + _X86_64, "arm64": _COMMON + _ARM64}
"""By architecture."""
