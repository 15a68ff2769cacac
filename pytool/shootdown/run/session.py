"""One guest's life: boot, workloads, stop; and how it ended, whatever happened."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from shootdown.errors import GuestCrashError, GuestTimeoutError, ShootdownError, UsageError
from shootdown.run.experiment import Experiment, nearest
from shootdown.vm.agent import WorkloadResult
from shootdown.vm.guest import BOOT_SECONDS, Guest, State

Tell = Callable[[str], None]

SKIPPED_STATUS = 4
"""What a workload exits with where it cannot run (kselftest's convention)."""
_STOP_SECONDS = 30.0


@dataclass
class Session:
    """What is known of a guest so far; filled in as it lives, so that an end keeps it all."""

    ended: str = "interrupted"
    """``done``, ``crash``, ``timeout``, ``error`` or ``interrupted``."""
    message: str = ""
    tail: str = ""
    release: str = ""
    boot_s: float = 0.0
    record_s: float = 0.0
    workloads: list[dict[str, Any]] = field(default_factory=list)

    def fail(self, ended: str, error: Exception) -> None:
        """Note how the guest failed."""
        self.ended = ended
        self.message = str(error)
        self.tail = getattr(error, "tail", "")


Stopped = Callable[[Guest], Awaitable[None]]
"""What is done while the guest stands still and is still there."""
Scene = Callable[[Guest], AbstractAsyncContextManager[None]]
"""What happens to a guest while its workloads run, from before the first to after the last."""


async def live(
    guest: Guest,
    experiment: Experiment,
    session: Session,
    *,
    begin: Callable[[], Awaitable[None]],
    stopped: Stopped,
    tell: Tell,
    scene: Scene | None = None,
) -> None:
    """Boot the guest, run everything, and end it in an orderly way if that is possible.

    ``begin`` is called once QEMU is there, ``stopped`` with the guest paused after the last
    workload. A guest that crashes or hangs is written down in ``session``, not raised. Raises
    UsageError for unknown workloads, InfraError when the host or QEMU failed.
    """
    try:
        await _boot(guest, experiment, session, begin, tell)
        async with scene(guest) if scene else nullcontext():
            await _work(guest, experiment, session, tell)
        session.ended = "done"
    except GuestCrashError as error:
        session.fail("crash", error)
    except GuestTimeoutError as error:
        session.fail("timeout", error)
    except ShootdownError as error:
        session.fail("error", error)
        raise
    finally:
        await _end(guest, session, stopped)


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
    begin: Callable[[], Awaitable[None]],
    tell: Tell,
) -> None:
    start = time.monotonic()
    await begin()
    hello = await guest.wait_ready(max(BOOT_SECONDS, experiment.timeout))
    session.release = hello.release
    session.boot_s = time.monotonic() - start
    tell(f"booted {hello.release} in {session.boot_s:.1f} s")


async def _work(guest: Guest, experiment: Experiment, session: Session, tell: Tell) -> None:
    start = time.monotonic()
    try:
        if experiment.command:
            await _exec(guest, experiment, session, tell)
        else:
            await _run_all(guest, experiment, session, tell)
    finally:
        session.record_s = time.monotonic() - start


async def _run_all(guest: Guest, experiment: Experiment, session: Session, tell: Tell) -> None:
    names = choose(experiment.workloads, list(await guest.workloads()))
    session.workloads = [{"name": name, "status": None, "seconds": 0.0} for name in names]
    for entry in session.workloads:
        name = entry["name"]
        work = guest.run(
            name, experiment.iterations_of(name), experiment.seed, timeout=experiment.timeout
        )
        await _follow(work, entry, tell)


async def _exec(guest: Guest, experiment: Experiment, session: Session, tell: Tell) -> None:
    program = guest_path(experiment.command)
    session.workloads = [{"name": program.rpartition("/")[2], "status": None, "seconds": 0.0}]
    work = guest.exec(program, *experiment.command[1:], timeout=experiment.timeout)
    await _follow(work, session.workloads[0], tell)


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
        if session.ended == "done":
            await stopped(guest)
        await asyncio.wait_for(guest.shutdown(), _STOP_SECONDS)
    except (ShootdownError, TimeoutError) as error:
        if session.ended == "done":
            session.fail("error", error)
            raise
