"""The operation stack: which mm functions a CPU was inside of at every moment.

ENTER and EXIT carry the stack pointer, equal for one call. A call whose end was not seen (a
conditional tail call, a task that never returned) is over as soon as something on the same stack
is seen at its stack pointer or above. A task's calls are on its own stack, wherever it runs;
functions of an interrupt handler are on another one, and over before what was interrupted goes on.

Where calls are is followed one ENTER and EXIT at a time; what other events are inside of is then
looked up in bulk (``Timeline.of``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.trace.columns import any_of, are
from shootdown.trace.functions import NAMES
from shootdown.trace.schema import Kind, Probe
from shootdown.trace.types import Events

STACK_LOG2: Final = 14
"""THREAD_SHIFT where a trace does not say (arch/{x86,arm64}: 16 KiB without KASAN)."""

Frame = tuple[int, int]
"""A Function and the stack pointer it was entered with."""
Stack = tuple[int, ...]
"""Functions, the outermost first."""


@dataclass(slots=True)
class _Cpu:
    base: int
    """Lowest VA of the running task's stack; where it is not known, a negative number that no other
    CPU has."""
    interrupt: list[Frame] = field(default_factory=list)


class CallStacks:
    """Follows ENTER, EXIT, task switches and returns to user mode, in the order of each CPU."""

    def __init__(self, stack_log2: int = STACK_LOG2) -> None:
        """``stack_log2``: the binary logarithm of the bytes of a kernel stack."""
        self.stack_bytes = 1 << stack_log2
        self._cpus: dict[int, _Cpu] = {}
        self._frames: dict[int, list[Frame]] = {}
        self._stacks: dict[int, Stack] = {}
        """What ``of`` has said, since a stack changed last."""
        self.unmatched = 0
        """Ends of calls whose beginning was not seen: those under way when recording began."""

    def enter(self, cpu: int, function: int, sp: int) -> None:
        """A function begins with its stack pointer at the VA ``sp``."""
        frames = self._on(cpu, sp)
        while frames and frames[-1][1] <= sp:
            frames.pop()
        frames.append((function, sp))

    def leave(self, cpu: int, function: int, sp: int) -> None:
        """A function ends, its stack pointer where it was at the beginning."""
        frames = self._on(cpu, sp)
        while frames and frames[-1][1] < sp:
            frames.pop()
        if frames and frames[-1] == (function, sp):
            frames.pop()
        else:
            self.unmatched += 1

    def switch(self, cpu: int, base: int) -> None:
        """Another task runs on the CPU; ``base`` is the lowest VA of its stack, 0 if unknown."""
        state = self._cpu(cpu)
        state.base = base or ~cpu
        state.interrupt.clear()
        self._stacks.clear()

    def to_user(self, cpu: int) -> None:
        """The CPU returns to user mode: the task is inside of nothing."""
        state = self._cpu(cpu)
        state.interrupt.clear()
        self._frames.pop(state.base, None)
        self._stacks.clear()

    def event(self, kind: int, cpu: int, number: int, a: int, c: int) -> None:
        """An ENTER, EXIT, RET_USER, or the PROBE_MORE of a task switch, with its fields."""
        if kind == Kind.ENTER:
            self.enter(cpu, number, a)
        elif kind == Kind.EXIT:
            self.leave(cpu, number, a)
        elif kind == Kind.RET_USER:
            self.to_user(cpu)
        else:
            self.switch(cpu, c)

    def copied(self) -> CallStacks:
        """Another one in the same state."""
        other = CallStacks()
        other.stack_bytes = self.stack_bytes
        other._cpus = {n: _Cpu(c.base, list(c.interrupt)) for n, c in self._cpus.items()}
        other._frames = {base: list(frames) for base, frames in self._frames.items()}
        return other

    def all_functions(self) -> set[int]:
        """What any task or interrupt is inside of."""
        frames = [*self._frames.values(), *(cpu.interrupt for cpu in self._cpus.values())]
        return {function for mine in frames for function, _ in mine}

    def of(self, cpu: int) -> Stack:
        """What the CPU is inside of."""
        found = self._stacks.get(cpu)
        if found is None:
            found = self._stacks[cpu] = tuple([function for function, _ in self.frames(cpu)])
        return found

    def frames(self, cpu: int) -> list[Frame]:
        """The same, each with its stack pointer."""
        state = self._cpu(cpu)
        return [*self._frames.get(state.base, ()), *state.interrupt]

    def _on(self, cpu: int, sp: int) -> list[Frame]:
        """The frames of the stack that ``sp`` points into; a task's own ends all interrupts."""
        self._stacks.clear()
        state = self._cpu(cpu)
        if state.base > 0 and not 0 <= sp - state.base <= self.stack_bytes:
            return state.interrupt
        state.interrupt.clear()
        return self._frames.setdefault(state.base, [])

    def _cpu(self, number: int) -> _Cpu:
        found = self._cpus.get(number)
        if found is None:
            found = self._cpus[number] = _Cpu(~number)
        return found


class Timeline:
    """The operation stacks of a whole trace, to look up in bulk."""

    def __init__(self, events: Events) -> None:
        """``events``: of all CPUs, in the order of ``seq``, and of all kinds."""
        self.stacks: list[Stack] = [()]
        """Every stack that occurred, by its number; 0 is the empty one."""
        self.unmatched = 0
        self._numbers: dict[Stack, int] = {(): 0}
        self._of_cpu: dict[int, tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]] = {}
        self._follow(events)

    def of(self, events: Events) -> npt.NDArray[np.int32]:
        """For each event the number of the stack its CPU was in; an ENTER is inside of itself."""
        found = np.zeros(len(events), np.int32)
        for cpu, (seqs, numbers) in self._of_cpu.items():
            mine = np.flatnonzero(events["cpu"] == cpu)
            at = np.searchsorted(seqs, events["seq"][mine], side="right")
            found[mine] = np.concatenate((np.zeros(1, np.int32), numbers))[at]
        return found

    def names(self, number: int, between: str = " > ") -> str:
        """A stack as text, the outermost function first; empty for the empty one."""
        return between.join(NAMES[function] for function in self.stacks[number])

    def _follow(self, events: Events) -> None:
        kinds = (Kind.ENTER, Kind.EXIT, Kind.RET_USER)
        switches = are(events["kind"], Kind.PROBE_MORE) & are(events["id"], Probe.TASK_SWITCH)
        kept = events[any_of(events["kind"], kinds) | switches]
        calls = CallStacks(stack_log2(events))
        seqs: dict[int, list[int]] = {}
        numbers: dict[int, list[int]] = {}
        for kind, cpu, function, a, c, seq in zip(
            *(kept[name].tolist() for name in ("kind", "cpu", "id", "a", "c", "seq")), strict=True
        ):
            calls.event(kind, cpu, function, a, c)
            seqs.setdefault(cpu, []).append(seq)
            numbers.setdefault(cpu, []).append(self._number(calls.of(cpu)))
        self.unmatched = calls.unmatched
        for cpu, where in seqs.items():
            self._of_cpu[cpu] = np.array(where, np.uint64), np.array(numbers[cpu], np.int32)

    def _number(self, stack: Stack) -> int:
        number = self._numbers.setdefault(stack, len(self.stacks))
        if number == len(self.stacks):
            self.stacks.append(stack)
        return number


def stack_log2(events: Events) -> int:
    """Binary logarithm of the bytes of a kernel stack, as the trace says."""
    armed = events[are(events["kind"], Kind.ARMED)]
    said = int(armed["size"][0]) if len(armed) else 0
    return said or STACK_LOG2
