"""Barriers that neither complete an invalidation nor publish a store to one."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.stream import Mask
from shootdown.model.tlb_arm64 import BOTH, NON_SHAREABLE, STORES
from shootdown.trace.columns import Fields, are
from shootdown.trace.schema import BarrierOp, Kind

_At = npt.NDArray[np.intp]
_TYPES: Final = np.uint64(3)
_DOMAIN: Final = np.uint64(2)


def needless_barriers(part: Fields) -> Mask:
    """The barriers of one vCPU that do nothing (``Arm64Tlb.barrier``; none do on x86).

    Proof: only a DSB does anything, one that waits for stores. It notes when stores were last
    published, to everybody or to the own walker, which only the vCPU's next invalidation asks for:
    of a run of DSBs with no invalidation among them, the last one, and the last one that reaches
    everybody, will do. And when it waits for loads too, it completes the vCPU's own invalidations
    before it, as far as it reaches: only the first of each reach in a run can find any.
    A run also ends where the piece of the trace does; that keeps more of them.
    """
    kind = part["kind"]
    needless: Mask = are(kind, Kind.BARRIER)
    at = np.flatnonzero(needless)
    at = at[are(part["id"][at], BarrierOp.DSB) & (part["a"][at] & _TYPES >= STORES)]
    types = part["a"][at] & _TYPES
    run = np.searchsorted(np.flatnonzero(are(kind, Kind.FLUSH)), at)
    wide = part["a"][at] >> _DOMAIN & _TYPES != NON_SHAREABLE
    both = types == BOTH
    needless[at[_last(run)]] = False
    needless[at[wide][_last(run[wide])]] = False
    for chosen in (wide & both, ~wide & both):
        needless[at[chosen][_first(run[chosen])]] = False
    return needless


def _first(run: _At) -> Mask:
    """The first of each run."""
    found: Mask = np.diff(run, prepend=-1) != 0
    return found


def _last(run: _At) -> Mask:
    """The last of each run."""
    found: Mask = np.diff(run, append=-1) != 0
    return found
