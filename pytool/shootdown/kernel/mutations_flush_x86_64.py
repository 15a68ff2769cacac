"""Flushes of x86-64 that are incomplete: who is left out, what, or the waiting.

All of it is in arch/x86/mm/tlb.c. Code is known by its shape, not by its place.
"""

from __future__ import annotations

from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations import Patch
from shootdown.kernel.mutations_text import body, functions, needed, place, target
from shootdown.kernel.scan import Instruction

_JCC_NEAR = b"\x0f"
"""First byte of a conditional jump with a distance of 32 bits."""


def local_flush(facts: KernelFacts) -> list[Patch]:
    """``flush_tlb_mm_range`` never finds another CPU to interrupt, and flushes its own alone.

    The jump that leaves the loop of cpumask_any_but(), around ``_find_next_bit``, with another CPU
    goes to where it ends without one.
    """
    patches = []
    for start in functions(facts, "flush_tlb_mm_range"):
        steps = body(facts, start)
        for at, step in enumerate(steps[4:], 4):
            back = target(step)
            loops = step.mnemonic in ("jb", "ja") and back is not None and start <= back < step.va
            if loops and any(
                _calls(facts, s.operands, "_find_next_bit") for s in steps[at - 4 : at]
            ):
                leave = steps[next(n for n, s in enumerate(steps) if s.va == back) + 1]
                if leave.mnemonic == "jne":
                    why = f"no CPU to interrupt at {place(facts, leave.va)}"
                    patches.append(_goes(leave, _without(steps[at + 1 :]), why))
    return needed(facts, patches, "loop over mm_cpumask in flush_tlb_mm_range")


def _without(behind: list[Instruction]) -> int:
    """Where the loop ends without another CPU: behind it, or past a look whether there was one."""
    first, second = behind[:2]
    if first.mnemonic == "cmp" and second.mnemonic == "jae":
        return target(second) or second.va
    return first.va


def _goes(jump: Instruction, va: int, why: str) -> Patch:
    """The conditional jump, if taken, goes to ``va``."""
    wide = 4 if jump.data[:1] == _JCC_NEAR else 1
    distance = va - jump.va - len(jump.data)
    new = jump.data[:-wide] + distance.to_bytes(wide, "little", signed=True)
    return Patch(jump.va, jump.data, new, why)


def flush_no_wait(facts: KernelFacts) -> list[Patch]:
    """The flush of other CPUs is asked for, and not waited for.

    ``native_flush_tlb_multi`` calls on_each_cpu_cond_mask() with ``wait`` (ecx) 0.
    """
    patches = [
        Patch(step.va, step.data, bytes(1) + step.data[1:], "")
        for start in functions(facts, "native_flush_tlb_(multi|others)")
        for step in body(facts, start)
        if (step.mnemonic, step.operands) == ("mov", "ecx, 1")
    ]
    patches = [
        Patch(p.va, p.old, b"\xb9" + bytes(4), f"no wait at {place(facts, p.va)}")
        for p in patches
        if p.old == b"\xb9\x01\x00\x00\x00"
    ]
    return needed(facts, patches, "wait for other CPUs in native_flush_tlb_multi")


def first_page_only(facts: KernelFacts) -> list[Patch]:
    """Of a range that is flushed page by page only the first page is.

    ``flush_tlb_func``: the jump back to the next page is not taken.
    """
    patches = [
        Patch(s.va, s.data, b"\x90" * len(s.data), f"one page at {place(facts, s.va)}")
        for start in functions(facts, "flush_tlb_func")
        for s in body(facts, start)
        if s.mnemonic in ("jb", "ja") and s.va - 64 < (target(s) or 0) < s.va
    ]
    return needed(facts, patches, "loop over pages in flush_tlb_func")


def lazy_skip(facts: KernelFacts) -> list[Patch]:
    """A lazy CPU is not interrupted, though page tables are freed.

    ``native_flush_tlb_multi``: ``info->freed_tables`` is taken to be false.
    """
    patches = []
    for start in functions(facts, "native_flush_tlb_(multi|others)"):
        steps = body(facts, start)
        for at, step in enumerate(steps):
            if step.mnemonic != "cmp" or not step.operands.endswith("+ 0x25], 0"):
                continue
            jump = next(s for s in steps[at + 1 :] if s.mnemonic.startswith("j"))
            where = f"freed_tables at {place(facts, jump.va)}"
            if jump.mnemonic == "je":
                patches.append(_always(jump, f"no {where}"))
            elif jump.mnemonic == "jne":
                nops = b"\x90" * len(jump.data)
                patches.append(Patch(jump.va, jump.data, nops, f"no {where}"))
    return needed(facts, patches, "look at freed_tables in native_flush_tlb_multi")


def lazy_stays(facts: KernelFacts) -> list[Patch]:
    """A CPU that was lazy goes on with the same address space and what its TLB holds of it.

    ``switch_mm_irqs_off``: behind smp_mb() the generations are taken to be equal.
    """
    patches = []
    for start in functions(facts, "switch_mm_irqs_off"):
        steps = body(facts, start)
        for at, step in enumerate(steps):
            if not (step.mnemonic.startswith("lock") and "rsp - 4" in step.operands):
                continue
            for before, jump in zip(steps[at:], steps[at + 1 : at + 14], strict=False):
                if before.mnemonic == "cmp" and jump.mnemonic == "je":
                    patches.append(_always(jump, f"no look at tlb_gen, {place(facts, jump.va)}"))
                    break
    return needed(facts, patches, "look at tlb_gen of a lazy CPU in switch_mm_irqs_off")


def _always(jump: Instruction, why: str) -> Patch:
    """The conditional jump is always taken."""
    data = jump.data
    new = b"\x90\xe9" + data[2:] if data[:1] == _JCC_NEAR else b"\xeb" + data[1:]
    return Patch(jump.va, data, new, why)


def _calls(facts: KernelFacts, operands: str, name: str) -> bool:
    return operands.startswith("0x") and int(operands, 16) in facts.symbols.all_of(name)
