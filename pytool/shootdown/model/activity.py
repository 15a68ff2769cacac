"""What each CPU's task is doing: the system call or fault it is in, and the addresses that covers.

Zijlstra and Lespinasse speak of operations that overlap or do not. An operation's range is what its
arguments name; a fault's is its page; fork, exec and exit are about everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shootdown.trace.schema import Kind, Probe

PAGE: Final = 4096
EVERYTHING: Final = (0, 1 << 56)
_USER_VA: Final = (1 << 56) - 1  # arm64 ignores the top byte of user addresses
_RANGED: Final = ("munmap", "mprotect", "pkey_mprotect", "madvise", "mlock", "mlock2", "munlock")
_RANGED_TOO: Final = ("msync", "mbind", "mincore", "remap_file_pages")
_WHOLE: Final = ("fork", "vfork", "clone", "clone3", "execve", "execveat", "exit", "exit_group")
_MAP_FIXED: Final = 0x10
_MREMAP_FIXED: Final = 2
KINDS: Final = (Kind.PROBE, Kind.PROBE_MORE, Kind.RET_USER)
"""What ``Activities.event`` wants to see."""


@dataclass(slots=True, eq=False)
class Activity:
    """One operation. ``ranges`` are VAs, end exclusive; empty while they are not known."""

    task: int
    """VA of the task_struct, 0 before the first switch."""
    pid: int
    name: str
    """Of the system call, ``fault``, or empty outside of both."""
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def overlaps(self, other: Activity) -> bool | None:
        """Whether the two touch a common address; None when a range is not known."""
        if not self.ranges or not other.ranges:
            return None
        return any(a < d and c < b for a, b in self.ranges for c, d in other.ranges)


class Activities:
    """Follows the events of ``KINDS`` in the order of ``seq``; ``numbers`` names system calls."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._names = {number: name for name, number in numbers.items()}
        self._task: dict[int, tuple[int, int]] = {}
        self._calls: dict[int, Activity] = {}
        self._faults: dict[int, Activity] = {}
        self._entry: dict[int, tuple[int, ...]] = {}
        """By task, the first three arguments of its call; with the rest its range is known."""

    def of(self, cpu: int) -> Activity:
        """What the CPU's task is doing now."""
        task, pid = self._task.get(cpu, (0, 0))
        found = self._faults.get(task) or self._calls.get(task)
        return found or Activity(task, pid, "")

    def event(self, kind: int, number: int, cpu: int, words: tuple[int, int, int, int]) -> None:
        """One event: its kind, ``id``, vCPU, and the fields ``a`` to ``d``."""
        if kind == Kind.RET_USER:
            self._return(cpu, words[0])
        elif number == Probe.TASK_SWITCH and kind == Kind.PROBE:
            self._task[cpu] = words[0], words[1]
        elif number == Probe.SYSCALL:
            self._syscall(cpu, words, first=kind == Kind.PROBE)
        elif number == Probe.FAULT:
            task, pid = self._task.get(cpu, (0, 0))
            page = words[0] & _USER_VA & -PAGE
            # In a system call it is the kernel's own access, and no event says when it is over.
            if words[0] >> 63 == 0 and task not in self._calls:
                self._faults[task] = Activity(task, pid, "fault", [(page, page + PAGE)])

    def _syscall(self, cpu: int, words: tuple[int, int, int, int], *, first: bool) -> None:
        task, pid = self._task.get(cpu, (0, 0))
        if first:
            name = self._names.get(words[0], f"syscall {words[0]}")
            self._calls[task] = Activity(task, pid, name)
            self._entry[task] = words[1:]
            self._faults.pop(task, None)
        elif task in self._calls:
            call = self._calls[task]
            call.ranges = _ranges(call.name, (*self._entry[task], *words[:3]))

    def _return(self, cpu: int, result: int) -> None:
        task = self._task.get(cpu, (0, 0))[0]
        self._faults.pop(task, None)
        call = self._calls.pop(task, None)
        if call and call.name == "mmap" and not call.ranges and result <= _USER_VA:
            call.ranges = [_range(result, self._entry[task][1])]


def _ranges(name: str, arguments: tuple[int, ...]) -> list[tuple[int, int]]:
    start, size, new_size, flags, new_start, _ = arguments
    if name in _RANGED or name in _RANGED_TOO:
        return [_range(start, size)]
    if name == "mmap":  # else the result tells
        return [_range(start, size)] if flags & _MAP_FIXED else []
    if name == "mremap":
        moved = [_range(new_start, new_size)] if flags & _MREMAP_FIXED else []
        return [_range(start, max(size, new_size)), *moved]
    return [EVERYTHING] if name in _WHOLE else []


def _range(start: int, size: int) -> tuple[int, int]:
    start &= _USER_VA & -PAGE
    return start, start + (size + PAGE - 1) // PAGE * PAGE
