"""Who held which lock at one moment, as far as the locks were recorded.

mmap_lock is always recorded; page-table locks are with the group ``ptl``, the locks of VMAs with
``vmas`` and ``vma_locks``. Numbers are drawn after the access, so a lock that changes hands just
then may be told of either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from shootdown.model import locks, ptl, vma_locks, vmas
from shootdown.model.locks import Move
from shootdown.model.running import Running
from shootdown.model.tasks import text
from shootdown.trace.columns import any_of, are
from shootdown.trace.schema import Kind, Mark, Probe, Watch
from shootdown.trace.types import Events

_VMA_WORDS: Final = (
    *(Watch.VMA_START, Watch.VMA_END, Watch.VMA_MM, Watch.VMA_FLAGS, Watch.VMA_PAGE_PROT),
    *(Watch.VMA_DETACHED, Watch.VMA_LOCK, Watch.VMA_LOCK_SEQ, Watch.VMA_REFCNT),
)
_MM_WORDS: Final = (Watch.MMAP_LOCK, Watch.MM_LOCK_SEQ, Watch.MM_PAGE_TABLE_LOCK)
_NAMING: Final = (Kind.PROBE, Kind.PROBE_MORE, Kind.MARK)
_SLEEPER: Final = "a task that was woken up with it"


@dataclass(frozen=True)
class Held:
    """One lock that one task held."""

    lock: str
    """``mmap_lock``, ``page-table lock``, ``page_table_lock`` (of the mm) or ``VMA lock``."""
    how: str
    """``read``, ``write``, or ``held`` for a lock that knows no readers."""
    of: int
    """VA of the mm_struct or vm_area_struct, or PA of the page table."""
    task: str
    cpu: int
    """Where it was taken."""
    since: int
    """Number of the event that took it; 0 when that was before it was watched."""


class _Step(Protocol):
    """Where and when something was done to a lock."""

    @property
    def cpu(self) -> int: ...
    @property
    def seq(self) -> int: ...


class _At(NamedTuple):
    cpu: int
    seq: int


@dataclass(frozen=True)
class Moment:
    """What to look at: the locks of an mm, of a page table (PA, 0: none) and of the VMA at a VA."""

    seq: int
    mm: int
    table: int
    va: int


def wanted(part: Events, moments: list[Moment]) -> npt.NDArray[np.bool_]:
    """Which events of a piece ``Holders`` needs for these moments."""
    watch = any_of(part["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    mms = np.array([moment.mm for moment in moments], np.uint64)
    tables = np.array([moment.table for moment in moments], np.uint64)
    found = any_of(part["id"], _VMA_WORDS)
    found |= any_of(part["id"], _MM_WORDS) & np.isin(part["d"], mms)
    found |= are(part["id"], Watch.PTL) & np.isin(part["d"], tables)
    probe = any_of(part["kind"], (Kind.PROBE, Kind.PROBE_MORE))
    names = are(part["kind"], Kind.MARK) & are(part["id"], Mark.THREAD)
    life = any_of(part["kind"], (Kind.ENTER, Kind.EXIT))
    life &= any_of(part["id"], vmas.LIFE)
    gone = any_of(part["kind"], (Kind.TABLE_UNLINK, Kind.ROOT_FORGET)) & np.isin(part["b"], tables)
    last = np.uint64(max(moment.seq for moment in moments))
    found = (watch & found) | (probe & are(part["id"], Probe.TASK_SWITCH)) | names | life | gone
    mask: npt.NDArray[np.bool_] = found & (part["seq"] <= last)
    return mask


class Holders:
    """All holders at any of the moments; ``events``: those ``wanted``, in the order of ``seq``."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._steps = [step for step in vmas.steps(events) if step.event != "tree"]

    def at(self, moment: Moment) -> list[Held]:
        """Who holds what, then."""
        past = self._events[self._events["seq"] <= moment.seq]
        who = _Names(past)
        base = self._vma_at(moment)
        return [*_mmap(past, moment, who), *_ptl(past, moment, who), *_vma(past, base, who)]

    def _vma_at(self, moment: Moment) -> int:
        """VA of the VMA around the address, 0 when it is not known."""
        last = {step.base: step for step in self._steps if step.seq <= moment.seq}
        for base, step in last.items():
            inside = step.mm == moment.mm and step.start <= moment.va < step.end
            if inside and step.attached and step.event not in ("free", "release"):
                return base
        return 0


