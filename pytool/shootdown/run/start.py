"""How a guest gets going: booted or restored, and changed where that is possible."""

from __future__ import annotations

from shootdown.kernel.facts import KernelFacts
from shootdown.run import mutate, snapshotstage
from shootdown.vm.guest import Guest
from shootdown.vm.snapshot import Snapshot


async def begin(guest: Guest, facts: KernelFacts, mutation: str, saved: Snapshot | None) -> None:
    """Let a guest run whose QEMU was just started, restored from ``saved`` if there is one.

    ``mutation`` names a change of its text, or is empty. Raises what ``snapshotstage.restore`` and
    ``mutate.apply`` raise.
    """
    patches = mutate.patches(mutation, facts)
    if saved is not None:
        await snapshotstage.restore(guest, saved, patches)
        await guest.resume()
    elif guest.config.start_paused:
        await mutate.apply(guest, facts, patches)


async def ready(guest: Guest, facts: KernelFacts, mutation: str) -> None:
    """Change a guest whose agent is ready, when its kernel's place was not known before."""
    if not guest.config.start_paused:
        await mutate.apply_moved(guest, facts, mutate.patches(mutation, facts))
