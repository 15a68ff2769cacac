"""The tables of event groups: what ``model`` makes of calls and watched words.

Without the group that a table is about it is empty.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from shootdown import arch as arches
from shootdown.frames.column import Column, Table, categories, field
from shootdown.model import calls, shootdowns, waits
from shootdown.model.known import Known
from shootdown.trace.functions import NAMES
from shootdown.trace.schema import Kind, Watch
from shootdown.trace.types import Events

_CALLS: Final = (Kind.ENTER, Kind.ENTER_MORE, Kind.EXIT)
_END: Final = field("end_seq", "uint64", "number", "the event at its end, 0 when not seen")
_MM: Final = field("mm", "uint64", "VA", "the mm_struct")
_START: Final = field("start", "uint64", "VA", "first address (inclusive)")
_STOP: Final = field("end", "uint64", "VA", "end address (exclusive), all bits for everything")


def _word(number: int) -> Column:
    text = "captured at its entry: arguments, then members of what they point to"
    return Column(
        f"word{number}", "uint64", "register", text, lambda rows: rows["words"][:, number]
    )


CALLS: Final = Table(
    "calls",
    "Calls of recorded kernel functions, of any event group.",
    _CALLS,
    (
        Column(
            "function",
            "category",
            "",
            "its name",
            lambda rows: categories([NAMES.get(n, str(n)) for n in rows["function"].tolist()]),
        ),
        field("sp", "uint64", "VA", "its stack pointer: calls on one stack nest by it"),
        *(_word(number) for number in range(calls.WORDS)),
        _END,
        field("end_icount", "uint64", "instructions", "the clock at its end"),
        field("end_cpu", "uint8", "index", "the vCPU it ended on"),
        field("result", "uint64", "register", "what it returned"),
        field("tail", "bool", "", "it ended with a jump to another function: no `result`"),
    ),
    calls.calls,
)
FLUSH_REQUESTS: Final = Table(
    "flush_requests",
    "x86: calls of flush_tlb_mm_range.",
    _CALLS,
    (
        _MM,
        _START,
        _STOP,
        field("shift", "uint8", "bits", "the stride from entry to entry: so many bits of the VA"),
        field("freed_tables", "bool", "", "page tables go too: lazy CPUs are not left out"),
        field("interrupts", "uint32", "CPUs", "other CPUs whose handler ran for it"),
        field("end_seq", "uint64", "number", "the event at its end: all have answered"),
    ),
    shootdowns.requests,
    group="shootdowns",
)
SHOOTDOWNS: Final = Table(
    "shootdowns",
    "x86: runs of flush_tlb_func, where a shootdown takes effect.",
    _CALLS,
    (
        _MM,
        _START,
        _STOP,
        field("generation", "uint64", "number", "tlb_gen of the mm that it brings the CPU to"),
        field("initiator", "uint32", "index", "the CPU that asked"),
        field("remote", "bool", "", "it ran in an interrupt that another CPU sent"),
        field("request", "uint64", "number", "`seq` in `flush_requests`, 0 when not from there"),
        _END,
    ),
    shootdowns.handlers,
    group="shootdowns",
)


def _asids(events: Events) -> Events:
    kinds = np.isin(events["kind"], (Kind.WATCH, Kind.WATCH_INIT))
    rows: Events = events[kinds & (events["id"] == Watch.MM_CONTEXT_ID) & (events["c"] != 0)]
    return rows


_ASID_BITS: Final = np.uint64(16)
ASIDS: Final = Table(
    "asids",
    "arm64: ASIDs given to address spaces.",
    (Kind.WATCH, Kind.WATCH_INIT),
    (
        field("mm", "uint64", "VA", "the mm_struct", "d"),
        Column(
            "asid", "uint16", "ASID", "with KPTI the kernel's of the pair: even",
            lambda rows: rows["c"] & np.uint64(0xFFFF),
        ),
        Column(
            "generation", "uint64", "number", "that it was given in; ASIDs of older ones are dead",
            lambda rows: rows["c"] >> _ASID_BITS,
        ),
    ),
    _asids,
    group="asid",
)  # fmt: skip


def _waits(events: Events, known: Known) -> Events:
    numbers = arches.get(known.arch).kernel.syscalls if known.arch else {}
    return waits.table(waits.waits(events, numbers))


def _side(side: str, text: str) -> tuple[Column, ...]:
    does = f"{side}_does"
    return (
        field(f"{side}_task", "uint64", "VA", f"{text}: the task_struct"),
        field(f"{side}_pid", "uint32", "pid", f"{text}: the thread"),
        Column(
            does, "category", "", "its system call, `fault`, or empty",
            lambda rows: categories(rows[does]),
        ),
        field(f"{side}_start", "uint64", "VA", "lowest address of its operation, 0 if not known"),
        field(f"{side}_end", "uint64", "VA", "end (exclusive) of its operation, 0 if not known"),
    )  # fmt: skip


LOCK_WAITS: Final = Table(
    "lock_waits",
    "Waits for an mmap_lock, a row for each holder.",
    (
        *(Kind.ARMED, Kind.WATCH, Kind.WATCH_INIT, Kind.PROBE, Kind.PROBE_MORE),
        *(Kind.RET_USER, Kind.ENTER, Kind.EXIT),
    ),
    (
        field("end_seq", "uint64", "number", "the event at its end, 0 when not seen"),
        _MM,
        field("write", "bool", "", "it wants the lock to write"),
        *_side("waiter", "who waits"),
        *_side("holder", "who holds the lock when the wait begins"),
        Column(
            "overlap", "category", "", "whether the two operations share an address",
            lambda rows: categories(rows["overlap"]),
        ),
    ),
    group="lock_waits",
    told=_waits,
)  # fmt: skip