class _Names:
    """Tasks by where and when they ran, by what they were called last."""

    def __init__(self, events: Events) -> None:
        self._running = Running(events)
        self._names: dict[int, str] = {}
        self._marks: dict[tuple[int, int], str] = {}
        """By task and its number, what it called itself."""
        on: dict[int, tuple[int, int]] = {}
        columns = ("kind", "id", "cpu", "a", "b")
        kept = events[any_of(events["kind"], _NAMING)]
        for kind, id, cpu, a, b in zip(*(kept[x].tolist() for x in columns), strict=True):
            if kind == Kind.PROBE and id == Probe.TASK_SWITCH:
                on[cpu] = a, b
            elif cpu in on:
                task = on[cpu]
                if kind == Kind.MARK:
                    self._marks[task] = text(a, b)
                self._names[task[0]] = f"{self._marks.get(task) or text(a, b)}/{task[1]}"

    def of(self, steps: Sequence[_Step]) -> list[str]:
        """Name and number of the task that made each of the steps."""
        cpus = np.array([step.cpu for step in steps], np.uint8)
        seqs = np.array([step.seq for step in steps], np.uint64)
        tasks = self._running.tasks(cpus, seqs).tolist()
        names = self._names
        return [names.get(task, f"CPU {step.cpu}") for task, step in zip(tasks, steps, strict=True)]


class _Lock:
    """One lock of readers and a writer, step by step."""

    def __init__(self, lock: str, of: int) -> None:
        self._lock, self._of = lock, of
        self.writer: Held | None = None
        self.readers: list[Held] = []

    def take(self, how: str, step: _Step, name: str) -> None:
        """A task has it from now on."""
        held = Held(self._lock, how, self._of, name, step.cpu, step.seq)
        if how == "write":
            self.writer = held
        else:
            self.readers.append(held)

    def leave(self, name: str) -> None:
        """One reader less: the task itself, or else one that is known by no name, or the first."""
        own = [one for one in self.readers if one.task == name]
        own += [one for one in self.readers if one.task == _SLEEPER]
        if own or self.readers:
            self.readers.remove((own or self.readers)[0])

    def held(self) -> list[Held]:
        """Everybody who has it."""
        return [*([self.writer] if self.writer else []), *self.readers]


def _mmap(events: Events, moment: Moment, who: _Names) -> list[Held]:
    mine = events[are(events["id"], Watch.MMAP_LOCK) & (events["d"] == moment.mm)]
    steps = locks.transitions(mine).transitions
    lock = _Lock("mmap_lock", moment.mm)
    for step, name in zip(steps, who.of(steps), strict=True):
        match step.move:
            case Move.WRITE_ACQUIRE:
                lock.readers.clear()  # whoever was still thought to be there
                lock.take("write", step, name)
            case Move.WRITE_RELEASE:
                lock.writer = None
            case Move.DOWNGRADE:
                lock.writer = None
                lock.take("read", step, name)
            case Move.READ_GRANT:
                for _ in range(step.readers):
                    lock.take("read", step, _SLEEPER)
            case Move.READ_RELEASE:
                lock.leave(name)
            case Move.READ_ACQUIRE | Move.READ_STEAL:
                lock.take("read", step, name)
    return lock.held()


def _ptl(events: Events, moment: Moment, who: _Names) -> Iterator[Held]:
    holds = ptl.read(events).holds
    mine = np.isin(holds["lock"], (moment.table, moment.mm)) & (holds["release"] > moment.seq)
    for row in holds[mine]:
        step = _At(int(row["cpu"]), int(row["acquire"]))
        name = "page-table lock" if row["own"] else "page_table_lock"
        yield Held(name, "held", int(row["lock"]), who.of([step])[0], step.cpu, step.seq)


def _vma(events: Events, base: int, who: _Names) -> list[Held]:
    if not base:
        return []
    mine = (events["d"] == base) | are(events["id"], Watch.MM_LOCK_SEQ)
    steps = sorted(vma_locks.history(events[mine]).steps)
    lock = _Lock("VMA lock", base)
    for step, name in zip(steps, who.of(steps), strict=True):
        match step.event:
            case "mm_seq":
                lock.writer = None
            case "write_lock":
                lock.take("write", step, name)
            case "read_acquire":
                lock.take("read", step, name)
            case "read_release":
                lock.leave(name)
    return lock.held()
