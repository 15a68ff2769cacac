"""Snapshots of guests: made when there is none, restored with everything a recording needs.

A guest is saved when its agent is ready and no task runs: every vCPU is then in the kernel's idle
task, and what the plugin did not see happen is in memory: the address spaces of the tasks, the
roots that the vCPUs have loaded, whether they are lazy. A restored vCPU's TLB is empty, in QEMU as
in the model.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from shootdown.arch import Arch
from shootdown.errors import GuestCrashError, InfraError
from shootdown.kernel.cache import cache_root, locked
from shootdown.kernel.facts import KernelFacts
from shootdown.model.tasks_walk import KernelSpace, address_spaces, running
from shootdown.run import auditstage, identity, locate
from shootdown.run.auditstage import Known
from shootdown.vm import snapshot
from shootdown.vm.command import GuestConfig
from shootdown.vm.guest import Guest
from shootdown.vm.memory import TABLE_BYTES, GuestMemory
from shootdown.vm.patch import Patch, differs
from shootdown.vm.snapshot import Snapshot

Tell = Callable[[str], None]

_TRIES: Final = 100
_REST_SECONDS: Final = 0.1
_MARK: Final = b"\n[shootdown: saved here, and restored]\n"


async def ensure(config: GuestConfig, facts: KernelFacts, tell: Tell) -> Snapshot:
    """The snapshot of a guest like ``config``, booted and saved if the cache has none.

    Raises InfraError, GuestCrashError and GuestTimeoutError when it cannot be made.
    """
    directory = snapshot.root(cache_root())
    try:
        name = snapshot.key(config, facts.files.all)
        if found := snapshot.find(directory, name):
            return found
        with locked(directory / f"{name}.lock", "it makes the same snapshot"):
            if found := snapshot.find(directory, name):
                return found
            tell("no snapshot of this guest yet: booting one")
            made = await _make(config, facts, directory, name)
            for gone in snapshot.prune(directory):
                tell(f"snapshot {gone} was removed to make room")
            return made
    except OSError as error:
        raise InfraError(
            f"no snapshot can be kept in {directory}: {error.strerror}; "
            "make room, or run without snapshots"
        ) from error


async def restore(guest: Guest, saved: Snapshot, patches: Sequence[Patch]) -> None:
    """Load the state into a guest that waits for it, change its text, and leave it PAUSED.

    No instruction has been translated by then, so the text is changed in memory. Raises InfraError
    when the state cannot be loaded, and removes the snapshot then; or when the text is not what the
    patches expect.
    """
    try:
        guest.console.log.write(saved.console + _MARK)
        await guest.restore(saved.state, saved.hello, saved.workloads)
    except (OSError, InfraError) as error:
        shutil.rmtree(saved.entry, ignore_errors=True)
        raise InfraError(
            f"snapshot {saved.entry} cannot be restored ({error}); it was removed, run again"
        ) from error
    known = known_kernel(saved, guest.memory(), guest.config.arch)
    for patch in patches:
        _apply(guest, known, patch)


def known_kernel(saved: Snapshot, memory: GuestMemory, arch: Arch) -> Known:
    """The kernel in the memory of a guest that came from the snapshot."""
    mmu = arch.mmu.for_levels(saved.kernel_levels)
    space = KernelSpace(memory, mmu, saved.kernel_root, saved.kernel_levels, saved.kernel_slots)
    return Known(space, saved.slide)


async def _make(config: GuestConfig, facts: KernelFacts, directory: Path, name: str) -> Snapshot:
    with (
        snapshot.staged(directory, name) as part,
        tempfile.TemporaryDirectory(prefix="shootdown-") as scratch,
    ):
        run = Path(scratch)
        async with Guest(replace(snapshot.bootable(config), run_dir=run)) as guest:
            hello = await guest.wait_ready()
            workloads = await guest.workloads()
            stand, known = await _come_to_rest(guest, facts)
            await guest.save(part / snapshot.STATE)
            if guest.console.splats:
                raise GuestCrashError(
                    f"the guest to be saved reported damage: {guest.console.splats[0]}",
                    tail=guest.console.tail,
                )
        (run / "console.log").rename(part / snapshot.CONSOLE)
        made = Snapshot(
            entry=directory / name,
            hello=hello,
            workloads=workloads,
            registers=tuple(stand.registers),
            mms=address_spaces(known.space, auditstage.layout(facts, known.slide)),
            kernel_root=known.space.root,
            kernel_levels=known.space.levels,
            kernel_slots=known.space.slots,
            slide=known.slide,
        )
        snapshot.publish(part, made)
        return made


async def _come_to_rest(guest: Guest, facts: KernelFacts) -> tuple[auditstage.Stand, Known]:
    """Pause the guest at a moment when no task runs."""
    on_cpu = facts.member("task_struct.on_cpu")
    busy = [0]
    for _ in range(_TRIES):
        await asyncio.sleep(_REST_SECONDS)
        await guest.pause()
        stand = await auditstage.take(guest)
        known = _find(stand, facts, guest.config.arch)
        layout = auditstage.layout(facts, known.slide)
        busy = running(known.space, layout, on_cpu.offset, on_cpu.size)
        if not busy:
            return stand, known
        await guest.resume()
    raise InfraError(
        f"the guest did not come to rest after its boot, task {busy[0]} still runs: "
        "run without snapshots"
    )


def _find(stand: auditstage.Stand, facts: KernelFacts, arch: Arch) -> Known:
    """The kernel, through its own root: the window it is found through may be a task's."""
    place = locate.find(stand.memory, facts)
    slide = place.slide if place else 0
    spaces = auditstage.loaded_spaces(stand, arch)
    window = identity.check(stand.memory, spaces, facts, slide=slide)
    pgd = facts.va("init_mm") + slide + facts.member("mm_struct.pgd").offset
    return Known(replace(window, root=window.translate(window.word(pgd))), slide)


def _apply(guest: Guest, known: Known, patch: Patch) -> None:
    places = list(_places(known.space, patch.va + known.slide, len(patch.new)))
    memory = guest.memory()
    found = b"".join(memory.read(pa, size) for pa, size in places)
    if found not in patch.old:
        raise differs(patch, found)
    done = 0
    for pa, size in places:
        guest.write_memory(pa, patch.new[done : done + size])
        done += size


def _places(space: KernelSpace, va: int, size: int) -> Iterator[tuple[int, int]]:
    """PA and bytes of each page's part of the ``size`` bytes at ``va``."""
    while size > 0:
        part = min(size, TABLE_BYTES - va % TABLE_BYTES)
        yield space.translate(va), part
        va, size = va + part, size - part
