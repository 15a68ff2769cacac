"""One guest from start to end: process, control channel, agent, console and memory together."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Mapping
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from shootdown.errors import InfraError, ShootdownError
from shootdown.vm import memory, why
from shootdown.vm.agent import SHOWN, Agent, Hello, WorkloadResult
from shootdown.vm.command import GuestConfig, Sockets, command
from shootdown.vm.console import CappedLog, Console
from shootdown.vm.memory import GuestMemory
from shootdown.vm.process import Child, PeerGoneError, check_qemu
from shootdown.vm.qmp import Qmp

BOOT_SECONDS = 300.0
"""Deadline of a boot: ten times what a loaded machine was seen to need."""
_START_SECONDS = 60.0
_QUIT_SECONDS = 120.0
_SOCKET_LIMIT = 107

T = TypeVar("T")


class State(Enum):
    """Where a guest is in its life."""

    NEW = "not started"
    BOOTING = "booting"
    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


class Guest:
    """A guest under QEMU, used as an async context manager that leaves nothing behind.

    Every method checks the state. Waiting methods raise GuestCrashError when the guest panics or
    ends, GuestTimeoutError at their deadline (both with the console's tail), and InfraError when
    QEMU or the host is at fault. Deadlines are in seconds.
    """

    def __init__(self, config: GuestConfig) -> None:
        self.config = config
        self._state = State.NEW
        self.qmp = Qmp()
        self.argv: list[str] = []
        """The command that started QEMU."""
        self._paused_from = State.BOOTING
        self._leaving = False
        self._workloads: dict[str, str] = {}
        self._child: Child
        self._exit: asyncio.Task[int]

    @property
    def state(self) -> State:
        """Where the guest is in its life."""
        if self._state in (State.NEW, State.DEAD):
            return self._state
        return State.DEAD if self._exit.done() else self._state

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._child.pid

    async def start(self) -> None:
        """Start QEMU: the guest is then BOOTING, or PAUSED before its first instruction."""
        self._require(State.NEW)
        check_qemu(self.config.arch.machine.qemu)
        self._prepare_files()
        self.argv = command(self.config, self.sockets)
        await self.qmp.listen(self.sockets.qmp)
        if self.config.deterministic:
            await self.agent.listen_only(self.sockets.agent)
        else:
            await self.agent.listen(self.sockets.agent)
        self._child = await Child.start(self.argv)
        self._exit = asyncio.create_task(self._follow())
        self._state = State.PAUSED if self.config.start_paused else State.BOOTING
        await self.guard(self._connect(), _START_SECONDS, "start")

    async def restore(self, state: Path, hello: Hello, workloads: Mapping[str, str]) -> None:
        """Load what ``save`` wrote into a PAUSED guest configured as ``incoming``.

        The agent of the saved guest had said ``hello`` and listed its ``workloads``. The guest
        stays PAUSED; after resume() it is there at once for wait_ready(). Raises InfraError when
        the state does not fit.
        """
        self._require(State.PAUSED)
        await self.guard(self.qmp.load(state), _START_SECONDS, "load its state")
        self.agent.said = hello
        self._workloads = dict(workloads)

    async def save(self, state: Path) -> None:
        """Write the whole state of a PAUSED guest to a file; see vm.snapshot."""
        self._require(State.PAUSED)
        await self.guard(self.qmp.save(state), _START_SECONDS, "save its state")

    async def wait_ready(self, timeout: float = BOOT_SECONDS) -> Hello:
        """Wait until the agent is there."""
        self._require(State.BOOTING)
        hello = await self.guard(self.agent.ready(), timeout, "boot")
        self._state = State.RUNNING
        return hello

    async def run(
        self, name: str, iterations: int, seed: int, *, timeout: float, **options: str | int
    ) -> WorkloadResult:
        """Run a workload of the agent's. Raises UsageError when it refuses."""
        self._require(State.RUNNING)
        work = self.agent.run(name, iterations, seed, **options)
        return await self.guard(work, timeout, f"finish the workload {name}")

    async def exec(self, path: str, *args: str, timeout: float) -> WorkloadResult:
        """Run a program of the guest's file system. Raises UsageError when the agent refuses."""
        self._require(State.RUNNING)
        return await self.guard(self.agent.exec(path, *args), timeout, f"finish {path}")

    async def load(self, name: str, path: str, *args: str, timeout: float) -> WorkloadResult:
        """As ``exec``, under a name (16 characters) that the trace's phase has as well."""
        self._require(State.RUNNING)
        return await self.guard(self.agent.load(name, path, *args), timeout, f"finish {name}")

    async def show(self, path: str, timeout: float = 60, lines: int = SHOWN) -> str:
        """First lines of a file in the guest. Raises UsageError when there is none."""
        self._require(State.RUNNING)
        return await self.guard(self.agent.show(path, lines), timeout, f"show {path}")

    async def workloads(self, timeout: float = 60) -> dict[str, str]:
        """The agent's workloads, headline by name: as saved, or asked for."""
        self._require(State.RUNNING)
        if self._workloads:
            return dict(self._workloads)
        return await self.guard(self.agent.list(), timeout, "list its workloads")

    async def pause(self) -> None:
        """Stop all vCPUs."""
        self._require(State.BOOTING, State.RUNNING)
        await self.guard(self.qmp.stop(), _START_SECONDS, "stop")
        self._paused_from, self._state = self._state, State.PAUSED

    async def resume(self) -> None:
        """Let the vCPUs run on."""
        self._require(State.PAUSED)
        await self.guard(self.qmp.cont(), _START_SECONDS, "continue")
        self._state = self._paused_from

    async def shutdown(self) -> None:
        """Stop the vCPUs where they are and end QEMU, so that the plugin completes its files."""
        if self.state in (State.BOOTING, State.RUNNING):
            await self.pause()
        self._require(State.PAUSED)
        self._leaving = True
        with contextlib.suppress(InfraError):  # QEMU may end in the middle of its answer
            await self.qmp.quit()
        await self._wait_exit("QEMU did not end when asked to")

    async def power_off(self) -> None:
        """Let the agent end the guest, and QEMU with it."""
        self._require(State.RUNNING)
        self._leaving = True
        with contextlib.suppress(PeerGoneError, TimeoutError):
            await asyncio.wait_for(self.agent.quit(), _QUIT_SECONDS)
        await self._wait_exit("the guest did not power itself off")

    async def kill(self) -> None:
        """End QEMU at once and remove the sockets; idempotent."""
        self._leaving = True
        if hasattr(self, "_exit"):
            await self._child.kill()
            await asyncio.wait({self._exit})
        await self.qmp.close()
        if hasattr(self, "sockets"):
            await self.agent.close()
            self.console.log.close()
            shutil.rmtree(self.sockets.directory, ignore_errors=True)
        self._state = State.DEAD

    def write_memory(self, pa: int, data: bytes) -> None:
        """Change the RAM of a guest that has not run since it was started or restored.

        QEMU is not told: code that it has translated would stay as it was. ``pa`` is the first PA.
        """
        self._require(State.PAUSED)
        memory.write(self.pid, self.config.arch.machine.ram_base, pa, data)

    def memory(self) -> GuestMemory:
        """Map the guest's RAM; the view outlives the guest."""
        self._require(State.BOOTING, State.RUNNING, State.PAUSED)
        return GuestMemory.of_process(self.pid, self.config.arch.machine.ram_base)

    async def guard(self, work: Awaitable[T], timeout: float, doing: str) -> T:
        """Wait for anything that needs the guest alive.

        ``doing`` completes the sentence "the guest did not ...", in errors.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait(
                {task, self._exit}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                return task.result()
            if self._exit.done():
                raise self._fault(doing)
            raise why.late(self.console, timeout, doing)
        except PeerGoneError:
            await asyncio.wait({self._exit}, timeout=_START_SECONDS)
            if self._exit.done():
                raise self._fault(doing) from None
            raise
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _connect(self) -> None:
        await self.qmp.accept()
        await self.agent.accept()

    async def _follow(self) -> int:
        await self.console.follow(self._child.stdout)
        return await self._child.wait()

    async def _wait_exit(self, complaint: str) -> None:
        await asyncio.wait({self._exit}, timeout=_QUIT_SECONDS)
        if not self._exit.done():
            raise InfraError(f"{complaint} within {_QUIT_SECONDS:.0f} s: look at console.log")
        if self._exit.result() != 0 or self.console.panicked or self._log_error:
            raise self._fault("end in order")

    @property
    def _log_error(self) -> InfraError | None:
        return self.console.log.error or self.agent.log.error

    def _fault(self, doing: str) -> ShootdownError:
        """Say why QEMU ended."""
        status = self._exit.result()
        return self._log_error or why.ended(self.console, status, self._child.stderr, doing)

    def _require(self, *states: State) -> None:
        if self.state in states:
            return
        if self.state is State.DEAD and not self._leaving:
            raise self._fault("live on")
        wanted = " or ".join(state.value for state in states)
        raise InfraError(f"the guest is {self.state.value}, but this needs a guest {wanted}")

    def _prepare_files(self) -> None:
        config = self.config
        for path in (config.kernel, config.initramfs, config.plugin, config.plan):
            if path is not None and not path.is_file():
                raise InfraError(f"{path} is no file: build or fetch it first")
        try:
            config.trace_dir.mkdir(parents=True, exist_ok=True)
            self.sockets = Sockets(_socket_directory())
        except OSError as error:
            raise InfraError(f"{error.filename} cannot be made: {error.strerror}") from error
        self.console = Console(CappedLog(config.run_dir / "console.log"))
        self.agent = Agent(CappedLog(config.run_dir / "agent.log"), config.commands)


def _socket_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="shootdown-"))
    if len(str(directory / "agent")) <= _SOCKET_LIMIT:
        return directory
    directory.rmdir()
    return Path(tempfile.mkdtemp(prefix="shootdown-", dir="/tmp"))
