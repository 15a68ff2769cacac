"""x86's shootdown: request, IPI, handler, acknowledgement, and the generations behind them.

arch/x86/mm/tlb.c: ``flush_tlb_mm_range`` advances the mm's ``tlb_gen`` and, where other CPUs may
hold entries, has ``native_flush_tlb_multi`` send IPIs. ``flush_tlb_func`` runs on each CPU, the
requesting one included, and brings its ``ctxs[].tlb_gen`` up to date. kernel/smp.c:
``smp_call_function_many_cond`` returns when every CPU it interrupted has acknowledged.
Without PCID, which TCG does not offer, ``ctxs[0]`` is the only one in use.
"""

from __future__ import annotations

from typing import Final

from shootdown.kernel.groups.base import Group, Set, Traced, Word
from shootdown.kernel.plan_spec import PerCpuWord
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch

_INFO: Final = tuple(
    f"flush_tlb_info.{name}" for name in ("mm", "start", "end", "new_tlb_gen", "initiating_cpu")
)

GROUP: Final = Group(
    name="shootdowns",
    text="x86 TLB shootdowns: request, IPI, handler, acknowledgement; tlb_gen of mm and CPU",
    functions=(
        Traced(Function.flush_tlb_mm_range, 5),
        Traced(Function.native_flush_tlb_multi, 2),
        Traced(Function.smp_call_function_many_cond, 3),
        Traced(Function.flush_tlb_func, 1, reads=tuple((0, member) for member in _INFO)),
        Traced(Function.arch_tlbbatch_flush, 1),
        Traced(Function.flush_tlb_all, 0),
    ),
    words=(Word(Watch.MM_TLB_GEN, Set.MM, "mm_struct.context.tlb_gen"),),
    percpu=(
        PerCpuWord(
            Watch.CPU_TLB_GEN, "cpu_tlbstate", "tlb_context.tlb_gen", within="tlb_state.ctxs"
        ),
    ),
    needs=(("flush_tlb_func",), ("flush_tlb_mm_range",), ("mm_struct.context.tlb_gen",)),
)
