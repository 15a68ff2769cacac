"""One guest's life: boot, workloads, stop; and how it ended, whatever happened."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from shootdown.errors import (
    GuestCrashError,
    GuestTimeoutError,
    InfraError,
    ShootdownError,
    UsageError,
)
from shootdown.loads import stress_ng
from shootdown.run import artifacts
from shootdown.run.experiment import Experiment, nearest
from shootdown.vm import swap
from shootdown.vm.agent import WorkloadResult
from shootdown.vm.guest import BOOT_SECONDS, Guest, State

Tell = Callable[[str], None]

SKIPPED_STATUS = 4
"""What a workload exits with where it cannot run (kselftest's convention)."""
CUT_SHORT_STATUS = 1
"""What becomes of a load that ended before its time and told nobody."""
_STOP_SECONDS = 30.0


@dataclass
class Session:
    """What is known of a guest so far; filled in as it lives, so that an end keeps it all."""

    ended: str = "interrupted"
    """``done``, ``stopped``, ``crash``, ``timeout``, ``error`` or ``interrupted``."""
    message: str = ""
    tail: str = ""
    release: str = ""
    boot_s: float = 0.0
    record_s: float = 0.0
    workloads: list[dict[str, Any]] = field(default_factory=list)
    stopped: dict[str, Any] = field(default_factory=dict)
    """The violation that stopped it: rule, summary, seq."""

    def fail(self, ended: str, error: Exception) -> None:
        """Note how the guest failed."""
        self.ended = ended
        self.message = str(error)
        self.tail = getattr(error, "tail", "")


Stopped = Callable[[Guest], Awaitable[None]]
"""What is done while the guest stands still and is still there."""
Scene = Callable[[Guest], AbstractAsyncContextManager[None]]
"""What happens to a guest while its workloads run, from before the first to after the last."""
Until = Callable[[Guest], Coroutine[Any, Any, dict[str, Any]]]
"""Returns when a guest was stopped before its work was done, and why: ``Session.stopped``."""


async def live(
    guest: Guest,
    experiment: Experiment,
    session: Session,
    *,
    begin: Callable[[], Awaitable[None]],
    ready: Callable[[], Awaitable[None]],
    stopped: Stopped,
    tell: Tell,
    scene: Scene | None = None,
    until: Until | None = None,
) -> None:
    """Boot the guest, run everything, and end it in an orderly way if that is possible.

    ``begin`` is called once QEMU is there, ``ready`` once the guest has booted, ``stopped`` with
    the guest paused after the last workload, or when ``until`` has stopped it. A guest that crashes
    or hangs is written down in ``session``, not raised. Raises UsageError for unknown workloads,
    InfraError when the host or QEMU failed.
    """

    async def everything() -> None:
        await _boot(guest, experiment, session, tell, begin=begin, ready=ready)
        async with scene(guest) if scene else nullcontext():
            await _work(guest, experiment, session, tell)

    try:
        session.stopped = await _unless(everything(), until(guest) if until else None)
        session.ended = "stopped" if session.stopped else "done"
    except GuestCrashError as error:
        session.fail("crash", error)
    except GuestTimeoutError as error:
        session.fail("timeout", error)
    except ShootdownError as error:
        session.fail("error", error)
        raise
    finally:
        await _end(guest, session, stopped)


async def _unless(
    work: Coroutine[Any, Any, None], until: Coroutine[Any, Any, dict[str, Any]] | None
) -> dict[str, Any]:
    """Work until it is done or ``until`` is over; what that returned, or nothing."""
    if until is None:
        await work
        return {}
    working, waiting = asyncio.create_task(work), asyncio.create_task(until)
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        working.result()
        return {}
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def choose(glob: str, known: Sequence[str]) -> list[str]:
    """Workloads that match; raises UsageError with the nearest names when none does."""
    chosen = [name for name in known if any(fnmatch.fnmatchcase(name, g) for g in glob.split(","))]
    if not chosen:
        raise UsageError(f"no workload is called {glob!r}{nearest(glob, list(known))}")
    return chosen


async def _boot(
    guest: Guest,
    experiment: Experiment,
    session: Session,
    tell: Tell,
    *,
    begin: Callable[[], Awaitable[None]],
    ready: Callable[[], Awaitable[None]],
) -> None:
    start = time.monotonic()
    await begin()
    hello = await guest.wait_ready(max(BOOT_SECONDS, experiment.timeout))
    session.release = hello.release
    session.boot_s = time.monotonic() - start
    how = "restored" if guest.config.incoming else "booted"
    tell(f"{how} {hello.release} in {session.boot_s:.1f} s")
    await ready()


async def _work(guest: Guest, experiment: Experiment, session: Session, tell: Tell) -> None:
    start = time.monotonic()
    if swap_of(experiment):
        await _swap_on(guest, experiment)
    try:
        if experiment.command:
            await _exec(guest, experiment, session, tell)
        elif experiment.load:
            await _load_all(guest, experiment, session, tell)
        else:
            await _run_all(guest, experiment, session, tell)
    finally:
        session.record_s = time.monotonic() - start


def swap_of(experiment: Experiment) -> int:
    """MiB of swap that the guest gets."""
    if experiment.swap or not experiment.load:
        return experiment.swap
    return stress_ng.swap(stress_ng.choose(experiment.load, experiment.arch))


async def _swap_on(guest: Guest, experiment: Experiment) -> None:
    done = await guest.exec("/init", "swapon", swap.DEVICE, timeout=experiment.timeout)
    if done.status:
        raise InfraError(
            f"the guest cannot swap to {swap.DEVICE}, see console.log: its kernel needs "
            "CONFIG_SWAP and CONFIG_BLK_DEV_NVME, built in; leave out --swap"
        )


async def _run_all(guest: Guest, experiment: Experiment, session: Session, tell: Tell) -> None:
    known = [] if guest.config.commands else list(await guest.workloads())
    names = choose(experiment.workloads, known or artifacts.workload_names())
    session.workloads = [{"name": name, "status": None, "seconds": 0.0} for name in names]
    for entry in session.workloads:
        name = entry["name"]
        work = guest.run(
            name,
            experiment.iterations_of(name),
            experiment.seed,
            timeout=experiment.timeout,
            **experiment.options_of(),
        )
        await _follow(work, entry, tell)


async def _exec(guest: Guest, experiment: Experiment, session: Session, tell: Tell) -> None:
    program = guest_path(experiment.command)
    session.workloads = [{"name": program.rpartition("/")[2], "status": None, "seconds": 0.0}]
    work = guest.exec(program, *experiment.command[1:], timeout=experiment.timeout)
    await _follow(work, session.workloads[0], tell)


async def _load_all(guest: Guest, experiment: Experiment, session: Session, tell: Tell) -> None:
    names = stress_ng.choose(experiment.load, experiment.arch)
    session.workloads = [
        {"name": f"{stress_ng.PACKAGE}:{name}", "status": None, "seconds": 0.0} for name in names
    ]
    for name, entry in zip(names, session.workloads, strict=True):
        await _follow(_load(guest, experiment, name), entry, tell)


async def _load(guest: Guest, experiment: Experiment, name: str) -> WorkloadResult:
    """Run a stressor; one that cannot run here ends with SKIPPED_STATUS."""
    words = stress_ng.arguments(name, experiment.seconds, experiment.seed)
    program, patience = f"/usr/bin/{stress_ng.PACKAGE}", experiment.seconds + experiment.timeout
    result = await guest.load(name, program, *words, timeout=patience)
    try:
        found = stress_ng.figures(await guest.show(stress_ng.RESULTS))
    except UsageError:  # it wrote none
        found = {}
    if stress_ng.skipped(result.status, found):
        notes = [f"{stress_ng.PACKAGE} says that {name} cannot run here: see console.log"]
        return replace(result, status=SKIPPED_STATUS, notes=notes)
    if result.status == 0 and stress_ng.cut_short(name, found, experiment.seconds):
        notes = [
            f"ended after {found['wall-clock-time']} s of {experiment.seconds}: see console.log"
        ]
        return replace(result, status=CUT_SHORT_STATUS, notes=notes, stats=found)
    return replace(result, stats=found)


def guest_path(command: Sequence[str]) -> str:
    """Where the host's program ``command[0]`` stands in the guest."""
    return "/bin/" + command[0].rpartition("/")[2]


async def _follow(work: Awaitable[WorkloadResult], entry: dict[str, Any], tell: Tell) -> None:
    tell(f"{entry['name']} ...")
    start = time.monotonic()
    try:
        result = await work
    except GuestCrashError:
        entry["ended"] = "crash"
        raise
    except GuestTimeoutError:
        entry["ended"] = "timeout"
        raise
    finally:
        entry["seconds"] = round(time.monotonic() - start, 3)
    entry |= {"status": result.status, "stats": result.stats, "notes": result.notes}
    word = {0: "done", SKIPPED_STATUS: "skipped"}.get(result.status, f"status {result.status}")
    tell(f"{entry['name']} {word} in {result.seconds:.1f} s")


async def _end(guest: Guest, session: Session, stopped: Stopped) -> None:
    # QEMU must end by itself if it can: only then does the plugin write out its buffers.
    if guest.state not in (State.BOOTING, State.RUNNING, State.PAUSED):
        return
    if session.ended == "crash":
        with contextlib.suppress(ShootdownError, TimeoutError):
            await asyncio.wait_for(guest.shutdown(), _STOP_SECONDS)
        return
    try:
        if guest.state != State.PAUSED:
            await guest.pause()
        if session.ended in ("done", "stopped"):
            await stopped(guest)
        if _alive(guest):  # whoever looked at it may have ended it
            await asyncio.wait_for(guest.shutdown(), _STOP_SECONDS)
    except (ShootdownError, TimeoutError) as error:
        if session.ended in ("done", "stopped"):
            session.fail("error", error)
            raise


def _alive(guest: Guest) -> bool:
    return guest.state is not State.DEAD
