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

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shootdown.model.latest import At, Places, firsts, latest, latest_before
from shootdown.model.stream import Mask
from shootdown.model.vma_locks import COUNT
from shootdown.trace.columns import any_of, are
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


class Steps:
    """Every step in a trace, in the order of ``seq``."""

    def __init__(self, events: Events) -> None:
        """``events`` may be of all kinds."""
        kind, id = events["kind"], events["id"]
        watch = any_of(kind, (Kind.WATCH, Kind.WATCH_INIT)) & any_of(id, _WORDS)
        call = any_of(kind, (Kind.ENTER, Kind.EXIT)) & any_of(id, LIFE)
        self._rows: Final = _with_trees(events[watch | call])
        self._of_vmas: Final = self._rows[self._rows["name"] != _TREE]
        self._places: Final = Places(self._of_vmas["base"], self._of_vmas["seq"])

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Step]:
        return (_step(row) for row in self._rows.tolist())

    def at(self, base: int, seq: int) -> Step | None:
        """The last step of the VMA at the address up to ``seq``; None if its birth was not seen.

        Where that is ``free`` or ``release`` there is no VMA.
        """
        last, _ = self._places.around(base, seq)
        step = _step(self._of_vmas[last].item()) if last is not None else None
        return step if step and step.generation else None


def _step(row: tuple[Any, ...]) -> Step:
    return Step._make((*row[:_NAME], EVENTS[row[_NAME]], *row[_NAME + 1 :]))


def steps(events: Events) -> list[Step]:
    """``Steps``, one by one."""
    return list(Steps(events))


_ROW: Final = np.dtype(
    [
        *((name, np.uint64) for name in ("seq", "icount", "pc")),
        *(("cpu", np.uint8), ("name", np.uint8), ("base", np.uint64), ("generation", np.uint32)),
        *((name, np.uint64) for name in ("old", "new", *FIELDS.values())),
        ("attached", np.bool_),
    ]
)
"""A step in columns: ``name`` is the place of what the step calls ``event`` among ``EVENTS``."""
_NAME: Final = 4
_TREE, _FREE, _RELEASE, _ATTACH, _DETACH = map(
    EVENTS.index, ("tree", "free", "release", "attach", "detach")
)


def _names(events: Mapping[Any, str]) -> npt.NDArray[np.uint8]:
    """By number of a word, or of a function, the place of its step among ``EVENTS``."""
    found = np.zeros(1 << 16, np.uint8)
    found[list(events)] = [EVENTS.index(event) for event in events.values()]
    return found


_FIELD_NAMES, _BIRTH_NAMES = _names(FIELDS), _names(_BIRTHS)


