"""Recording: from an experiment to a run directory with a trace and its audit."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

from shootdown import arch as architectures
from shootdown.arch import Arch, profiles
from shootdown.errors import (
    GuestCrashError,
    GuestTimeoutError,
    InconclusiveError,
    InfraError,
    ShootdownError,
    UsageError,
)
from shootdown.kernel import facts as kernel_facts
from shootdown.kernel.cache import cache_root, looked_once
from shootdown.loads import debian as load_packages
from shootdown.loads import stress_ng
from shootdown.run import (
    artifacts,
    auditstage,
    commandstage,
    deterministic,
    directory,
    inject,
    mutate,
    pausestage,
    session,
    snapshotstage,
    source,
    start,
)
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment
from shootdown.run.livestage import FLUSH_MS, Live
from shootdown.run.prepared import Prepared
from shootdown.run.session import Session
from shootdown.vm import disk, initramfs, snapshot, swap
from shootdown.vm.command import GuestConfig, line
from shootdown.vm.guest import Guest
from shootdown.vm.process import check_qemu

Tell = Callable[[str], None]

_KASLR = "kaslr"
_ENOUGH = 1 << 20
"""Free bytes below which events that were lost are the disk's fault."""


@looked_once()
def record(
    experiment: Experiment,
    run: RunDir,
    tell: Tell,
    scene: session.Scene | None = None,
    live: Live | None = None,
) -> Session:
    """Boot, run the workloads, stop, audit; everything is written to ``run``.

    ``scene`` is around the workloads; ``live`` checks meanwhile, and has its report afterwards.

    A guest that crashes or hangs is told of by the returned Session and guest.json. Raises
    UsageError and InfraError; the plan and whatever was recorded are in the directory even then.
    """
    directory.write_text(run.plan, experiment.to_toml())
    state = Session()
    try:
        with tempfile.TemporaryDirectory(prefix="shootdown-") as scratch:
            prepared = saved(prepare(experiment, run, Path(scratch), tell), tell)
            if live and live.plan.pause:
                prepared = replace(prepared, config=replace(prepared.config, monitor=True))
            commandstage.write(prepared, run, FLUSH_MS if live else 0)
            asyncio.run(_record(prepared, run, state, tell, scene=scene, live=live))
            _blame_disk(run)
    except ShootdownError as error:
        state.fail("error", error)
        raise
    finally:
        directory.write_json(run.guest, asdict(state))
    return state


def validate(experiment: Experiment) -> None:
    """Raise UsageError for what can be known to be wrong without doing or writing anything."""
    if experiment.load:
        if experiment.command:
            raise UsageError("--load and a program of your own exclude each other; give one")
        stress_ng.choose(experiment.load, experiment.arch)
    elif not experiment.command and (known := artifacts.workload_names()):
        session.choose(experiment.workloads, known)
    source.validate(experiment.kernel, architectures.get(experiment.arch))
    mutate.validate(experiment.mutate)
    inject.validate(experiment)
    deterministic.validate(experiment)
    configured(experiment)


def configured(experiment: Experiment) -> Arch:
    """The architecture as the experiment's profiles configure it.

    ``kaslr`` among the kernel arguments means the profile: alone it could not outweigh the default
    configuration's nokaslr. Raises what ``profiles.apply`` raises.
    """
    names = [name for name in (experiment.profile,) if name]
    if _KASLR in experiment.append.split() and _KASLR not in experiment.profile.split(","):
        names.append(_KASLR)
    return profiles.apply(architectures.get(experiment.arch), ",".join(names))


def raise_failure(state: Session) -> None:
    """Raise what a recording without a check has to report."""
    if state.ended == "crash":
        raise GuestCrashError(state.message, tail=state.tail)
    if state.ended == "timeout":
        raise GuestTimeoutError(state.message, tail=state.tail)


def dry_run(experiment: Experiment, tell: Tell) -> str:
    """The QEMU line of an experiment, as a shell would take it; nothing is started."""
    validate(experiment)
    with tempfile.TemporaryDirectory(prefix="shootdown-") as scratch:
        prepared = prepare(experiment, RunDir(Path("DIR")), Path(scratch), tell)
        return line(prepared.config)


