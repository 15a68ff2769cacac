"""The tables of page faults: each as a whole, and every attempt of it."""

from __future__ import annotations

from typing import Final

import numpy as np

from shootdown.frames.column import Table, field, row_type, text
from shootdown.kernel.groups.faults import FLAGS, RESULTS
from shootdown.model.faults import Attempt, Fault, faults
from shootdown.model.known import Known
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events

_KINDS: Final = (Kind.PROBE, Kind.ENTER, Kind.EXIT)
_RETRY: Final = "vm_fault_reason.VM_FAULT_RETRY"
_ERRORS: Final = tuple(
    f"vm_fault_reason.VM_FAULT_{name}"
    for name in ("OOM", "SIGBUS", "SIGSEGV", "HWPOISON", "HWPOISON_LARGE", "FALLBACK")
)
"""include/linux/mm_types.h: VM_FAULT_ERROR."""

_FAULT_COLUMNS: Final = (
    field("va", "uint64", "VA", "the address that faulted"),
    field("code", "uint64", "register", "x86 error code, or arm64 ESR"),
    text(
        "outcome",
        "`handled`; `refused`: no VMA, or one that forbids the access; `error`: the last attempt "
        "returned one; `retry`: it asked for another, which did not come; `unfinished`; `other`: "
        "not for the function that looks for VMAs; empty when the group was not recorded",
    ),
    field("task", "uint64", "VA", "the task_struct"),
    field("end_seq", "uint64", "number", "`seq` of the end; 0 when not seen"),
    field("write", "bool", "", "a store"),
    field("user", "bool", "", "by user mode"),
    field("fetch", "bool", "", "an instruction fetch"),
    field("vma", "uint64", "VA", "the last vm_area_struct found, 0 for none"),
    text(
        "locks",
        "locks under which a VMA was looked for, in order: `vma` or `mmap`, with `-` behind it "
        "when none was found or locked",
    ),
    field("attempts", "uint8", "calls", "of handle_mm_fault()"),
    field("retries", "uint8", "calls", "of them that returned VM_FAULT_RETRY"),
    text("results", "what the attempts returned, VM_FAULT_ names with bars between, 0 for none"),
)
_FAULT_ROW: Final = row_type(_FAULT_COLUMNS)
_ATTEMPT_COLUMNS: Final = (
    field("fault", "uint64", "number", "`seq` of the fault in `faults`; 0: none, as in GUP"),
    field("end_seq", "uint64", "number", "`seq` of the end; 0 when not seen"),
    field("task", "uint64", "VA", "the task_struct"),
    field("vma", "uint64", "VA", "the vm_area_struct"),
    field("va", "uint64", "VA", "the address"),
    field("raw_flags", "uint32", "FAULT_FLAG_", "the flags as a number"),
    text("flags", "their names without FAULT_FLAG_, with bars between"),
    field("raw_result", "uint32", "VM_FAULT_", "the result as a number"),
    text("result", "its names without VM_FAULT_, with bars between; 0 for none"),
)
_ATTEMPT_ROW: Final = row_type(_ATTEMPT_COLUMNS)


def _faults(events: Events, known: Known) -> Events:
    return np.array([_fault(one, known) for one in faults(events).faults], dtype=_FAULT_ROW)


def _fault(fault: Fault, known: Known) -> tuple[object, ...]:
    retry = known.constants.get(_RETRY, 0)
    return (
        *(fault.seq, fault.icount, fault.pc, fault.cpu, fault.va, fault.code),
        _outcome(fault, known),
        *(fault.task, fault.end, *fault.access, fault.vma),
        " ".join(lock if found else f"{lock}-" for lock, found in fault.tries),
        min(len(fault.attempts), 255),
        min(sum(bool(attempt.result & retry) for attempt in fault.attempts), 255),
        " ".join(_result(attempt, known) for attempt in fault.attempts),
    )


def _outcome(fault: Fault, known: Known) -> str:
    """How it ended, as far as the group ``faults`` tells."""
    if not fault.worked:
        return "other" if "faults" in known.recorded else ""
    if not fault.end or any(not attempt.end for attempt in fault.attempts):
        return "unfinished"
    if not fault.attempts:
        return "refused"
    last = fault.attempts[-1].result
    if any(last & known.constants.get(path, 0) for path in _ERRORS):
        return "error"
    return "retry" if last & known.constants.get(_RETRY, 0) else "handled"


def _result(attempt: Attempt, known: Known) -> str:
    if not attempt.end:
        return "?"
    return known.bits(attempt.result, RESULTS, "VM_FAULT_") or "0"


def _attempts(events: Events, known: Known) -> Events:
    rows = [
        (
            *(one.seq, one.icount, one.pc, one.cpu),
            *(one.fault, one.end, one.task, one.vma, one.va),
            one.flags & 0xFFFF_FFFF,
            known.bits(one.flags & 0xFFFF_FFFF, FLAGS, "FAULT_FLAG_"),
            one.result,
            _result(one, known),
        )
        for one in faults(events).attempts
    ]
    return np.array(rows, dtype=_ATTEMPT_ROW)


FAULTS: Final = Table(
    "faults",
    "Page faults, each as a whole. Every recording has `va` and `code`; the rest needs the group "
    "`faults`.",
    _KINDS,
    _FAULT_COLUMNS,
    told=_faults,
)
FAULT_ATTEMPTS: Final = Table(
    "fault_attempts",
    "Calls of handle_mm_fault(), of faults and of others.",
    _KINDS,
    _ATTEMPT_COLUMNS,
    told=_attempts,
    group="faults",
)
