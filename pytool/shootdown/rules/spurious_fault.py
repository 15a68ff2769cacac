"""spurious-fault: what is mapped before and after an operation is found during it."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from shootdown.model.forbidden import Forbidden, forbidden
from shootdown.model.history import History
from shootdown.model.listener import HOOKS
from shootdown.model.machine import Machine
from shootdown.model.pagetables import PAGE_SHIFT
from shootdown.model.refusals import Refusal, refusals
from shootdown.model.stream import Event
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Watch

_WORDS: Final = (Watch.VMA_START, Watch.VMA_END, Watch.VMA_MM)
_FUNCTIONS: Final = (Function.lock_mm_and_find_vma, Function.vm_area_alloc)
_ATTACHMENT: Final = (Watch.VMA_DETACHED, Watch.VMA_REFCNT)
_FOUND: Final = "a VMA that the fault finds"
_LOOK: Final = "another look, once the VMA was locked"


class SpuriousFault(Rule):
    """No fault ends in a signal for want of a VMA that is there all the time."""

    id: ClassVar = "spurious-fault"
    title: ClassVar = "A fault finds the VMA of an address that stays mapped"
    archs: ClassVar = ("x86_64", "arm64")
    history: ClassVar = (
        *(Kind.WATCH, Kind.WATCH_INIT, Kind.ENTER, Kind.EXIT, Kind.PROBE, Kind.RET_USER),
    )
    needs: ClassVar = (Kind.WATCH, Kind.PROBE, Kind.RET_USER)
    deaf: ClassVar = HOOKS
    text: ClassVar = """\
A page fault of user mode finds a VMA when one is around the address whenever mmap_lock is not held
to write, from the last such moment before the fault to the first one after it. What replaces a
mapping (`mmap(MAP_FIXED)`), splits it, merges it or changes its attributes (`mprotect`, `mlock`,
`mbind`, ...) takes no address away, and so ends no fault in a signal.

A VMA that is found and forbids the access is the right one: when the look-up ends it is attached,
and around the address. A look-up without mmap_lock finds a VMA before it locks it; in between the
VMA may be split or taken away.

Needs the event groups `vmas` and `faults`, and a kernel whose VMAs say whether they are attached
(from 6.4 on); else the rule is not armed. Every fault of user mode that is refused because no VMA
was found, of a task that goes on in user mode, and every one that a VMA forbade is its situation.

* **WITNESS**: the fault was seen. There is no **MAY**: no TLB is involved.

Sanctioned, or not judged:

* An operation that fails half way may leave nothing mapped: then there is a moment without a VMA.
* Tasks that do not go on in user mode: one that is killed while it waits for mmap_lock is told that
  there is no VMA. An unhandled signal is not told from that, and so not found.
* Faults of protection keys; accesses by the kernel for a user; pages beyond the end of a file
  (SIGBUS).
* A task that has executed another program and not been switched since: its mm is not known."""
    reference: ClassVar = (
        "mm/memory.c or mm/mmap_lock.c lock_mm_and_find_vma(), lock_vma_under_rcu()",
        "arch/x86/mm/fault.c do_user_addr_fault(); arch/arm64/mm/fault.c do_page_fault()",
        "mm/vma.c vms_gather_munmap_vmas(), vma_iter_store_overwrite()",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._refused: dict[int, Refusal] = {}
        self._forbidden: dict[int, Forbidden] = {}
        self._pages: frozenset[int] = frozenset()
        """Numbers of the pages (VA >> 12) of refused faults, as the probe says."""

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without VMAs, or without knowing which are attached, there is nothing to judge."""
        note = super().idle(scene) or scene.lacks(watches=_WORDS, functions=_FUNCTIONS)
        if not note and scene.watches.isdisjoint(_ATTACHMENT):
            return "the kernel's VMAs do not say whether they are attached"
        return note

    def begun(self, history: History) -> None:
        """Find out what was mapped around every refused fault, and what it was refused by."""
        if self.armed:
            self._refused = {one.fault.seq: one for one in refusals(history)}
            self._forbidden = {one.fault.seq: one for one in forbidden(history)}
            events = history.events
            seqs = np.array([*self._refused, *self._forbidden], np.uint64)
            mine = events["a"][np.isin(events["seq"], seqs)]
            self._pages = frozenset((mine >> np.uint64(PAGE_SHIFT)).tolist())

    def heeds_fault(self, page: int) -> bool:
        """Only refused ones matter."""
        return page in self._pages

    def faulted(self, event: Event) -> None:
        """Judge a fault."""
        if refused := self._refused.get(event.seq):
            self._judge_refused(event, refused)
        elif by := self._forbidden.get(event.seq):
            self._judge_forbidden(event, by)

    def _judge_refused(self, event: Event, one: Refusal) -> None:
        self.exercised()
        if not one.mapped:
            return
        fault = one.fault
        self.found_at(
            event,
            operation="page fault",
            mm=one.mm,
            va=fault.va,
            seq=sorted({*one.seqs, fault.seq, fault.end}),
            summary=(
                f"CPU {event.cpu} found no VMA for VA {fault.va:#x}, although there was one "
                "before and after"
            ),
            missing=_FOUND,
            kind="witness",
            mark=_FOUND,
        )

    def _judge_forbidden(self, event: Event, one: Forbidden) -> None:
        self.exercised()
        if not one.why:
            return
        fault, vma = one.fault, one.vma
        self.found_at(
            event,
            operation="page fault",
            mm=vma.mm,
            va=fault.va,
            seq=sorted({vma.seq, fault.seq, fault.looked, fault.end}),
            summary=f"CPU {event.cpu} was refused VA {fault.va:#x} by a VMA that {one.why}",
            missing=_LOOK,
            kind="witness",
            details={"vma": fault.vma, "start": vma.start, "end": vma.end, "flags": vma.flags},
            mark=_LOOK,
        )
