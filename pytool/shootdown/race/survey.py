"""Which instructions of a kernel and a workload do what, learned from one recording of them.

A store to a page table is an instruction like any other: nothing but a recording tells which ones
they are, in this build. So a workload is recorded once, without holds, and what is learned is kept
under the build-id of the kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from shootdown.arch.base import Arch
from shootdown.arch.mmu import Mmu
from shootdown.errors import InfraError
from shootdown.model.entries import Call
from shootdown.model.stream import Event, stream
from shootdown.model.tasks import Tasks
from shootdown.trace.reader import Trace
from shootdown.trace.schema import Flag, Kind, Mark

FORMAT: Final = 3
_KINDS: Final = (
    *(Kind.PTE_WRITE, Kind.FLUSH, Kind.ROOT_LOAD, Kind.PROBE, Kind.PROBE_MORE, Kind.RET_USER),
    *(Kind.MARK, Kind.OBS, Kind.WATCH),
)


@dataclass(frozen=True, order=True)
class Site:
    """One instruction, and one thing it was seen to do."""

    pc: int
    what: str
    """``pte_write``, ``flush``, ``root_load``, ``load``, ``store``, ``range`` or ``unrange`` (the
    marks)."""
    old: str = ""
    """``pte_write``: ``none``, ``readonly`` or ``writable``."""
    new: str = ""
    operation: str = ""
    """System call it was in; empty for a fault or user mode."""
    thread: str = ""


@dataclass(frozen=True)
class Survey:
    """What a recording showed."""

    sites: tuple[Site, ...]

    def of(self, what: str) -> list[Site]:
        """The sites that do ``what``."""
        return [site for site in self.sites if site.what == what]

    def to_json(self) -> dict[str, Any]:
        """An object to keep."""
        return {"format": FORMAT, "sites": [asdict(site) for site in self.sites]}


def of_json(value: Mapping[str, Any]) -> Survey | None:
    """What ``to_json`` made; None when it is of another format."""
    if value.get("format") != FORMAT:
        return None
    try:
        return Survey(tuple(Site(**site) for site in value["sites"]))
    except (KeyError, TypeError):
        return None


def entry_class(entry: int, mmu: Mmu) -> str:
    """Of an entry of level 1: ``none`` (no CPU can use it), ``readonly`` or ``writable``."""
    if not mmu.valid(entry, 1):
        return "none"
    return "writable" if mmu.writable(entry, 1) else "readonly"


def belongs(found: str, wanted: str) -> bool:
    """Whether an entry of the class ``found`` is what a point calls ``wanted``."""
    return wanted in ("any", found) or (wanted == "present" and found != "none")


def take(trace: Trace, arch: Arch) -> Survey:
    """Learn from a recording. Raises InfraError when it shows nothing."""
    tasks = Tasks(arch.kernel.syscalls)
    found: Counter[Site] = Counter()
    for event in stream(trace.events(), _KINDS):
        found.update(_sites(event, tasks, arch.mmu))
    if not found:
        raise InfraError(f"the recording {trace.path} shows no change of a page table")
    return Survey(tuple(sorted(found)))


def _sites(event: Event, tasks: Tasks, mmu: Mmu) -> Iterable[Site]:
    match event.kind:
        case Kind.PROBE:
            tasks.probe(event, 0)
        case Kind.PROBE_MORE:
            tasks.probe_more(event)
        case Kind.RET_USER:
            tasks.return_to_user(event)
        case Kind.WATCH:
            tasks.watch(event)
        case Kind.MARK:
            tasks.mark(event)
            if event.id in (Mark.RANGE, Mark.UNRANGE):
                yield Site(event.pc, "range" if event.id == Mark.RANGE else "unrange")
        case _:
            task = tasks.cpu(event.cpu).task
            site = _access(event, mmu)
            if site:
                thread = task.name or task.comm
                yield Site(event.pc, *site, operation=_name(task.call), thread=thread)


def _access(event: Event, mmu: Mmu) -> tuple[str, str, str] | None:
    match event.kind:
        case Kind.PTE_WRITE if event.level == 1:
            return "pte_write", entry_class(event.b, mmu), entry_class(event.c, mmu)
        case Kind.FLUSH:
            return "flush", "", ""
        case Kind.ROOT_LOAD if event.d == event.a:  # x86: a flush, and no other address space
            return "flush", "", ""
        case Kind.ROOT_LOAD:
            return "root_load", "", ""
        case Kind.OBS:
            return "store" if event.flags & Flag.STORE else "load", "", ""
    return None


def _name(call: Call | None) -> str:
    return call.name if call else ""
