"""Page faults, each as one: where, for what, under which lock, and what every attempt came to.

A fault begins at the probe in its handler and lasts until the function that does the work ends
(``do_user_addr_fault`` in arch/x86/mm/fault.c, ``do_page_fault`` in arch/arm64/mm/fault.c). In a
trace without any of the former, the compiler has put it into ``exc_page_fault``: of user addresses
that does the work, until it calls ``irqentry_exit`` with the registers it was given; by the probe
in front the address is known. A fault may
try several times: under the lock of the VMA (``lock_vma_under_rcu``), then under mmap_lock
(``lock_mm_and_find_vma``), then once more. Records belong to the fault of the task that the CPU
runs; handle_mm_fault() also runs without a fault, for GUP and futexes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shootdown.arch.arm64 import fault as arm64
from shootdown.arch.base import Access
from shootdown.arch.x86_64 import fault as x86_64
from shootdown.model.running import Running
from shootdown.trace.columns import any_of, are, distinct
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Probe
from shootdown.trace.types import Events


class Work(NamedTuple):
    """The function that works on a fault: which of its captures is what."""

    address: str
    """Empty: what the probe says."""
    code: str
    access: Callable[[int], Access]


WORK: Final[Mapping[int, Work]] = {
    Function.do_user_addr_fault: Work("d", "c", x86_64.access),
    Function.do_page_fault: Work("b", "c", arm64.access),
    Function.exc_page_fault: Work("", "c", x86_64.access),
}
"""By function, which only one architecture has. ``exc_page_fault`` is one where
``do_user_addr_fault`` is inlined into it."""
_LOCKS: Final = {Function.lock_vma_under_rcu: "vma", Function.lock_mm_and_find_vma: "mmap"}
_CALLS: Final = (*WORK, *_LOCKS, Function.handle_mm_fault, Function.irqentry_exit)
_KERNEL: Final = 1 << 63
"""Of addresses that are the kernel's, and not a user's."""
_NOTHING: Final = Access(False, False, False)


@dataclass(slots=True)
class Attempt:
    """One call of handle_mm_fault()."""

    seq: int
    icount: int
    pc: int
    cpu: int
    task: int
    """VA of the task_struct."""
    vma: int
    va: int
    flags: int
    sp: int
    fault: int = 0
    """The fault's number; 0 when there is none."""
    end: int = 0
    """Number of its end; 0 when that was not seen."""
    result: int = 0


@dataclass(slots=True)
class Fault:
    """One fault. ``seq`` is the number of the probe in its handler."""

    seq: int
    icount: int
    pc: int
    cpu: int
    task: int
    va: int
    code: int
    end: int = 0
    """Number of its end; 0 when that was not seen, or the function was not recorded."""
    sp: int = 0
    regs: int = 0
    """VA of the pt_regs, where the work is inlined into the handler."""
    worked: bool = False
    """Whether the handler went on to look for a VMA or to refuse."""
    access: Access = _NOTHING
    vma: int = 0
    """The last VMA that was found; 0 for none."""
    tries: list[tuple[str, bool]] = field(default_factory=list)
    """Locks that were tried, and whether a VMA was found and locked."""
    looked: int = 0
    """Number of the end of the last try; 0 when there was none."""
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(frozen=True)
class Faults:
    """All faults of a trace."""

    faults: list[Fault]
    attempts: list[Attempt]
    """Of faults and of others, in the order of ``seq``."""
    unpaired: int
    """Ends of calls whose beginning was not seen, and beginnings without an end."""


def faults(events: Events) -> Faults:
    """Every fault; ``events``: in the order of ``seq``, at least probes, ENTER and EXIT."""
    call = any_of(events["kind"], (Kind.ENTER, Kind.EXIT)) & any_of(events["id"], _CALLS)
    probe = are(events["kind"], Kind.PROBE) & are(events["id"], Probe.FAULT)
    kept = events[call | probe]
    entered = distinct(kept["id"][are(kept["kind"], Kind.ENTER)])
    inlined = Function.do_user_addr_fault not in entered
    leaves = Function.irqentry_exit in entered
    reader = _Reader(inlined, leaves)
    names = ("kind", "id", "seq", "icount", "pc", "cpu", "a", "b", "c", "d")
    columns = [kept[name].tolist() for name in names]
    tasks = Running(events).of(kept).tolist()
    for kind, id, *rest, task in zip(*columns, tasks, strict=True):
        reader.tell(kind, id, _Record._make((*rest, task)))
    reader.close()
    return Faults(reader.faults, reader.attempts, reader.unpaired)


