"""The tables that need nothing but the trace: one for each kind of event.

A field of the schema that a table does not name says nothing for its events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.frames.column import Column, Table, Values, categories, field, flag, names
from shootdown.trace.schema import (
    DTYPE,
    BarrierOp,
    Flag,
    FlushOp,
    Kind,
    Mark,
    Probe,
    RootReg,
    Watch,
)
from shootdown.trace.types import Events

_MORE: Final = {f"more_{name}": name for name in "abcd"}
_JOINED: Final = np.dtype([*DTYPE.descr, *((name, "<u8") for name in _MORE)])
"""A PROBE record, and the captures of the PROBE_MORE after it."""
_WATCHES: Final = (Kind.WATCH, Kind.WATCH_INIT)


def _probes(probe: Probe) -> Callable[[Events], Events]:
    """Joins the records of one probe with their rest, or zeros where it is missing."""

    def rows(events: Events) -> Events:
        ordered = events[np.lexsort((events["seq"], events["cpu"]))]
        kind, cpu = ordered["kind"], ordered["cpu"]
        first = np.flatnonzero((kind == Kind.PROBE) & (ordered["id"] == probe))
        after = np.minimum(first + 1, max(len(ordered) - 1, 0))
        follows = (after > first) & (kind[after] == Kind.PROBE_MORE) & (cpu[after] == cpu[first])
        joined = np.zeros(len(first), _JOINED)
        for name in DTYPE.names or ():
            joined[name] = ordered[name][first]
        for name, source in _MORE.items():
            joined[name][follows] = ordered[source][after[follows]]
        return joined[np.argsort(joined["seq"], kind="stable")]

    return rows


def _text(low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]) -> list[str]:
    """Names of up to 16 characters in two words each, little endian, NUL padded."""
    words = np.stack([low, high], axis=1).astype("<u8")
    raw = [row.tobytes().partition(b"\0")[0] for row in words]
    return [name.decode("ascii", "backslashreplace") for name in raw]


def _mark_text(rows: Events) -> Values:
    named = np.isin(rows["id"], (Mark.THREAD, Mark.BEGIN, Mark.END))
    return categories(np.where(named, np.array(_text(rows["a"], rows["b"]), np.object_), ""))


def _old_word(rows: Events) -> npt.NDArray[np.uint64]:
    return np.where(rows["kind"] == Kind.WATCH_INIT, rows["c"], rows["b"])


PTES: Final = Table(
    "ptes",
    "Stores to page-table slots that changed them.",
    (Kind.PTE_WRITE,),
    (
        field("slot", "uint64", "PA", "the slot", "a"),
        field("old", "uint64", "entry", "what it held", "b"),
        field("new", "uint64", "entry", "what it holds now", "c"),
        field("va", "uint64", "VA", "first address the slot translates", "d"),
        field("level", "uint8", "level", "of its table: 1 maps pages, the root is the highest"),
        flag("atomic", Flag.ATOMIC, "part of an atomic read-modify-write"),
    ),
)
FLUSHES: Final = Table(
    "flushes",
    "TLB invalidations by instructions of their own; x86 CR3 loads are in `roots`.",
    (Kind.FLUSH,),
    (
        names("op", FlushOp, "the instruction (FlushOp)"),
        field("start", "uint64", "VA", "first address (inclusive)", "a"),
        field("end", "uint64", "VA", "end address (exclusive), 0 for everything", "b"),
        field("asid", "uint64", "ASID", "the address space (arm64)", "c"),
        field("raw", "uint64", "operand", "the instruction's operand as it was", "d"),
        field("ttl", "uint8", "level", "arm64 TTL level hint, 0 for none", "level"),
        flag("local", Flag.LOCAL, "on the issuing vCPU only"),
        flag("leaf", Flag.LEAF, "last-level entries only"),
        flag("all_asid", Flag.ALL_ASID, "every address space, global entries included"),
    ),
)
BARRIERS: Final = Table(
    "barriers",
    "Barriers that complete or publish invalidations.",
    (Kind.BARRIER,),
    (
        names("op", BarrierOp, "the instruction (BarrierOp)"),
        field("crm", "uint8", "CRm", "arm64 DSB domain and type, as encoded", "a"),
    ),
)
DELAYS: Final = Table(
    "delays",
    "Times for which a vCPU was held back on purpose (`--inject`); a row is its end.",
    (Kind.DELAY,),
    (
        field("point", "uint16", "number", "which one of delays.toml, from 1", "id"),
        field("asked", "uint64", "ns", "how long it was to be", "a"),
        field("took", "uint64", "ns", "how long it was", "b"),
        field("arrival", "uint64", "count", "of this vCPU at the point, from 1", "c"),
        field("va", "uint64", "VA", "of the entry whose change was the point, else 0", "d"),
    ),
)
ROOTS: Final = Table(
    "roots",
    "Loads of translation roots.",
    (Kind.ROOT_LOAD,),
    (
        names("reg", RootReg, "the register (RootReg)"),
        field("raw", "uint64", "register", "the value loaded; x86: bit 63 set keeps the TLB", "a"),
        field("root", "uint64", "PA", "the root table", "b"),
        field("asid", "uint64", "ASID", "ASID, or PCID on x86", "c"),
        field("before", "uint64", "register", "the value before", "d"),
    ),
)
WATCHES: Final = Table(
    "watches",
    "Stores to watched words as they are; `locks` is what those to mmap_locks mean.",
    _WATCHES,
    (
        names("watch", Watch, "which word (Watch)"),
        field("pa", "uint64", "PA", "the word", "a"),
        Column("old", "uint64", "word", "before; that of `new` when it is not known", _old_word),
        field("new", "uint64", "word", "after", "c"),
        field("base", "uint64", "VA", "the object it lies in, or the CPU's number", "d"),
        Column(
            "init",
            "bool",
            "",
            "no store: the word is watched from here on",
            lambda rows: rows["kind"] == Kind.WATCH_INIT,
        ),
    ),
)
SYSCALLS: Final = Table(
    "syscalls",
    "Entries of system calls.",
    (Kind.PROBE, Kind.PROBE_MORE),
    (
        field("number", "uint64", "number", "of the system call, by the architecture's table", "a"),
        *(
            field(f"arg{at}", "uint64", "register", f"argument {at}", source)
            for at, source in enumerate(("b", "c", "d", "more_a", "more_b", "more_c"))
        ),
    ),
    _probes(Probe.SYSCALL),
)
SWITCHES: Final = Table(
    "switches",
    "Task switches: who runs on the vCPU from here on.",
    (Kind.PROBE, Kind.PROBE_MORE),
    (
        field("task", "uint64", "VA", "its task_struct", "a"),
        field("pid", "int32", "pid", "the thread", "b"),
        field("tgid", "int32", "pid", "the process", "c"),
        field("mm", "uint64", "VA", "its mm_struct, 0 for a kernel thread", "d"),
        Column(
            "comm",
            "category",
            "",
            "its name, up to 16 characters",
            lambda rows: categories(_text(rows["more_a"], rows["more_b"])),
        ),
    ),
    _probes(Probe.TASK_SWITCH),
)
RETURNS: Final = Table(
    "returns",
    "Returns to user mode, of system calls, faults and interrupts alike.",
    (Kind.RET_USER,),
    (
        field("result", "int64", "register", "the result register as a signed number", "a"),
        field("user_pc", "uint64", "VA", "where user code goes on, 0 when not known", "b"),
    ),
)
MARKS: Final = Table(
    "marks",
    "What the guest's agent and workloads said.",
    (Kind.MARK,),
    (
        names("mark", Mark, "what was said (Mark)"),
        Column("text", "category", "", "the name in a and b, where they hold one", _mark_text),
        *(field(name, "uint64", "argument", "see Mark") for name in "abcd"),
    ),
)
OBSERVATIONS: Final = Table(
    "observations",
    "User accesses inside ranges that the guest declared.",
    (Kind.OBS,),
    (
        field("va", "uint64", "VA", "the address used", "a"),
        field("pa", "uint64", "PA", "where the access really went", "b"),
        field("value", "uint64", "value", "read or written", "c"),
        field("repeats", "uint64", "accesses", "equal ones before, since the last row", "d"),
        field("size", "uint8", "bytes", "of the access"),
        flag("store", Flag.STORE, "a store"),
        flag("last", Flag.LAST, "no access: written at the end for `repeats` alone"),
    ),
)

TABLES: Final = (
    PTES,
    FLUSHES,
    BARRIERS,
    DELAYS,
    ROOTS,
    WATCHES,
    SYSCALLS,
    SWITCHES,
    RETURNS,
    MARKS,
    OBSERVATIONS,
)
