"""Who runs on each CPU, and in which state: tasks, open system calls, lazy TLB mode.

A system call belongs to its task, not to the CPU it began on: it ends with the first return to
user mode of that task, wherever that happens. (A task that dies in a system call never returns; its
call is forgotten when the task_struct serves another task.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from shootdown.model.entries import Call
from shootdown.model.stream import Event
from shootdown.trace.columns import Fields, are
from shootdown.trace.schema import Kind, Mark, Probe, Watch

SWITCHING: Final = 1
"""LOADED_MM_SWITCHING (arch/x86/include/asm/tlbflush.h): loaded_mm while CR3 changes."""


# Members of an Enum are slow to reach (Python before 3.12), and these are asked for at every event.
_SYSCALL: Final = int(Probe.SYSCALL)
_SWITCH: Final = int(Probe.TASK_SWITCH)
_SWITCH_MM: Final = int(Probe.SWITCH_MM)
_IS_LAZY: Final = int(Watch.IS_LAZY)
_LOADED_MM: Final = int(Watch.LOADED_MM)


@dataclass(slots=True, eq=False)
class Task:
    """A task; ``address`` is its task_struct (0: whoever ran before the first switch)."""

    address: int
    pid: int = 0
    tgid: int = 0
    mm: int = 0
    comm: str = ""
    name: str = ""
    """The name the thread gave itself with Mark.THREAD."""
    call: Call | None = None
    title: str = ""
    """What reports call it; kept, for every store over an entry asks for it."""

    def __str__(self) -> str:
        if not self.title:
            self.title = f"{self.name or self.comm or 'task'}/{self.pid}"
        return self.title

    def rename(self, *, comm: str | None = None, name: str | None = None) -> None:
        """It is called otherwise from here on."""
        self.comm = self.comm if comm is None else comm
        self.name = self.name if name is None else name
        self.title = ""


@dataclass(slots=True)
class Cpu:
    """What is known of one CPU besides its TLB."""

    task: Task = field(default_factory=lambda: Task(0))
    lazy: bool = False
    """x86: it borrows an address space that it will not use (enter_lazy_tlb())."""
    loaded_mm: int = 0
    in_switch: bool = False
    """Between the entry of switch_mm and its effect."""

    @property
    def switching(self) -> bool:
        """Whether it is inside switch_mm, where no user access is possible (E4)."""
        return self.in_switch or self.loaded_mm == SWITCHING


class Tasks:
    """Follows PROBE, RET_USER, MARK and WATCH events; ``numbers`` names system calls."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._names = {number: name for name, number in numbers.items()}
        self._cpus: dict[int, Cpu] = {}
        self._tasks: dict[int, Task] = {}
        self._more: dict[int, Event] = {}
        self.calls = 0
        """System calls that were entered."""
        self.returns = 0
        """Returns to user mode."""

    def cpu(self, number: int) -> Cpu:
        """The state of one CPU."""
        found = self._cpus.get(number)
        if found is None:
            found = self._cpus[number] = Cpu()
        return found

    def named(self) -> set[str]:
        """Comm and mark names of all tasks seen."""
        return {task.name or task.comm for task in self._tasks.values()}

    def count(self, parts: Iterable[Fields]) -> None:
        """Count the calls and returns of a piece of the trace."""
        for part in parts:
            kind = part["kind"]
            probes = part["id"][are(kind, Kind.PROBE)]
            self.calls += int(np.count_nonzero(are(probes, Probe.SYSCALL)))
            self.returns += int(np.count_nonzero(are(kind, Kind.RET_USER)))

    def probe(self, event: Event, root: int) -> None:
        """A probe was hit while ``root`` was the CPU's user root table."""
        if event.id == _SYSCALL:
            self._enter(event, root)
        elif event.id == _SWITCH:
            self._switch(event)
        elif event.id == _SWITCH_MM:
            self.cpu(event.cpu).in_switch = True
        else:
            return
        self._more[event.cpu] = event

    def probe_more(self, event: Event) -> None:
        """The further captures of the CPU's probe before."""
        first = self._more.pop(event.cpu, None)
        task = self.cpu(event.cpu).task
        if first is None or first.id != event.id:
            return
        if event.id == _SYSCALL and task.call is not None:
            task.call.add(event.a, event.b, event.c)
            task.call.back = event.d
        elif event.id == _SWITCH:
            task.rename(comm=text(event.a, event.b))

    def root_load(self, event: Event) -> None:
        """A root was loaded: switch_mm has taken effect."""
        self.cpu(event.cpu).in_switch = False

    def return_to_user(self, event: Event) -> Call | None:
        """The CPU is about to run user code: the call that ends here, if one does."""
        cpu = self.cpu(event.cpu)
        cpu.in_switch = False
        self._more.pop(event.cpu, None)
        call, cpu.task.call = cpu.task.call, None
        if call is not None:
            call.ends(event.seq, event.a, event.b)
        return call

    def watch(self, event: Event) -> None:
        """A watched per-CPU word changed; ``d`` is the number of the CPU it belongs to."""
        if event.id == _IS_LAZY:
            self.cpu(event.d).lazy = bool(event.c)
        elif event.id == _LOADED_MM:
            self.cpu(event.d).loaded_mm = event.c

    def mark(self, event: Event) -> None:
        """The guest said something."""
        if event.id == Mark.THREAD:
            self.cpu(event.cpu).task.rename(name=text(event.a, event.b))

    def _enter(self, event: Event, root: int) -> None:
        task = self.cpu(event.cpu).task
        name = self._names.get(event.a, str(event.a))
        task.call = Call(
            name, [event.b, event.c, event.d], event.seq, event.cpu, root, task.address
        )

    def _switch(self, event: Event) -> None:
        address, pid, tgid, mm = event.a, event.b, event.c, event.d
        task = self._tasks.get(address)
        if task is None or task.pid != pid:
            task = self._tasks[address] = Task(address, pid, tgid)
        task.mm = mm
        cpu = self.cpu(event.cpu)
        cpu.task, cpu.in_switch = task, False


def text(first: int, second: int) -> str:
    """Up to 16 characters in two words, little endian, NUL padded; the rest is untrusted."""
    raw = first.to_bytes(8, "little") + second.to_bytes(8, "little")
    return raw.split(b"\0")[0].decode("ascii", "replace")
