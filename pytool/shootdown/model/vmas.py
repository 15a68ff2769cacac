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

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from shootdown.trace.columns import any_of
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
_DEATHS: Final = (Function.vm_area_free, Function["__vm_area_free"], Function.vm_area_free_rcu_cb)
LIFE: Final = (*_BIRTHS, *_DEATHS)
"""Functions that begin and end lives."""
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


_STATE: Final = Step._fields.index("start")
"""Where in a step what the VMA is begins."""


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
    watch = any_of(events["kind"], (Kind.WATCH, Kind.WATCH_INIT)) & any_of(events["id"], _WORDS)
    call = any_of(events["kind"], (Kind.ENTER, Kind.EXIT)) & any_of(events["id"], LIFE)
    reader = _Reader()
    kept = events[watch | call]
    columns = [kept[name].tolist() for name in _Record._fields]
    for row in zip(*columns, strict=True):
        reader.tell(_Record._make(row))
    return reader.steps


class Lives:
    """The steps of every VMA, to ask what one was at a moment."""

    def __init__(self, known: Iterable[Step]) -> None:
        """``known``: of ``steps``."""
        self._steps: dict[int, list[Step]] = {}
        for step in known:
            if step.event != "tree":
                self._steps.setdefault(step.base, []).append(step)

    def at(self, base: int, seq: int) -> Step | None:
        """The last step of the VMA at the address before ``seq``; None if its birth was not seen.

        Where that is ``free`` or ``release`` there is no VMA.
        """
        known = self._steps.get(base, [])
        at = bisect_right(known, seq, key=lambda step: step.seq)
        step = known[at - 1] if at else None
        return step if step and step.generation else None


class _Record(NamedTuple):
    seq: int
    icount: int
    pc: int
    cpu: int
    kind: int
    id: int
    a: int
    b: int
    c: int
    d: int


class _Reader:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._vmas: dict[int, _Vma] = {}
        self._born: dict[int, int] = {}
        """Where among the steps the last birth at an address is."""
        self._parents: dict[int, int] = {}
        """Of the ``vm_area_dup`` under way with a stack pointer: the VMA it copies."""

    def tell(self, record: _Record) -> None:
        """One record."""
        if record.kind == Kind.ENTER:
            if record.id in _DEATHS:
                self._death(record)
            elif record.id == Function.vm_area_dup:
                self._parents[record.a] = record.b
        elif record.kind == Kind.EXIT:
            parent = self._parents.pop(record.a, 0)
            if record.id in _BIRTHS and record.b:
                self._birth(record, parent)
        elif record.kind == Kind.WATCH_INIT:
            self._begin(record)
        elif record.id == Watch.MM_TREE:
            self._step(record, "tree", record.d, _Vma(mm=record.d), record.b)
        else:
            self._change(record)

    def _birth(self, record: _Record, parent: int) -> None:
        base = record.b
        before = self._vmas.get(base)
        # Attached, unless a word says otherwise: before 6.4 there is none that could.
        vma = _Vma((before.generation if before else 0) + 1, attached=True, dead=False)
        self._vmas[base] = vma
        self._born[base] = len(self.steps)
        self._step(record._replace(c=base), _BIRTHS[Function(record.id)], base, vma, parent)

    def _begin(self, record: _Record) -> None:
        """What a word holds at birth: the step of the birth shows it, once it is known."""
        vma, at = self._vmas.get(record.d), self._born.get(record.d)
        if vma is None or at is None or vma.dead or record.id not in (*FIELDS, *_ATTACHMENT):
            return
        self._set(vma, record.id, record.c)
        self.steps[at] = Step._make((*self.steps[at][:_STATE], *_state(vma)))

    def _change(self, record: _Record) -> None:
        base, watch = record.d, record.id
        vma = self._vmas.setdefault(base, _Vma())
        if vma.dead and vma.generation:
            return
        was = vma.attached
        self._set(vma, watch, record.c)
        if watch in FIELDS:
            self._step(record, FIELDS[watch], base, vma, record.b)
        elif was != vma.attached:
            event = "attach" if vma.attached else "detach"
            self._step(record, event, base, vma, record.b)

    def _death(self, record: _Record) -> None:
        vma = self._vmas.get(record.b)
        if vma is None:
            return
        event = "release" if vma.dead else "free"
        vma.dead = True
        self._step(record._replace(c=0), event, record.b, vma, 0)

    def _set(self, vma: _Vma, watch: int, value: int) -> None:
        if watch == Watch.VMA_DETACHED:
            vma.attached = not value
        elif watch == Watch.VMA_REFCNT:
            vma.attached = value & ~_EXCLUDE_READERS != 0
        else:
            setattr(vma, FIELDS[watch], value)

    def _step(self, record: _Record, event: str, base: int, vma: _Vma, old: int) -> None:
        about = (event, base, vma.generation, old, record.c)
        self.steps.append(Step._make((*record[:4], *about, *_state(vma))))


def _state(vma: _Vma) -> tuple[int, int, int, int, int, bool]:
    return vma.start, vma.end, vma.mm, vma.flags, vma.page_prot, vma.attached