def prepare(experiment: Experiment, run: RunDir, scratch: Path, tell: Tell) -> Prepared:
    """Find the kernel and what was built, write the initramfs below ``scratch``.

    Raises what is wrong with any of them, before a guest is started.
    """
    arch = configured(experiment)
    check_qemu(arch.machine.qemu)
    tell(f"kernel {experiment.kernel} for {arch.name}")
    image = source.image(experiment.kernel, arch, cache_root())
    facts = kernel_facts.load(image, cache_root())
    if facts.arch != arch.name:
        raise InfraError(
            f"{image} is a kernel for {facts.arch}, not {arch.name}; name another --arch"
        )
    archive = scratch / "initramfs.cpio"
    command = experiment.command
    extra = [(session.guest_path(command), Path(command[0]))] if command else []
    loads = stress_ng.choose(experiment.load, experiment.arch) if experiment.load else []
    if loads:
        extra += load_packages.fetch(stress_ng.PACKAGE, arch, cache_root()).files
    rootfs = Path(experiment.rootfs) if experiment.rootfs else None
    commands = deterministic.commands(experiment)
    extra += deterministic.files(commands, scratch)
    initramfs.build(archive, artifacts.agent(arch.name), extra, rootfs)
    cmdline = (*stress_ng.kernel_arguments(loads), *experiment.append.split())
    config = GuestConfig(
        arch=arch,
        kernel=facts.boot_path,
        initramfs=archive,
        run_dir=run.path,
        smp=experiment.smp,
        mem_mib=experiment.mem,
        thread="multi" if experiment.thread == "multi" else "single",
        seed=experiment.seed,
        deterministic=experiment.deterministic,
        commands=commands,
        plugin=artifacts.plugin() if experiment.plugin else None,
        plan=run.plugin_plan if experiment.plugin else None,
        cmdline=cmdline,
        qemu_args=_disks(experiment, scratch),
        gdb=True,
        start_paused=bool(experiment.mutate) and stays((*arch.machine.cmdline, *cmdline)),
    )
    return Prepared(experiment, arch, facts, config)


def stays(cmdline: Sequence[str]) -> bool:
    """Whether the kernel certainly runs where it was linked."""
    return "nokaslr" in cmdline


def _disks(experiment: Experiment, scratch: Path) -> tuple[str, ...]:
    mib = session.swap_of(experiment)
    found = swap.qemu_args(swap.make(scratch / "swap", mib)) if mib else ()
    if experiment.disk:
        found += disk.qemu_args(disk.make(scratch / "disk", experiment.disk))
    return found


def saved(prepared: Prepared, tell: Tell) -> Prepared:
    """The same, to start from a snapshot if the experiment says so; it is made if need be."""
    if prepared.experiment.snapshot == "off":
        return prepared
    if session.swap_of(prepared.experiment) or prepared.experiment.disk:
        raise UsageError("a guest with a disk cannot be saved by QEMU; use --snapshot off")
    found = asyncio.run(snapshotstage.ensure(prepared.config, prepared.facts, tell))
    return replace(prepared, snapshot=found, config=snapshot.restorable(prepared.config))


async def _record(
    prepared: Prepared,
    run: RunDir,
    state: Session,
    tell: Tell,
    *,
    scene: session.Scene | None,
    live: Live | None,
) -> None:
    stand: auditstage.Stand | None = None

    async def stopped(guest: Guest) -> None:
        nonlocal stand
        if prepared.config.plugin:
            stand = await auditstage.take(guest)
            if live and live.plan.pause and live.first:
                stand = await pausestage.hold(guest, prepared, run, stand, tell)

    async with live or nullcontext():
        async with Guest(prepared.config) as guest:
            await session.live(
                guest,
                prepared.experiment,
                state,
                begin=lambda: start.begin(guest, prepared),
                ready=lambda: start.ready(guest, prepared),
                stopped=stopped,
                tell=tell,
                scene=scene,
                until=live.stopped if live and live.plan.stop else None,
            )
        if live:
            live.complete()
        if stand:
            tell("audit")
            directory.write_json(run.audit, _audit(stand, prepared, run))
        if live:
            await live.finish()


def _audit(stand: auditstage.Stand, prepared: Prepared, run: RunDir) -> dict[str, object]:
    found = prepared.snapshot
    known = snapshotstage.known_kernel(found, stand.memory, prepared.arch) if found else None
    try:
        return auditstage.compare(stand, prepared.facts, prepared.arch, run, known)
    except InconclusiveError as error:  # the trace can be checked all the same
        return {"error": str(error)}


def _blame_disk(run: RunDir) -> None:
    with directory.disk_errors(run.path):
        free = shutil.disk_usage(run.path).free
    if free < _ENOUGH:
        raise InfraError(f"the disk of {run.path} is full; make room and record again")
