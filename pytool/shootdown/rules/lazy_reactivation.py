"""lazy-reactivation: x86's rule for a CPU that stops being lazy."""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar, NamedTuple

from shootdown.model.machine import Machine
from shootdown.model.stream import Event
from shootdown.rules.base import Rule
from shootdown.rules.scene import Scene
from shootdown.trace.schema import Kind, Watch

_KEEP_TLB = 1 << 63
"""CR3_NOFLUSH: such a load leaves the TLB as it is."""


class _Behind(NamedTuple):
    """A CPU that has to catch up before it runs user code."""

    event: Event
    mm: int
    has: int
    wants: int


class LazyReactivation(Rule):
    """A CPU that was lazy flushes before it goes back to user code, if it missed a flush."""

    id: ClassVar = "lazy-reactivation"
    title: ClassVar = "A CPU that stops being lazy catches up with the flushes it was spared"
    archs: ClassVar = ("x86_64",)
    needs: ClassVar = (Kind.ROOT_LOAD, Kind.RET_USER)
    words: ClassVar = (Watch.CPU_TLB_GEN, Watch.MM_TLB_GEN)
    text: ClassVar = """\
A CPU that runs a kernel thread borrows the address space it had and is lazy: flushes spare it
(E3). When it goes back to the same address space (`is_lazy` becomes 0), and that one's `tlb_gen`
has gone ahead of what the CPU has seen (`ctxs[].tlb_gen`), it must load CR3, which flushes, before
it runs user code.

* **MAY**: it returned to user mode without loading CR3, and no flush handler has brought it up to
  date. What it then uses is for the other rules to see: there is no WITNESS.

Needs the event group `shootdowns`."""
    reference: ClassVar = (
        "arch/x86/mm/tlb.c switch_mm_irqs_off(): prev == next && was_lazy",
        "arch/x86/mm/tlb.c should_flush_tlb(), flush_tlb_func(), enter_lazy_tlb()",
    )

    def __init__(self, machine: Machine, *, idle: str = "") -> None:
        super().__init__(machine, idle=idle)
        self._of_cpu: dict[int, int] = {}
        self._of_mm: dict[int, tuple[list[int], list[int]]] = {}
        self._behind: dict[int, _Behind] = {}

    @classmethod
    def idle(cls, scene: Scene) -> str:
        """Without the generations nobody knows whether a flush was missed."""
        return super().idle(scene) or scene.lacks(watches=cls.words)

    def watched(self, event: Event) -> None:
        """Follow the generations, and see a CPU stop being lazy."""
        match event.id:
            case Watch.MM_TLB_GEN:
                seqs, generations = self._of_mm.setdefault(event.d, ([], []))
                seqs.append(event.seq)
                generations.append(event.c)
            case Watch.CPU_TLB_GEN:
                self._advance(event.d, event.c)
            case Watch.IS_LAZY if event.b and not event.c:
                self._wakes(event)

    def root_loaded(self, event: Event) -> None:
        """It has flushed, whatever it missed."""
        if not event.a & _KEEP_TLB:
            self._behind.pop(event.cpu, None)

    def user(self, event: Event) -> None:
        """Too late to catch up."""
        late = self._behind.pop(event.cpu, None)
        if late is None:
            return
        self.found_at(
            event,
            operation="switch_mm",
            mm=late.mm,
            seq=[late.event.seq, event.seq],
            summary=(
                f"CPU {event.cpu} was lazy, stopped at generation {late.has} of an address space "
                f"that was at {late.wants}, and returned to user mode without a flush"
            ),
            missing=f"a load of CR3 on CPU {event.cpu} in between",
            holders=[event.cpu],
        )

    def _wakes(self, event: Event) -> None:
        # What others count up after this CPU's record before may come by interrupt: not lazy, it
        # is told. So only what was counted up by then has to be caught up with.
        cpu = event.d
        mm = self.machine.tasks.cpu(cpu).loaded_mm
        seqs, generations = self._of_mm.get(mm, ([], []))
        at = bisect_right(seqs, event.prev)
        has = self._of_cpu.get(cpu)
        if not at or has is None or cpu != event.cpu:
            return
        wants = generations[at - 1]
        if has < wants:
            self.exercised()
            self._behind[cpu] = _Behind(event, mm, has, wants)

    def _advance(self, cpu: int, generation: int) -> None:
        self._of_cpu[cpu] = generation
        late = self._behind.get(cpu)
        if late is not None and generation >= late.wants:
            del self._behind[cpu]
