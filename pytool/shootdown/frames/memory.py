"""Tables of page-table locks, of freed frames, and of walks without locks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from shootdown.frames.column import Column, Table, Values, categories, field
from shootdown.model import pages, ptl, walkers
from shootdown.trace.functions import NAMES
from shootdown.trace.schema import Kind, Use
from shootdown.trace.types import Events

_UNLINKS: Final = (Kind.TABLE_UNLINK, Kind.ROOT_FORGET)


def _named(rows: npt.NDArray[Any], **names: str) -> Events:
    """The rows with some fields called otherwise."""
    renamed = [(names.get(name, name), kind) for name, kind, *_ in rows.dtype.descr]
    return rows.view(np.dtype(renamed))


def _function(name: str) -> Column:
    def source(rows: Events) -> Values:
        labels = [NAMES.get(number, "") for number in rows[name].tolist()]
        return categories(np.array(labels, np.object_))

    return Column(name, "category", "", "the function that told of it (Function)", source)


def _ends(name: str, text: str) -> Column:
    """A number that may be missing."""

    def source(rows: Events) -> Values:
        values = pd.array(rows[name], dtype="UInt64")
        values[rows[name] == ptl.NEVER] = pd.NA
        return values

    return Column(name, "UInt64", "number", text, source)


def _use(name: str, bit: Use, text: str) -> Column:
    return Column(name, "bool", "", text, lambda rows: (rows["use"] & bit) != 0)


PTLS: Final = Table(
    "ptls",
    "Holds of page-table locks (event group `ptl`); `seq`, `icount` and `pc` are those of the "
    "acquisition, or of the release where the lock was held before it was watched.",
    (Kind.WATCH, Kind.WATCH_INIT, Kind.PROBE, *_UNLINKS),
    (
        field(
            "lock",
            "uint64",
            "address",
            "PA of the table whose own lock it is, or VA of the mm_struct",
        ),
        field("own", "bool", "", "the table's own lock; else mm->page_table_lock"),
        field("task", "uint64", "VA", "the task_struct that held it, 0 when not known"),
        field("acquire", "uint64", "number", "its acquisition, 0 when before it was watched"),
        _ends("release", "its release; none when the table went away first, or the trace"),
        field("release_icount", "uint64", "instructions", "when it was released"),
        field("release_pc", "uint64", "VA", "the instruction that released it"),
    ),
    lambda events: _holds(ptl.read(events).holds),
    "in the order of `acquire`, which is the true one",
    group="ptl",
)
PAGES: Final = Table(
    "pages",
    "Frees of frames that user memory or a page table was in (event groups `pages`, `walkers`), "
    "and when each was allocated again.",
    (Kind.PAGE_FREED, Kind.PAGE_ALLOCATED),
    (
        field("pa", "uint64", "PA", "the frame"),
        field("frames", "uint32", "frames", "size of the block it was freed in"),
        _use("leaf", Use.LEAF, "user memory was in the block"),
        _use("table", Use.TABLE, "a page table was in the block"),
        _function("freed_by"),
        _ends("allocated", "its next allocation; none while it stays free"),
        field("allocated_icount", "uint64", "instructions", "when it was allocated"),
        field("allocated_cpu", "uint8", "index", "the vCPU that allocated it"),
        _function("allocated_by"),
    ),
    lambda events: _named(pages.read(events), freed="seq"),
    "in the order of `seq`: one for each frame of a block",
    group="pages",
)
WALKERS: Final = Table(
    "walkers",
    "Walks of GUP-fast, with interrupts off (event group `walkers`).",
    (Kind.ENTER, Kind.EXIT, Kind.PROBE),
    (
        field("task", "uint64", "VA", "the task_struct that walked, 0 when not known"),
        _ends("end", "interrupts are on again; none when the trace ended first"),
    ),
    lambda events: _named(walkers.walks(events), begin="seq"),
    group="walkers",
)
TABLE_FREES: Final = Table(
    "table_frees",
    "Page tables given back to the allocator (event group `walkers`), and what was waited for.",
    (Kind.ENTER, Kind.EXIT, Kind.PAGE_FREED, Kind.PAGE_ALLOCATED, *_UNLINKS),
    (
        field("table", "uint64", "PA", "the table"),
        field("unlinked", "uint64", "number", "when it was no longer reachable"),
        field("ipis", "uint32", "vCPUs", "that ran tlb_remove_table_smp_sync() since then"),
        field("grace", "bool", "", "freed by an RCU callback, after a grace period"),
    ),
    lambda events: _named(walkers.frees(events), freed="seq"),
    group="walkers",
)


def _holds(holds: ptl.Holds) -> Events:
    """With the columns of every table; ``acquire`` stays what it is."""
    rows = np.zeros(len(holds), [("seq", "<u8"), *ptl.HOLD.descr])
    for name in ptl.HOLD.names or ():
        rows[name] = holds[name]
    early = holds["acquire"] == 0
    rows["seq"] = np.where(early, holds["release"], holds["acquire"])
    for name in ("icount", "pc"):
        rows[name] = np.where(early, holds[f"release_{name}"], holds[name])
    return rows


TABLES: Final = (PTLS, PAGES, WALKERS, TABLE_FREES)
