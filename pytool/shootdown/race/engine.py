"""Runs a guest's vCPUs up to instructions, some of them being held."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from shootdown.vm import starved
from shootdown.vm.gdbstub import GdbStub, Watch

_LEAST: Final = 0.02
"""Of the clock's time this much counts at least: whoever waits for ever has an end."""


class EndedError(Exception):
    """Somebody asked the engine to end."""


@dataclass(frozen=True)
class Hit:
    """A vCPU stands before an instruction."""

    vcpu: int
    pc: int
    watched: bool = False
    """The instruction before did what was watched for."""


Listener = Callable[[int], Awaitable[None]]
"""What is done when a vCPU comes by; it stands before the instruction."""


class Engine:
    """vCPUs that run and stand still. All stand still whenever a method is not running.

    Every method raises what the stub raises, and EndedError once ``end`` was called.
    """

    def __init__(
        self, stub: GdbStub, pc: str, listeners: Mapping[int, Listener], pid: int = 0
    ) -> None:
        """``pc``: name of the register; ``listeners``: by the VA they listen at, always.

        ``pid`` is QEMU's: then time in which the host had no CPU for a vCPU does not count.
        """
        self._pid = pid
        self.stub = stub
        self._pc = pc
        self._listeners = listeners
        self._held: list[int] = []
        self._done: dict[int, int] = {}
        self._ending = False

    async def run_to(
        self, vas: Collection[int], seconds: float, watch: Watch | None = None
    ) -> tuple[Hit | None, float]:
        """Run all vCPUs that are not held until one comes to one of ``vas``, or did ``watch``.

        Returns it and the seconds that the vCPUs could run; None when that was ``seconds``.
        """
        wanted = {*vas, *self._listeners}
        await self._step_over(wanted)
        await self.stub.set_breakpoints(wanted)
        await self.stub.set_watch(watch)
        spent = 0.0
        while spent < seconds:
            if self._ending:
                raise EndedError
            start, before = time.monotonic(), starved.waits(self._pid)
            await self.stub.run(vcpu for vcpu in self.stub.vcpus if vcpu not in self._held)
            stop = await self.stub.stopped(seconds - spent)
            took = time.monotonic() - start
            spent += max(took - starved.since(before, starved.waits(self._pid)), _LEAST * took)
            if stop is None or stop.vcpu in self._held:
                continue
            vcpu = stop.vcpu
            pc = await self.pc(vcpu)
            if stop.watched and watch:
                return Hit(vcpu, pc, watched=True), spent
            if pc in self._listeners:
                await self._listeners[pc](vcpu)
            if pc in vas:
                self._done[vcpu] = pc
                return Hit(vcpu, pc), spent
            if pc in self._listeners:
                await self.stub.step(vcpu)
        return None, spent

    async def step(self, vcpu: int) -> int:
        """Execute the instruction a vCPU stands before; returns the VA where it stands then."""
        await self.stub.step(vcpu)
        self._done.pop(vcpu, None)
        return await self.pc(vcpu)

    @property
    def standing(self) -> tuple[Hit, ...]:
        """The vCPUs that stand before an instruction they came to, and will execute it next."""
        return tuple(Hit(vcpu, pc) for vcpu, pc in self._done.items() if vcpu not in self._held)

    def hold(self, vcpu: int) -> None:
        """From now on it does not run."""
        self._held.append(vcpu)

    def release(self, vcpu: int) -> None:
        """From now on it runs again."""
        self._held.remove(vcpu)

    @property
    def held(self) -> tuple[int, ...]:
        """The vCPUs that do not run."""
        return tuple(self._held)

    async def pc(self, vcpu: int) -> int:
        """VA of the vCPU's next instruction."""
        return (await self.stub.read(vcpu, (self._pc,)))[self._pc]

    def end(self) -> None:
        """Have whatever runs now come to an end, soon."""
        self._ending = True
        self.stub.interrupt()

    async def _step_over(self, wanted: Collection[int]) -> None:
        # Who stands at a breakpoint that it has come to already would only come to it again. Who
        # does not need a step is spared it: at each stop QEMU until 10.1 forgets all that it has
        # translated (gdbstub/system.c: gdb_vm_state_change), and a trial is mostly translation.
        for vcpu, pc in list(self._done.items()):
            if vcpu in self._held:
                continue
            del self._done[vcpu]
            if pc in wanted and await self.pc(vcpu) == pc:
                await self.stub.step(vcpu)
