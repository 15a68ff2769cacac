"""Which invalidations came between the store that a finding is about and the finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shootdown.model.pagetables import span_of
from shootdown.model.stream import Mask
from shootdown.model.tlb import EVERYWHERE
from shootdown.model.tlb_arm64 import BOTH, NON_SHAREABLE, STORES
from shootdown.rules.feed import Feed
from shootdown.rules.violation import Invalidation, Violation
from shootdown.trace.columns import any_of, are
from shootdown.trace.schema import BarrierOp, Flag, FlushOp, Kind, RootReg
from shootdown.trace.types import Events

_SHOWN: Final = 8
"""Invalidations of one finding that are described; the others are counted only."""
_STORES: Final = (Kind.PTE_WRITE, Kind.TABLE_UNLINK)
_LOCAL: Final = (FlushOp.INVLPG, FlushOp.CR4_WRITE, FlushOp.INVPCID)
"""What never leaves its CPU, with or without the flag."""
_OF_ASID: Final = (FlushOp.TLBI_VA, FlushOp.TLBI_RANGE, FlushOp.TLBI_ASID)
_KNOWN: Final = frozenset(map(int, FlushOp))
_KEEPS: Final = np.uint64(63)
"""The bit of a new CR3 that keeps the TLB as it is."""

_At = npt.NDArray[np.intp]
Came = tuple[tuple[Invalidation, ...], int]
"""The invalidations, and how many there were besides."""


class _Span(NamedTuple):
    """Numbers of a store and of the event that ends the time for its flush."""

    store: int
    end: int

    def holds(self, events: Events) -> Mask:
        mask: Mask = (events["seq"] > self.store) & (events["seq"] <= self.end)
        return mask


def came(firsts: Mapping[str, Violation], named: Events, feed: Feed) -> dict[str, Came]:
    """By fingerprint: the invalidations that came, for findings about what CPUs hold.

    ``named`` are the events that the findings rest on. Those that came count when they cover the
    address, on whatever CPU; when they are by the CPU that stored or one that may hold the entry,
    whatever they cover; and when they take everything from all CPUs. A load of CR3 counts unless it
    keeps the TLB. If there are many, those of the address come first, then those of everything.
    """
    about = {mark: violation for mark, violation in firsts.items() if violation.holders}
    if not about:
        return {}
    spans = {mark: _span(violation, named) for mark, violation in about.items()}
    events = feed.chosen(lambda part: _wanted(part, spans.values()))
    return {mark: _of(about[mark], events[span.holds(events)]) for mark, span in spans.items()}


def _span(violation: Violation, named: Events) -> _Span:
    mine = named[np.isin(named["seq"], np.array(violation.seq, np.uint64))]
    stores = mine["seq"][any_of(mine["kind"], _STORES)]
    return _Span(int(stores[0]) if len(stores) else violation.seq[0], violation.seq[-1])


def _wanted(part: Events, spans: Iterable[_Span]) -> Mask:
    loads = are(part["kind"], Kind.ROOT_LOAD) & are(part["id"], RootReg.CR3)
    found: Mask = are(part["kind"], Kind.FLUSH) | (loads & (part["a"] >> _KEEPS == 0))
    found |= are(part["kind"], Kind.BARRIER) & are(part["id"], BarrierOp.DSB)
    within = np.zeros(len(part), np.bool_)
    for span in spans:
        within |= span.holds(part)
    return found & within


def _of(violation: Violation, events: Events) -> Came:
    """Those of one finding among the events of its time."""
    barriers = events[are(events["kind"], Kind.BARRIER)]
    flushes = events[~are(events["kind"], Kind.BARRIER)]
    chosen = _chosen(violation, flushes)
    shown = np.sort(chosen[:_SHOWN])
    return tuple(_told(one, barriers) for one in flushes[shown]), len(chosen) - len(shown)


def _chosen(violation: Violation, flushes: Events) -> _At:
    """Where those are that concern the finding, the most telling first."""
    size = span_of(violation.level or 1)
    start = violation.va & -size
    end = min(start + size, EVERYWHERE - 1)
    load = are(flushes["kind"], Kind.ROOT_LOAD)
    whole = load | (flushes["b"] == 0)
    covers = ~whole & (flushes["a"] < np.uint64(end)) & (flushes["b"] > np.uint64(start))
    near = any_of(flushes["cpu"], {violation.cpu, *(one.cpu for one in violation.holders)})
    found = np.flatnonzero(covers | near | (whole & ~_local(flushes)))
    rank = np.where(covers, 0, np.where(whole, 1, 2))[found]
    best: _At = found[np.argsort(rank, kind="stable")]
    return best


def _local(flushes: Events) -> Mask:
    mask: Mask = are(flushes["kind"], Kind.ROOT_LOAD) | (flushes["flags"] & Flag.LOCAL != 0)
    mask |= any_of(flushes["id"], _LOCAL)
    return mask


def _told(flush: np.void, barriers: Events) -> Invalidation:
    load, op = flush["kind"] == Kind.ROOT_LOAD, int(flush["id"])
    seq, cpu = int(flush["seq"]), int(flush["cpu"])
    local = bool(_local(flush.reshape(1))[0])
    types, wide = barriers["a"] & 3, barriers["a"] >> 2 & 3 != NON_SHAREABLE
    own = (barriers["cpu"] == cpu) & (wide | local)
    before = barriers["seq"][own & (types >= STORES) & (barriers["seq"] < seq)]
    behind = barriers["seq"][own & (types == BOTH) & (barriers["seq"] > seq)]
    return Invalidation(
        seq=seq,
        cpu=cpu,
        operation="CR3_LOAD" if load else _name(op),
        start=0 if load else int(flush["a"]),
        end=0 if load else int(flush["b"]),
        asid=int(flush["c"]) if not load and op in _OF_ASID else 0,
        local=local,
        dsb_before=int(before[-1]) if len(before) else 0,
        dsb_after=int(behind[0]) if len(behind) else 0,
    )


def _name(op: int) -> str:
    return FlushOp(op).name if op in _KNOWN else str(op)
