"""GUP-fast's walks, and how page tables were freed under them (event group ``walkers``).

A walk runs with interrupts off (mm/gup.c). A table may be freed when no walk that began before the
table was unlinked still runs: rule D2. Interrupts are off, so walks of one CPU do not overlap.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model import pages
from shootdown.model.callstack import stack_log2
from shootdown.model.running import Running
from shootdown.trace.columns import any_of, are
from shootdown.trace.functions import Function
from shootdown.trace.schema import Kind, Probe, Use
from shootdown.trace.types import Events

NEVER: Final = np.iinfo(np.uint64).max

WALK: Final = np.dtype(
    [
        ("begin", "<u8"),
        ("end", "<u8"),
        ("icount", "<u8"),
        ("pc", "<u8"),
        ("task", "<u8"),
        ("cpu", "u1"),
    ]
)
"""One walk: numbers of its first and last moment; ``task`` is a VA."""
FREED: Final = np.dtype(
    [
        ("table", "<u8"),
        ("unlinked", "<u8"),
        ("freed", "<u8"),
        ("icount", "<u8"),
        ("pc", "<u8"),
        ("cpu", "u1"),
        ("ipis", "<u4"),
        ("grace", "?"),
    ]
)
"""One page table freed: its PA, when it was unlinked (0: before the recording) and freed, how many
CPUs ran ``tlb_remove_table_smp_sync`` in between, and whether an RCU callback freed it."""

Walks = npt.NDArray[np.void]
Frees = npt.NDArray[np.void]
_HOSTS: Final = (Function["gup_fast_fallback"], Function["internal_get_user_pages_fast"])
_CALLBACKS: Final = (Function["tlb_remove_table_rcu"], Function["pte_free_now"])


def walks(events: Events) -> Walks:
    """Every walk, in the order of ``begin``.

    One that began with interrupts off does not turn them on: it is over when its function returns.
    """
    calls = any_of(events["kind"], (Kind.ENTER, Kind.EXIT))
    mine = events[calls & any_of(events["id"], (Function["gup_fast"], *_HOSTS))]
    mine = mine[np.lexsort((mine["seq"], mine["cpu"]))]
    begins = are(mine["kind"], Kind.ENTER) & are(mine["id"], Function["gup_fast"])
    at = np.flatnonzero(begins)
    after = np.minimum(at + 1, max(len(mine) - 1, 0))
    ends = (after > at) & (mine["cpu"][after] == mine["cpu"][at])
    found = np.zeros(len(at), WALK)
    found["begin"], found["cpu"] = mine["seq"][at], mine["cpu"][at]
    found["end"] = np.where(ends, mine["seq"][after], NEVER)
    found["icount"], found["pc"] = mine["icount"][at], mine["pc"][at]
    found["task"] = Running(events).tasks(found["cpu"], found["begin"])
    return found[np.argsort(found["begin"], kind="stable")]


def frees(events: Events) -> Frees:
    """Every page table that was given back to the allocator, in the order of ``freed``."""
    lives = pages.read(events)
    tables = lives[lives["use"] & Use.TABLE != 0]
    found = np.zeros(len(tables), FREED)
    found["table"], found["freed"] = tables["pa"], tables["freed"]
    for name in ("icount", "pc", "cpu"):
        found[name] = tables[name]
    gone = events[any_of(events["kind"], (Kind.TABLE_UNLINK, Kind.ROOT_FORGET))]
    found["unlinked"] = _last(gone, found["table"], found["freed"])
    found["ipis"] = _ipis(events, found)
    found["grace"] = _in_callback(events, found["cpu"], found["freed"])
    return found[np.isin(found["table"], gone["b"])]


def _last(
    gone: Events, table: npt.NDArray[np.uint64], seq: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Number of the last event about each table before a number; 0 when there is none."""
    ordered = gone[np.argsort(gone["seq"], kind="stable")]
    by_table: dict[int, list[int]] = {}
    for pa, number in ordered[["b", "seq"]].tolist():
        by_table.setdefault(pa, []).append(number)
    found = [
        max((number for number in by_table.get(pa, ()) if number < end), default=0)
        for pa, end in zip(table.tolist(), seq.tolist(), strict=True)
    ]
    return np.array(found, np.uint64)


def _ipis(events: Events, found: Frees) -> npt.NDArray[np.uint32]:
    """CPUs that ran the handler between unlinking and freeing."""
    handler = Function["tlb_remove_table_smp_sync"]
    ran = events[are(events["kind"], Kind.ENTER) & are(events["id"], handler)]
    ran = ran[np.argsort(ran["seq"], kind="stable")]
    first = np.searchsorted(ran["seq"], found["unlinked"])
    end = np.searchsorted(ran["seq"], found["freed"])
    cpus = [len(np.unique(ran["cpu"][a:b])) for a, b in zip(first, end, strict=True)]
    return np.array(cpus, np.uint32)


def _in_callback(
    events: Events, cpu: npt.NDArray[np.uint8], seq: npt.NDArray[np.uint64]
) -> npt.NDArray[np.bool_]:
    """Whether the CPU ran one of RCU's callbacks that free tables, called by RCU.

    RCU calls them on a stack for interrupts or of a kernel thread, never on that of a user's task.
    """
    calls = any_of(events["kind"], (Kind.ENTER, Kind.EXIT)) & any_of(events["id"], _CALLBACKS)
    inside = np.zeros(len(cpu), np.bool_)
    for number in np.unique(cpu).tolist():
        mine = events[calls & (events["cpu"] == number)]
        which = np.flatnonzero(cpu == number)
        at = np.searchsorted(mine["seq"], seq[which]) - 1
        known = at >= 0
        inside[which[known]] = are(mine["kind"][at[known]], Kind.ENTER)
        inside[which[known]] &= ~_on_users_stack(events, mine[at[known]])
    return inside


def _on_users_stack(events: Events, calls: Events) -> npt.NDArray[np.bool_]:
    """Whether calls, all of one CPU, are on the stack of a running task that has an mm."""
    if not len(calls):
        return np.zeros(0, np.bool_)
    switches = are(events["id"], Probe.TASK_SWITCH) & (events["cpu"] == calls["cpu"][0])
    heads = events[switches & are(events["kind"], Kind.PROBE)]
    more = events[switches & are(events["kind"], Kind.PROBE_MORE)]
    found = np.zeros(len(calls), np.bool_)
    size = np.uint64(1 << stack_log2(events))
    for number, call in enumerate(calls):
        at = int(np.searchsorted(heads["seq"], call["seq"])) - 1
        of = int(np.searchsorted(more["seq"], call["seq"])) - 1
        if at >= 0 and of >= 0 and heads["d"][at]:
            base = more["c"][of]
            found[number] = base <= call["a"] < base + size
    return found


def walked_while_freed(walked: Walks, freed: Frees) -> list[tuple[int, int]]:
    """Pairs (begin of a walk, free of a table) that break D2.

    The walk, on another CPU, began before the table was unlinked, and still ran when it was freed.
    """
    found = []
    for row in freed[["unlinked", "freed", "cpu"]].tolist():
        unlinked, seq, cpu = row
        inside = (walked["begin"] < unlinked) & (walked["end"] > seq) & (walked["cpu"] != cpu)
        found += [(int(begin), int(seq)) for begin in walked["begin"][inside]]
    return found
