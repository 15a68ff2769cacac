"""How a guest gets going: booted or restored, and changed where that is possible."""

from __future__ import annotations

from shootdown.run import mutate, snapshotstage
from shootdown.run.prepared import Prepared
from shootdown.vm.guest import Guest


async def begin(guest: Guest, prepared: Prepared) -> None:
    """Let a guest run whose QEMU was just started, restored if it comes from a snapshot.

    Raises what ``snapshotstage.restore`` and ``mutate.apply`` raise.
    """
    patches = mutate.patches(prepared.experiment.mutate, prepared.facts)
    if prepared.snapshot is not None:
        await snapshotstage.restore(guest, prepared.snapshot, patches)
        await guest.resume()
    elif prepared.config.start_paused:
        await mutate.apply(guest, prepared.facts, patches)


async def ready(guest: Guest, prepared: Prepared) -> None:
    """Change a guest whose agent is ready, when its kernel's place was not known before."""
    if not prepared.config.start_paused:
        patches = mutate.patches(prepared.experiment.mutate, prepared.facts)
        await mutate.apply_moved(guest, prepared.facts, patches)
