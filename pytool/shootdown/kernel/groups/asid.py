"""arm64's ASIDs: which one an mm has, and the generation they were given in.

arch/arm64/mm/context.c: ``check_and_switch_context`` gives an mm whose generation is over a new
ASID (``new_context``); when none is left a new generation begins (``flush_context``) and every
CPU flushes its TLB before it goes on. The generation is a variable that kernels without
CONFIG_KALLSYMS_ALL do not list; ``mm_struct.context.id`` has it above the ASID's 16 bits.
"""

from __future__ import annotations

from typing import Final

from shootdown.kernel.groups.base import GlobalWord, Group, Set, Traced, Word
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch

GROUP: Final = Group(
    name="asid",
    text="arm64 ASIDs: what each mm has, new ones, and new generations",
    functions=(
        Traced(Function.check_and_switch_context, 1),
        Traced(Function.new_context, 1),
        Traced(Function.flush_context, 0),
    ),
    words=(Word(Watch.MM_CONTEXT_ID, Set.MM, "mm_struct.context.id"),),
    variables=(GlobalWord(Watch.ASID_GENERATION, "asid_generation", 8),),
    needs=(("check_and_switch_context",), ("mm_struct.context.id",)),
)