class _Record(NamedTuple):
    seq: int
    icount: int
    pc: int
    cpu: int
    a: int
    b: int
    c: int
    d: int
    task: int


class _Reader:
    def __init__(self, inlined: bool, leaves: bool) -> None:
        self._inlined = inlined
        """Whether ``exc_page_fault`` does the work."""
        self._leaves = leaves
        """Whether calls of ``irqentry_exit`` are recorded."""
        self.faults: list[Fault] = []
        self.attempts: list[Attempt] = []
        self.unpaired = 0
        self._probed: dict[int, Fault] = {}
        """By task, the fault whose handler has begun."""
        self._open: dict[int, list[Fault]] = {}
        """By task, the faults that are worked on, the outermost first."""
        self._calls: dict[tuple[int, int], Attempt | None] = {}
        """By function and stack pointer, the calls under way."""

    def tell(self, kind: int, id: int, record: _Record) -> None:
        """One record."""
        if kind == Kind.PROBE:
            fault = Fault(*record[:4], record.task, record.a, record.b)
            self.faults.append(fault)
            self._probed[record.task] = fault
        elif id == Function.exc_page_fault:
            if self._inlined:
                (self._begin_inlined if kind == Kind.ENTER else self._end_inlined)(record)
        elif id in WORK:
            (self._begin if kind == Kind.ENTER else self._end)(id, record)
        elif kind == Kind.ENTER:
            self._enter(id, record)
        else:
            self._exit(id, record)

    def close(self) -> None:
        """The trace is over."""
        self.unpaired += len(self._calls) + sum(map(len, self._open.values()))

    def _begin(self, id: int, record: _Record) -> None:
        work = WORK[id]
        fault = self._probed.pop(record.task, None)
        if fault is None:
            self.unpaired += 1
            return
        fault.va = getattr(record, work.address) if work.address else fault.va
        fault.code = getattr(record, work.code)
        fault.access, fault.worked, fault.sp = work.access(fault.code), True, record.a
        self._open.setdefault(record.task, []).append(fault)

    def _begin_inlined(self, record: _Record) -> None:
        fault = self._probed.get(record.task)
        if fault is None or not fault.va & _KERNEL:
            self._begin(Function.exc_page_fault, record)
        if fault is not None:
            fault.regs = record.b

    def _leave(self, record: _Record) -> None:
        """``irqentry_exit`` is called: the fault whose registers it was given is over."""
        fault = self._within(record)
        if fault and fault.regs == record.b:
            self._open[record.task].pop().end = record.seq

    def _end_inlined(self, record: _Record) -> None:
        fault = self._within(record)
        if fault and fault.sp == record.a:
            self._end(Function.exc_page_fault, record)
            self.unpaired += self._leaves

    def _end(self, id: int, record: _Record) -> None:
        frames = self._open.get(record.task, [])
        while frames and frames[-1].sp < record.a:
            frames.pop()
            self.unpaired += 1
        if frames and frames[-1].sp == record.a:
            frames.pop().end = record.seq
        else:
            self.unpaired += 1

    def _within(self, record: _Record) -> Fault | None:
        frames = self._open.get(record.task)
        return frames[-1] if frames else None

    def _enter(self, id: int, record: _Record) -> None:
        attempt = None
        if id == Function.irqentry_exit:
            self._leave(record)
        elif id == Function.handle_mm_fault:
            attempt = Attempt(*record[:4], record.task, record.b, record.c, record.d, record.a)
            self.attempts.append(attempt)
            fault = self._within(record)
            if fault:
                attempt.fault = fault.seq
                fault.attempts.append(attempt)
                fault.vma = attempt.vma
        self.unpaired += (id, record.a) in self._calls
        self._calls[id, record.a] = attempt

    def _exit(self, id: int, record: _Record) -> None:
        if (id, record.a) not in self._calls:
            self.unpaired += 1
            return
        attempt = self._calls.pop((id, record.a))
        if attempt:
            attempt.end, attempt.result = record.seq, record.b & 0xFFFF_FFFF
            return
        fault = self._within(record)
        if fault and id in _LOCKS:
            fault.tries.append((_LOCKS[Function(id)], bool(record.b)))
            fault.vma, fault.looked = record.b or fault.vma, record.seq
