"""What is compiled, and which classes become extension types.

Compiled is what runs at every event. An extension type has its attributes in a C structure, each a
Python object: Python's numbers stay Python's numbers, which do not overflow. Such a class cannot be
patched, nor given other attributes than those of its source. Worth it are classes of which many
objects are made, or whose methods run at every event. What reports are made of stays ordinary:
they are pickled in one form and read in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MODEL: Final[Mapping[str, tuple[str, ...]]] = {
    "callstack": ("_Cpu", "CallStacks"),
    "entries": ("Call", "Superseded", "Stale"),
    "listener": ("Listener",),
    "machine": ("Machine",),
    "observers": ("_Change", "Observers"),
    "pagetables": (),
    "phases": (),
    "smallroots": ("SmallRoots",),
    "space": ("Leaf", "_Table", "Space"),
    "speaker": ("Speaker",),
    "stacks": ("ThinStacks",),
    "stream": ("Event",),
    "syscalls": ("Promise",),
    "tasks": ("Task", "Cpu", "Tasks"),
    "tlb": ("Tlb", "_Book", "Records"),
    "tlb_arm64": ("_Tlbi", "_Cpu", "Arm64Tlb"),
    "tlb_x86": ("X86Tlb",),
    "vma_map": ("Vma", "VmaMap"),
    "windows": ("_Began", "_Open", "WindowMeter"),
}
_RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "aftermath": ("Gone", "_Page", "Aftermath"),
    "aliased_translation": ("AliasedTranslation",),
    "base": ("Rule",),
    "break_before_make": ("BreakBeforeMake",),
    "deadline_clock": ("Gather", "Clock"),
    "deadline_dues": ("Due", "Dues"),
    "deadline_functions": (),
    "deadline_rows": (),
    "flush_deadline": ("FlushDeadline",),
    "free_before_flush": ("FreeBeforeFlush",),
    "frees": ("FreedFrames",),
    "lazy_reactivation": ("LazyReactivation",),
    "panel": ("_Calls",),
    "pinned_wrprotect": ("PinnedWrprotect",),
    "stale_after_return": ("StaleAfterReturn",),
    "table_free_before_flush": ("TableFreeBeforeFlush",),
}
_ARCH: Final[Mapping[str, tuple[str, ...]]] = {
    "mmu": ("Mmu",),
    "arm64.mmu": ("Arm64Mmu",),
    "x86_64.mmu": ("X86Mmu",),
}

COMPILED: Final[Mapping[str, tuple[str, ...]]] = {
    **{f"shootdown.model.{name}": types for name, types in _MODEL.items()},
    **{f"shootdown.rules.{name}": types for name, types in _RULES.items()},
    **{f"shootdown.arch.{name}": types for name, types in _ARCH.items()},
}
"""By module its extension types."""
