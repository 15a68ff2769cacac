"""A running guest under a director: its vCPUs, its memory, what its workload declared."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from shootdown.arch.base import Arch
from shootdown.errors import InfraError, UsageError
from shootdown.kernel.facts import KernelFacts
from shootdown.race.engine import Engine
from shootdown.race.points import Point
from shootdown.race.spec import Spec
from shootdown.race.spec_arm64 import SPEC as ARM64
from shootdown.race.spec_x86_64 import SPEC as X86_64
from shootdown.race.survey import Survey
from shootdown.race.view import Task, View, open_view
from shootdown.run import locate
from shootdown.vm import gdbstub
from shootdown.vm.gdbstub import GdbStub
from shootdown.vm.guest import Guest
from shootdown.vm.memory import GuestMemory

_NAMING: Final = "__set_task_comm"
_COMM: Final = 16
"""Bytes of a thread's name with its end (TASK_COMM_LEN)."""
SPECS = {"x86_64": X86_64, "arm64": ARM64}
"""By architecture."""


@dataclass(frozen=True)
class Target:
    """What is known of a guest before it runs."""

    arch: Arch
    facts: KernelFacts
    survey: Survey | None
    stays: bool = True
    """Whether the kernel certainly runs where it was linked; else it is looked for in memory."""

    @property
    def spec(self) -> Spec:
        """The architecture's part."""
        return SPECS[self.arch.name]

    @property
    def naming(self) -> int | None:
        """VA of the function that gives a thread its name (fs/exec.c), where the kernel has it."""
        return self.facts.symbols.get(_NAMING)


@dataclass(frozen=True)
class Stage:
    """What a plan is played on."""

    target: Target
    view: View
    engine: Engine
    slide: int = 0
    """Bytes that KASLR has added to the VAs of the kernel's image."""
    windows: dict[int, tuple[int, int]] = field(default_factory=dict)
    """First VA and end (exclusive) of what the workload declared, by number."""

    def in_window(self, va: int) -> bool:
        """Whether a VA lies in what the workload declared."""
        return any(first <= va < end for first, end in self.windows.values())

    def meant(self, point: Point, task: Task, vcpu: int) -> bool:
        """Whether the point speaks of this thread on this vCPU."""
        return fnmatch.fnmatchcase(task.comm, point.thread) and point.cpu in (None, vcpu)

    def exists(self, point: Point) -> bool:
        """Whether there is a thread now that the point speaks of."""
        idle = (f"swapper/{vcpu}" for vcpu in self.engine.stub.vcpus)  # in no list of tasks
        names = itertools.chain(idle, (task.comm for task in self.view.tasks()))
        return any(fnmatch.fnmatchcase(name, point.thread) for name in names)

    async def new_name(self, vcpu: int) -> str:
        """What a thread will be called, of a vCPU that stands where names are given."""
        name = self.target.spec.arguments[1]
        return self.view.text((await self.engine.stub.read(vcpu, (name,)))[name], _COMM)

    def linked(self, pc: int) -> int:
        """A VA of the running kernel's text as it was linked."""
        return pc - self.slide

    async def stack_pointer(self, vcpu: int) -> int:
        """The vCPU's stack pointer."""
        name = self.target.spec.stack
        return (await self.engine.stub.read(vcpu, (name,)))[name]

    async def return_address(self, vcpu: int) -> int:
        """Where the function returns at whose first instruction the vCPU stands."""
        name = self.target.spec.link
        if name:
            return (await self.engine.stub.read(vcpu, (name,)))[name]
        return self.view.word(await self.stack_pointer(vcpu))


@asynccontextmanager
async def open_stage(guest: Guest, target: Target) -> AsyncIterator[Stage]:
    """Stop a guest that runs and has a gdbstub; on leaving it runs on.

    Raises InfraError when there is no gdbstub or the guest runs another kernel.
    """
    if not guest.config.gdb:
        raise UsageError("the guest was started without a gdbstub: configure it with gdb=True")
    stub = await gdbstub.connect(guest.sockets.gdb)
    windows: dict[int, tuple[int, int]] = {}
    try:
        spec = target.spec
        roots = [
            value
            for vcpu in stub.vcpus
            for value in (await stub.read(vcpu, spec.kernel_roots)).values()
        ]
        slide = 0 if target.stays else _slide(guest.memory(), target.facts)
        view = open_view(guest.memory(), roots, target.facts, target.arch, spec, slide=slide)
        listeners = _listeners(stub, target, windows)
        yield Stage(target, view, Engine(stub, spec.pc, listeners, guest.pid), slide, windows)
    finally:
        await stub.close()


def _slide(memory: GuestMemory, facts: KernelFacts) -> int:
    place = locate.find(memory, facts)
    if place is None:
        raise InfraError(
            f"the guest's memory does not hold {facts.path}; give the image that boots"
        )
    return place.slide


def _listeners(
    stub: GdbStub, target: Target, windows: dict[int, tuple[int, int]]
) -> dict[int, Callable[[int], Awaitable[None]]]:
    # The marks of guest/marks.h: number, first VA, bytes.
    arguments = target.spec.arguments

    async def declared(vcpu: int) -> None:
        values = await stub.read(vcpu, arguments)
        number, first, size = (values[name] for name in arguments)
        windows[number] = (first, first + size)

    async def given_up(vcpu: int) -> None:
        windows.pop((await stub.read(vcpu, arguments))[arguments[0]], None)

    sites = target.survey.sites if target.survey else ()
    marks = {"range": declared, "unrange": given_up}
    return {site.pc: marks[site.what] for site in sites if site.what in marks}
