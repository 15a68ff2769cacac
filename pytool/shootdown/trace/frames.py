"""Tables of a trace for pandas: one per kind of event, its fields under their own names.

Every table has the columns ``seq``, ``icount``, ``pc`` (VA) and ``cpu`` first and is in
the order of ``seq``. Addresses and counts are uint64, names are categories, yes-or-no
columns are bool. An empty table has all its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from shootdown.errors import UsageError
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

if TYPE_CHECKING:
    from shootdown.trace.reader import Trace

Columns: TypeAlias = dict[str, Any]


def frame(trace: Trace, name: str) -> pd.DataFrame:
    """The table ``name`` of a trace. Raises UsageError for a name that is none of them."""
    try:
        kinds, build = FRAMES[name]
    except KeyError:
        raise UsageError(f"no table '{name}': use one of {', '.join(FRAMES)}") from None
    return build(trace.select(*kinds))


def ptes(events: Events) -> pd.DataFrame:
    """Page-table writes: slot PA, old and new entry, VA the slot maps from, level."""
    return _frame(events, slot="a", old="b", new="c", va="d", level="level", atomic=Flag.ATOMIC)


def flushes(events: Events) -> pd.DataFrame:
    """TLB invalidations: first VA (inclusive), end VA (exclusive, 0 for everything), ASID."""
    return _frame(
        events,
        _names(events, FlushOp, "op"),
        start="a",
        end="b",
        asid="c",
        raw="d",
        ttl="level",
        local=Flag.LOCAL,
        leaf=Flag.LEAF,
        all_asid=Flag.ALL_ASID,
    )


def barriers(events: Events) -> pd.DataFrame:
    """Barriers with their raw CRm field."""
    return _frame(events, _names(events, BarrierOp, "op"), crm="a")


def roots(events: Events) -> pd.DataFrame:
    """Root loads: raw value, root PA, ASID or PCID, the register's value before."""
    return _frame(events, _names(events, RootReg, "reg"), raw="a", root="b", asid="c", before="d")


def locks(events: Events) -> pd.DataFrame:
    """Watched words: PA, old and new value, VA of the object; rows with ``init`` begin a watch."""
    init = events["kind"] == Kind.WATCH_INIT
    old = np.where(init, events["c"], events["b"])
    return _frame(
        events, _names(events, Watch, "watch"), pa="a", old=old, new="c", base="d", init=init
    )


def syscalls(events: Events) -> pd.DataFrame:
    """System call entries: number and six arguments, from PROBE and its PROBE_MORE."""
    first, more = _probes(events, Probe.SYSCALL)
    values = [*(first[f] for f in "abcd"), *(more[f] for f in "abc")]
    names = ("number", *(f"arg{i}" for i in range(6)))
    return _frame(first, **dict(zip(names, values, strict=True)))


def switches(events: Events) -> pd.DataFrame:
    """Task switches: the next task's task_struct VA, pid, tgid, mm_struct VA and name."""
    first, more = _probes(events, Probe.TASK_SWITCH)
    comm = {"comm": _text(more["a"], more["b"])}
    return _frame(first, comm, task="a", pid="b", tgid="c", mm="d")


def faults(events: Events) -> pd.DataFrame:
    """Page faults: fault VA, and x86 error code or arm64 ESR."""
    first, _ = _probes(events, Probe.FAULT)
    return _frame(first, va="a", code="b")


def returns(events: Events) -> pd.DataFrame:
    """Returns to user mode: the result register as a signed number, and the user PC or 0."""
    return _frame(events, result=events["a"].astype(np.int64), user_pc="b")


def marks(events: Events) -> pd.DataFrame:
    """What the guest said: the mark, four arguments, and ``text`` where a and b hold a name."""
    named = np.isin(events["id"], (Mark.THREAD, Mark.BEGIN, Mark.END))
    text = np.where(named, _text(events["a"], events["b"]), "")
    return _frame(events, _names(events, Mark, "mark"), text=text, a="a", b="b", c="c", d="d")


def observations(events: Events) -> pd.DataFrame:
    """User accesses in declared ranges: VA, PA really used, value, equal accesses before."""
    return _frame(
        events,
        va="a",
        pa="b",
        value="c",
        repeats="d",
        size="size",
        store=Flag.STORE,
        last=Flag.LAST,
    )


FRAMES: Final[Mapping[str, tuple[tuple[Kind, ...], Callable[[Events], pd.DataFrame]]]] = {
    "ptes": ((Kind.PTE_WRITE,), ptes),
    "flushes": ((Kind.FLUSH,), flushes),
    "barriers": ((Kind.BARRIER,), barriers),
    "roots": ((Kind.ROOT_LOAD,), roots),
    "locks": ((Kind.WATCH, Kind.WATCH_INIT), locks),
    "syscalls": ((Kind.PROBE, Kind.PROBE_MORE), syscalls),
    "switches": ((Kind.PROBE, Kind.PROBE_MORE), switches),
    "faults": ((Kind.PROBE,), faults),
    "returns": ((Kind.RET_USER,), returns),
    "marks": ((Kind.MARK,), marks),
    "observations": ((Kind.OBS,), observations),
}


def _frame(
    events: Events, named: Columns | None = None, /, **columns: str | Flag | npt.NDArray[Any]
) -> pd.DataFrame:
    """``columns``: a field of the record, a flag, or values."""
    data: Columns = {name: events[name] for name in ("seq", "icount", "pc", "cpu")}
    data |= named or {}
    for name, column in columns.items():
        if isinstance(column, Flag):
            data[name] = (events["flags"] & column) != 0
        elif isinstance(column, str):
            data[name] = events[column]
        else:
            data[name] = column
    # Fields are strided views of the records: copy, so that the mapped file can be let go.
    return pd.DataFrame({name: _own(values) for name, values in data.items()})


def _own(values: Any) -> Any:
    return values.copy() if isinstance(values, np.ndarray) else values


def _names(events: Events, enum: type[IntEnum], column: str) -> Columns:
    names = {int(member): member.name for member in enum}
    ids, codes = np.unique(events["id"], return_inverse=True)
    categories = [names.get(value, str(value)) for value in ids.tolist()]
    return {column: pd.Categorical.from_codes(codes, categories=pd.Index(categories))}


def _probes(events: Events, probe: Probe) -> tuple[Events, Events]:
    """The PROBE records of one probe, and beside each the PROBE_MORE after it, or zeros."""
    order = np.lexsort((events["seq"], events["cpu"]))
    ordered = events[order]
    first = np.flatnonzero((ordered["kind"] == Kind.PROBE) & (ordered["id"] == probe))
    more = np.zeros(len(first), DTYPE)
    after = np.minimum(first + 1, max(len(ordered) - 1, 0))
    follows = (
        (first + 1 < len(ordered))
        & (ordered["kind"][after] == Kind.PROBE_MORE)
        & (ordered["cpu"][after] == ordered["cpu"][first])
    )
    more[follows] = ordered[after[follows]]
    by_seq = np.argsort(ordered["seq"][first], kind="stable")
    return ordered[first][by_seq], more[by_seq]


def _text(low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64]) -> npt.NDArray[np.object_]:
    """Names of up to 16 characters in two words each, little endian, NUL padded."""
    words = np.stack([low, high], axis=1).astype("<u8")
    raw = [row.tobytes().partition(b"\0")[0] for row in words]
    return np.array([name.decode("ascii", "backslashreplace") for name in raw], dtype=np.object_)
