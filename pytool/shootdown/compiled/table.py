"""What is compiled, and which classes become extension types.

Compiled is what runs at every event. An extension type has its attributes in a C structure, each a
Python object: Python's numbers stay Python's numbers, which do not overflow. Such a class cannot be
patched, nor given other attributes than those of its source. Worth it are classes of which many
objects are made, or whose methods run at every event. Rules are ordinary classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MODEL: Final[Mapping[str, tuple[str, ...]]] = {
    "callstack": ("_Cpu", "CallStacks"),
    "entries": ("Call", "Superseded", "Stale"),
    "listener": (),
    "machine": ("Machine",),
    "observers": ("_Change",),
    "pagetables": (),
    "phases": (),
    "smallroots": ("SmallRoots",),
    "space": ("Leaf", "_Table", "Space"),
    "speaker": ("Speaker",),
    "stacks": ("ThinStacks",),
    "stream": ("Event",),
    "syscalls": ("Promise",),
    "tasks": ("Task", "Cpu", "Tasks"),
    "tlb": ("_Book", "Records"),
    "tlb_arm64": ("_Tlbi", "_Cpu", "Arm64Tlb"),
    "tlb_x86": ("X86Tlb",),
    "vma_map": ("Vma", "VmaMap"),
    "windows": ("_Open",),
}
_RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "aftermath": ("Gone", "_Page", "Aftermath"),
    "aliased_translation": (),
    "base": (),
    "break_before_make": (),
    "deadline_clock": ("Gather", "Clock"),
    "deadline_dues": ("Due", "Dues"),
    "deadline_functions": (),
    "deadline_rows": (),
    "flush_deadline": (),
    "free_before_flush": (),
    "frees": (),
    "lazy_reactivation": (),
    "panel": (),
    "pinned_wrprotect": (),
    "stale_after_return": (),
    "table_free_before_flush": (),
}
_ARCH: Final[Mapping[str, tuple[str, ...]]] = {
    "arm64.mmu": ("Arm64Mmu",),
    "x86_64.mmu": ("X86Mmu",),
}

COMPILED: Final[Mapping[str, tuple[str, ...]]] = {
    **{f"shootdown.model.{name}": types for name, types in _MODEL.items()},
    **{f"shootdown.rules.{name}": types for name, types in _RULES.items()},
    **{f"shootdown.arch.{name}": types for name, types in _ARCH.items()},
}
"""By module its extension types."""
