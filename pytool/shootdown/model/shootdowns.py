"""x86's TLB shootdowns, put together: who asked, who was interrupted, who has answered.

arch/x86/mm/tlb.c: ``flush_tlb_mm_range`` asks; ``flush_tlb_func`` runs on every CPU that is to
flush, on the asking one directly and on others in an interrupt that ``native_flush_tlb_multi``
sends. All have answered when ``smp_call_function_many_cond`` (kernel/smp.c) returns. Batched
flushes of reclaim (``arch_tlbbatch_flush``) and of kernel ranges have handlers without a request.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.calls import calls
from shootdown.trace.functions import Function
from shootdown.trace.types import Events

_COMMON: Final = [("seq", "<u8"), ("icount", "<u8"), ("pc", "<u8"), ("cpu", "u1")]
_RANGE: Final = [("mm", "<u8"), ("start", "<u8"), ("end", "<u8")]
_REQUEST: Final = [("shift", "u1"), ("freed_tables", "?"), ("interrupts", "<u4")]
_HANDLER: Final = [("generation", "<u8"), ("initiator", "<u4"), ("remote", "?"), ("request", "<u8")]
_END: Final = [("end_seq", "<u8")]
REQUEST: Final = np.dtype([*_COMMON, *_RANGE, *_REQUEST, *_END])
"""A call of ``flush_tlb_mm_range``. ``interrupts``: handlers that ran for it on other CPUs."""
HANDLER: Final = np.dtype([*_COMMON, *_RANGE, *_HANDLER, *_END])
"""A run of ``flush_tlb_func``. ``request`` is the ``seq`` of its REQUEST, 0 without one."""


def requests(events: Events) -> npt.NDArray[np.void]:
    """Every call of ``flush_tlb_mm_range``, as rows of REQUEST, in the order of ``seq``."""
    return _joined(events)[0]


def handlers(events: Events) -> npt.NDArray[np.void]:
    """Every run of ``flush_tlb_func``, as rows of HANDLER, in the order of ``seq``."""
    return _joined(events)[1]


def _joined(events: Events) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    asked = _requests(calls(events, [Function.flush_tlb_mm_range]))
    ran = _handlers(calls(events, [Function.flush_tlb_func]))
    for cpu in np.unique(asked["cpu"]).tolist():
        mine = np.flatnonzero(asked["cpu"] == cpu)
        theirs = np.flatnonzero(ran["initiator"] == cpu)
        # A CPU has one request under way at most: of its requests the last that has begun.
        at = np.searchsorted(asked["seq"][mine], ran["seq"][theirs], side="right") - 1
        found = mine[np.maximum(at, 0)]
        inside = (at >= 0) & (ran["seq"][theirs] <= asked["end_seq"][found])
        inside &= ran["mm"][theirs] == asked["mm"][found]
        ran["request"][theirs[inside]] = asked["seq"][found[inside]]
        remote = found[inside & ran["remote"][theirs]]
        asked["interrupts"] += np.bincount(remote, minlength=len(asked)).astype(np.uint32)
    return asked, ran


def _requests(found: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    rows = np.zeros(len(found), REQUEST)
    _copy(found, rows)
    for at, name in enumerate(("mm", "start", "end", "shift", "freed_tables")):
        rows[name] = found["words"][:, at]
    return rows


def _handlers(found: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    rows = np.zeros(len(found), HANDLER)
    _copy(found, rows)
    for at, name in enumerate(("mm", "start", "end", "generation", "initiator"), 1):
        rows[name] = found["words"][:, at]
    rows["remote"] = rows["initiator"] != rows["cpu"]
    return rows


def _copy(found: npt.NDArray[np.void], rows: npt.NDArray[np.void]) -> None:
    for name in ("seq", "icount", "pc", "cpu", "end_seq"):
        rows[name] = found[name]
