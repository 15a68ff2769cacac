"""The tables of VMAs and of their locks, as the model reads them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from shootdown.frames.column import Column, Table, field, row_type, text
from shootdown.model import vma_locks, vmas
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events

_VMA_COLUMNS: Final = (
    Column(
        "event",
        "category",
        "",
        "`alloc` or `dup`: born; `start`, `end`, `mm`, `flags`, `page_prot`: that word changed; "
        "`attach`, `detach`; `free`: dead; `release`: its memory goes back, where that is later; "
        "`tree`: the root of the mm's tree changed",
        lambda rows: pd.Categorical(rows["event"], categories=pd.Index(vmas.EVENTS)),
    ),
    field("base", "uint64", "VA", "the vm_area_struct; the mm_struct for `tree`"),
    field("generation", "uint32", "number", "of the VMAs at that address, from 1; 0 for `tree`"),
    field("old", "uint64", "word", "the word before; for `dup` the VA of the VMA copied"),
    field("new", "uint64", "word", "the word after; for `alloc` and `dup` the VMA"),
    field("start", "uint64", "VA", "vm_start after the event"),
    field("end", "uint64", "VA", "vm_end after the event (exclusive)"),
    field("mm", "uint64", "VA", "vm_mm after the event"),
    field("flags", "uint64", "VM_", "vm_flags after the event"),
    field("page_prot", "uint64", "entry", "vm_page_prot after the event"),
    field("attached", "bool", "", "whether it is in its mm's tree; true before 6.4"),
)
_VMA_ROW: Final = row_type(_VMA_COLUMNS)


def _lives(events: Events) -> Events:
    return np.array([tuple(step) for step in vmas.steps(events)], dtype=_VMA_ROW)


VMAS: Final = Table(
    "vmas",
    "Lives of VMAs: a row for each birth, change and death, with what the VMA is after it. A VMA "
    "is known by `base` and `generation`.",
    (Kind.WATCH, Kind.WATCH_INIT, Kind.ENTER, Kind.EXIT),
    _VMA_COLUMNS,
    _lives,
    group="vmas",
)

_LOCK_COLUMNS: Final = (
    text(
        "event",
        "`read_acquire`, `read_release`; `write_lock`: vm_lock_seq was stored; `mm_seq`: "
        "mm_lock_seq changed, which ends all write locks of the mm; `attach`, `detach`; "
        "`exclude`, `include`: from 6.15 on, a writer keeps readers out; with the rw_semaphore "
        "of 6.4 to 6.14 `write_acquire` and `write_release` around `write_lock`, and what "
        "`locks` knows",
    ),
    field("base", "uint64", "VA", "the vm_area_struct; the mm_struct for `mm_seq`"),
    field("old", "uint64", "word", "before"),
    field("new", "uint64", "word", "after"),
    field("readers", "uint64", "tasks", "that hold the read lock after it, or will give up"),
)
_LOCK_ROW: Final = row_type(_LOCK_COLUMNS)


def _locks(events: Events) -> Events:
    rows = [
        (c.seq, c.icount, c.pc, c.cpu, c.event, c.base, c.old, c.new, c.readers)
        for c in vma_locks.history(events).steps
    ]
    return np.array(rows, dtype=_LOCK_ROW)


VMA_LOCKS: Final = Table(
    "vma_locks",
    "Per-VMA locks: a row for each change of a lock's words.",
    (Kind.WATCH, Kind.WATCH_INIT),
    _LOCK_COLUMNS,
    _locks,
    "word by word, each in the order that its values tell; `seq` may step back between neighbours",
    group="vma_locks",
)
