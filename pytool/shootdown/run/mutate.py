"""Breaking a kernel on purpose, in its running text: a checker must notice.

Where the kernel runs is known beforehand without KASLR, and only after the boot with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from shootdown.errors import InfraError, UsageError
from shootdown.kernel import (
    mutations,
    mutations_flush,
    mutations_locks,
    mutations_pins,
    mutations_vma,
    mutations_wait,
    mutations_zap,
)
from shootdown.kernel.facts import KernelFacts
from shootdown.run import locate
from shootdown.run.experiment import nearest
from shootdown.vm.guest import Guest
from shootdown.vm.patch import Patch, patch_memory, patch_text

MUTATIONS: Final[dict[str, Callable[[KernelFacts], Sequence[mutations.Patch]]]] = {
    "no-flush": mutations.no_flush,
    "fork-ignores-pins": mutations_pins.fork_ignores_pins,
    "mprotect-no-vma-lock": mutations_locks.mprotect_no_vma_lock,
    "vma-lock-unchecked": mutations_locks.vma_lock_unchecked,
    "vma-detached-unchecked": mutations_vma.detached_unchecked,
    "vma-bounds-unchecked": mutations_vma.bounds_unchecked,
    "pte-wrong-lock": mutations_locks.pte_wrong_lock,
    "contended-fault-refused": mutations_locks.contended_fault_refused,
    "lazy-no-catch-up": mutations_wait.lazy_no_catch_up,
    "tables-no-grace": mutations_wait.tables_no_grace,
    "zap-keeps-entry": mutations_zap.zap_keeps_entry,
    **mutations_flush.FLUSHES,
}

# The boot CPU runs alone there and the kernel has finished patching its own text (init/main.c).
_WHERE: Final = "rest_init"


def validate(name: str) -> None:
    """Raise UsageError when there is no such mutation; an empty name is none."""
    if name and name not in MUTATIONS:
        raise UsageError(f"unknown mutation {name!r}{nearest(name, list(MUTATIONS))}")


@cache
def patches(name: str, facts: KernelFacts) -> Sequence[Patch]:
    """What the mutation changes in this kernel; nothing for an empty name."""
    if not name:
        return ()
    validate(name)
    changes = MUTATIONS[name](facts)
    return [Patch(p.va, (p.old, *p.patched), p.new) for p in changes]


async def apply(guest: Guest, facts: KernelFacts, changes: Sequence[Patch]) -> None:
    """Change the text of a guest that has not run yet, and let it run."""
    if changes:
        await patch_text(guest, facts.symbols.va(_WHERE), changes)


async def apply_moved(guest: Guest, facts: KernelFacts, changes: Sequence[Patch]) -> None:
    """Change the text of a guest that has booted, wherever KASLR has put its kernel."""
    if not changes:
        return
    await guest.pause()
    place = locate.find(guest.memory(), facts)
    if place is None:
        raise InfraError(
            f"the guest's memory does not hold {facts.path}; give the image that boots"
        )
    await patch_memory(guest, changes, place.pa)
    await guest.resume()
