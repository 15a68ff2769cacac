"""The lives of VMAs: one step for each birth, change and death, with what the VMA is after it.

A VMA is known by its address and its generation: how many VMAs were born at that address. From
6.15 on their memory is typesafe by RCU, so the next VMA may be born there at once (mm/vma_init.c).
A VMA that is detached and attached again is the same one.

A birth is the return of ``vm_area_alloc`` or ``vm_area_dup``; what the words hold then is in the
WATCH_INIT records behind it. A VMA is dead from ``vm_area_free`` on, or from ``__vm_area_free``
where nothing came before (exit_mmap). From 6.4 to 6.14 a callback gives the memory back later, and
the words of the range hold its list entry until then (``vm_rcu``): those stores are no steps.

All of it happens under mmap_lock or to VMAs that nobody else knows, so ``seq`` is the order of a
VMA's steps, but for the reference count, whose changes by readers are no steps of its life.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

FIELDS: Final[dict[int, str]] = {
    Watch.VMA_START: "start",
    Watch.VMA_END: "end",
    Watch.VMA_MM: "mm",
    Watch.VMA_FLAGS: "flags",
    Watch.VMA_PAGE_PROT: "page_prot",
}
"""Words whose changes are steps, by what the steps are called."""
EVENTS: Final = (
    *("alloc", "dup", *FIELDS.values(), "attach", "detach", "free", "release"),
    "tree",
)
"""What a step may be. ``release``: the memory goes back, later than ``free``. ``tree``: the root of
the mm's tree of VMAs changed; ``base`` is the mm."""
_BIRTHS: Final = {Function.vm_area_alloc: "alloc", Function.vm_area_dup: "dup"}
_DEATHS: Final = (Function.vm_area_free, Function.__vm_area_free, Function.vm_area_free_rcu_cb)
_ATTACHMENT: Final = (Watch.VMA_DETACHED, Watch.VMA_REFCNT)
_WORDS: Final = (*FIELDS, *_ATTACHMENT, Watch.MM_TREE)
_EXCLUDE_READERS: Final = 1 << 30
"""include/linux/mm_types.h: VM_REFCNT_EXCLUDE_READERS_FLAG; not part of the count."""


class Step(NamedTuple):
    """One step, and what the VMA is after it. VAs in bytes; ``end`` is exclusive."""

    seq: int
    icount: int
    pc: int
    cpu: int
    event: str
    base: int
    """VA of the vm_area_struct; of a ``tree`` that of the mm_struct."""
    generation: int
    """From 1; 0 when the birth was not recorded."""
    old: int
    """The word's value before; of a ``dup`` the VA of the VMA that was copied."""
    new: int
    start: int
    end: int
    mm: int
    flags: int
    page_prot: int
    attached: bool


@dataclass(slots=True)
class _Vma:
    generation: int = 0
    start: int = 0
    end: int = 0
    mm: int = 0
    flags: int = 0
    page_prot: int = 0
    attached: bool = False
    dead: bool = True


def steps(events: Events) -> list[Step]:
    """Every step in the trace, in the order of ``seq``. ``events`` may be of all kinds."""
    watch = np.isin(events["kind"], (Kind.WATCH, Kind.WATCH_INIT)) & np.isin(events["id"], _WORDS)
    wanted = (*_BIRTHS, *_DEATHS)
    call = np.isin(events["kind"], (Kind.ENTER, Kind.EXIT)) & np.isin(events["id"], wanted)
    lives = _Lives()
    kept = events[watch | call]
    columns = ("seq", "icount", "pc", "cpu", "kind", "id", "a", "b", "c", "d")
    for row in zip(*(kept[name].tolist() for name in columns), strict=True):
        lives.tell(*row)
    return lives.steps


class _Lives:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._vmas: dict[int, _Vma] = {}
        self._parents: dict[int, int] = {}
        """Of the ``vm_area_dup`` under way with a stack pointer: the VMA it copies."""

    def tell(  # noqa: PLR0913 - a record's fields
        self,
        seq: int,
        icount: int,
        pc: int,
        cpu: int,
        kind: int,
        id: int,
        a: int,
        b: int,
        c: int,
        d: int,
    ) -> None:
        """One record."""
        where = (seq, icount, pc, cpu)
        if kind == Kind.ENTER:
            if id in _DEATHS:
                self._death(where, b)
            elif id == Function.vm_area_dup:
                self._parents[a] = b
        elif kind == Kind.EXIT:
            parent = self._parents.pop(a, 0)
            if id in _BIRTHS and b:
                self._birth(where, _BIRTHS[Function(id)], b, parent)
        elif id == Watch.MM_TREE:
            if kind == Kind.WATCH:
                self._step(where, "tree", d, _Vma(mm=d), b, c)
        elif kind == Kind.WATCH:
            self._change(where, id, d, b, c)
        else:
            self._begin(id, d, c)

    def _birth(self, where: tuple[int, int, int, int], event: str, base: int, parent: int) -> None:
        before = self._vmas.get(base)
        # Attached, unless a word says otherwise: before 6.4 there is none that could.
        vma = _Vma((before.generation if before else 0) + 1, attached=True, dead=False)
        self._vmas[base] = vma
        self._step(where, event, base, vma, parent, base)

    def _begin(self, watch: int, base: int, value: int) -> None:
        """What a word holds at birth: the step of the birth shows it, once it is known."""
        vma = self._vmas.get(base)
        if vma is None or vma.dead:
            return
        self._set(vma, watch, value)
        if self.steps and self.steps[-1].base == base:
            self.steps[-1] = self.steps[-1]._replace(**_state(vma))
            return
        for at in range(len(self.steps) - 1, -1, -1):  # other CPUs came in between
            if self.steps[at].base == base:
                self.steps[at] = self.steps[at]._replace(**_state(vma))
                return

    def _change(
        self, where: tuple[int, int, int, int], watch: int, base: int, old: int, new: int
    ) -> None:
        vma = self._vmas.setdefault(base, _Vma())
        if vma.dead and vma.generation:
            return
        was = vma.attached
        self._set(vma, watch, new)
        if watch in FIELDS:
            self._step(where, FIELDS[watch], base, vma, old, new)
        elif was != vma.attached:
            self._step(where, "attach" if vma.attached else "detach", base, vma, old, new)

    def _death(self, where: tuple[int, int, int, int], base: int) -> None:
        vma = self._vmas.get(base)
        if vma is None or not base:
            return
        event = "release" if vma.dead else "free"
        vma.dead = True
        self._step(where, event, base, vma, 0, 0)

    def _set(self, vma: _Vma, watch: int, value: int) -> None:
        if watch == Watch.VMA_DETACHED:
            vma.attached = not value
        elif watch == Watch.VMA_REFCNT:
            vma.attached = value & ~_EXCLUDE_READERS != 0
        else:
            setattr(vma, FIELDS[watch], value)

    def _step(
        self,
        where: tuple[int, int, int, int],
        event: str,
        base: int,
        vma: _Vma,
        old: int,
        new: int,
    ) -> None:
        state = (vma.start, vma.end, vma.mm, vma.flags, vma.page_prot, vma.attached)
        self.steps.append(Step(*where, event, base, vma.generation, old, new, *state))


def _state(vma: _Vma) -> dict[str, int]:
    return {
        "start": vma.start,
        "end": vma.end,
        "mm": vma.mm,
        "flags": vma.flags,
        "page_prot": vma.page_prot,
        "attached": vma.attached,
    }