def _with_trees(kept: Events) -> Events:
    """All steps, as ``_ROW``; ``kept`` are the records that may be some."""
    tree = are(kept["id"], Watch.MM_TREE)
    tree &= any_of(kept["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    found = np.concatenate([_of_vmas(kept[~tree]), _of_trees(kept[tree])])
    return found[np.argsort(found["seq"], kind="stable")]


def _of_trees(kept: Events) -> Events:
    changes = kept[are(kept["kind"], Kind.WATCH)]
    found = _begun(changes)
    found["name"] = _TREE
    for name, field in (("base", "d"), ("mm", "d"), ("old", "b"), ("new", "c")):
        found[name] = changes[field]
    return found


def _begun(records: Events) -> Events:
    found = np.zeros(len(records), _ROW)
    for name in ("seq", "icount", "pc", "cpu"):
        found[name] = records[name]
    return found


def _of_vmas(kept: Events) -> Events:
    """The steps of VMAs, by VMA."""
    parents = _parents(kept)
    words = any_of(kept["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    base = np.where(words, kept["d"], kept["b"])
    births = are(kept["kind"], Kind.EXIT) & any_of(kept["id"], _BIRTHS) & (base != 0)
    deaths = are(kept["kind"], Kind.ENTER) & any_of(kept["id"], _DEATHS)
    about = np.flatnonzero(words | births | deaths)
    about = about[np.argsort(base[about], kind="stable")]
    lives = _Lives(kept[about], base[about], births[about], deaths[about])
    at = np.flatnonzero(lives.steps)
    records = lives.records[at]
    found = _begun(records)
    birth, death = lives.births[at], lives.deaths[at]
    found["name"] = np.where(death, np.where(lives.dead[at], _RELEASE, _FREE), lives.names[at])
    found["base"], found["generation"] = lives.base[at], lives.generation[at]
    found["old"] = np.where(birth, parents[about[at]], np.where(death, 0, records["b"]))
    found["new"] = np.where(birth, lives.base[at], np.where(death, 0, records["c"]))
    shown = lives.shown_at(at)
    for word, name in FIELDS.items():
        found[name] = lives.value(word)[shown]
    found["attached"] = lives.attached[shown]
    return found


def _parents(kept: Events) -> npt.NDArray[np.uint64]:
    """For the return of ``vm_area_dup`` the VMA it copied, by its stack pointer; else 0."""
    copies = are(kept["kind"], Kind.ENTER) & are(kept["id"], Function.vm_area_dup)
    at = np.flatnonzero(copies | are(kept["kind"], Kind.EXIT))
    at = at[np.argsort(kept["a"][at], kind="stable")]
    found = np.zeros(len(kept), np.uint64)
    before, this = at[:-1], at[1:]
    same = copies[before] & ~copies[this] & (kept["a"][before] == kept["a"][this])
    found[this[same]] = kept["b"][before[same]]
    return found


class _Lives:
    """The records of VMAs, by VMA: what each VMA is after each."""

    def __init__(
        self, records: Events, base: npt.NDArray[np.uint64], births: Mask, deaths: Mask
    ) -> None:
        self.records: Final = records
        self.base: Final = base
        self.births: Final = births
        self.deaths: Final = deaths
        others = np.diff(base, prepend=base[:1] + np.uint64(1)) != 0
        self._first: Final = firsts(births | others)
        born = births[self._first]
        since = np.cumsum(births)
        bases = firsts(others)
        self.generation: Final = since - since[bases] + births[bases]
        unborn = self.generation == 0
        self.dead: Final[Mask] = unborn | (latest_before(deaths, self._first) >= 0)
        """Before the record. A VMA whose birth was not seen is as good as dead."""
        self._ids: Final = np.where(births | deaths, 0, records["id"])
        init = are(records["kind"], Kind.WATCH_INIT) & born & ~self.dead
        change = are(records["kind"], Kind.WATCH) & (unborn | ~self.dead)
        self._told: Final[Mask] = init | change
        count, mark = are(self._ids, Watch.VMA_REFCNT), are(self._ids, Watch.VMA_DETACHED)
        value = np.where(count, records["c"] & COUNT != 0, records["c"] == 0)
        told = self._told & (count | mark)
        after, before = (pick(told, self._first) for pick in (latest, latest_before))
        # Attached, unless a word says otherwise: before 6.4 there is none that could.
        self.attached: Final[Mask] = np.where(after >= 0, value[after], born)
        was = np.where(before >= 0, value[before], born)
        turns = change & (count | mark) & (was != self.attached)
        known = born | (latest_before(change, self._first) >= 0)
        fields = change & any_of(self._ids, FIELDS)
        self.steps: Final[Mask] = births | (deaths & known) | fields | turns
        attachment = np.where(self.attached, _ATTACH, _DETACH)
        self.names: Final = np.select(
            [turns, births], [attachment, _BIRTH_NAMES[records["id"]]], _FIELD_NAMES[records["id"]]
        )
        self._shown: Final = latest(init, self._first)

    def shown_at(self, at: At) -> At:
        """Where to look for what the VMA is after the steps at these places.

        The step of a birth shows what the words hold then, once it is known (WATCH_INIT).
        """
        lives = self._first[at]
        last = np.full(len(self.base), -1)
        told = self._shown >= 0
        last[self._first[told]] = self._shown[told]
        return np.where(self.births[at] & (last[lives] >= 0), last[lives], at)

    def value(self, word: int) -> npt.NDArray[np.uint64]:
        """What a word holds after each record; 0 when that was not told."""
        at = latest(self._told & (self._ids == word), self._first)
        return np.where(at >= 0, self.records["c"][at], np.uint64(0))
