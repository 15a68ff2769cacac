"""What a run directory holds, weighed: what may be trusted, and from which event on not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shootdown.report.result import Audit, Guest, Workload
from shootdown.run.session import SKIPPED_STATUS
from shootdown.run.verdict import ALL_SKIPPED
from shootdown.trace.reader import Trace
from shootdown.trace.schema import Kind

NEVER: Final = 1 << 64
"""A horizon behind every event."""


@dataclass(frozen=True)
class TraceState:
    """What became of the trace's writing."""

    counts: Mapping[Kind, int]
    lost: int
    """Events that the writers know they lost, and those whose numbers are missing."""
    gaps: Sequence[tuple[int, int]]
    complete: bool
    ends: Sequence[int]
    """Last number in each file that was not completed."""

    @classmethod
    def of(cls, trace: Trace) -> TraceState:
        """Look at a trace. Raises InfraError when it is damaged."""
        missing = sum(end - first for first, end in trace.gaps)
        cut = [file.events["seq"] for file in trace.files if file.trailer is None]
        return cls(
            counts=trace.counts(),
            lost=max(trace.lost, missing),
            gaps=trace.gaps,
            complete=trace.complete,
            ends=[int(seq[-1]) if len(seq) else 0 for seq in cut],
        )


def horizon(trace: TraceState, audit: Audit, inconsistencies: int) -> int:
    """The first number from which on evidence may be missing; NEVER when none is.

    Where the rebuilt tables disagree with memory, nobody knows since when: 0.
    """
    disagreed = audit.mismatches or audit.unknown_tables or inconsistencies
    if disagreed or trace.counts.get(Kind.AUDIT_MISMATCH):
        return 0
    if trace.lost and not trace.gaps:
        return 0
    first_gap = trace.gaps[0][0] if trace.gaps else NEVER
    return min([first_gap, *(end + 1 for end in trace.ends)])


def audit_of(value: Mapping[str, Any]) -> Audit:
    """The audit's figures from audit.json; an empty object is one that was not done."""
    return Audit(
        tables_checked=value.get("tables_checked", 0),
        entries_checked=value.get("entries_checked", 0),
        mismatches=value.get("mismatches", 0),
        nonzero=value.get("nonzero_checked", 0),
        unknown_tables=value.get("unknown_tables", 0),
        done=value.get("nonzero_checked", 0) > 0,
        samples=[
            *([value["error"]] if "error" in value else []),
            *value.get("details", ()),
            *value.get("inconsistency_details", ()),
        ],
    )


def guest_of(value: Mapping[str, Any]) -> Guest:
    """How the guest ended, from guest.json; an empty object is a recording that was killed."""
    if not value:
        return Guest("interrupted", "the recording was killed before it could say how it ended")
    message = value.get("message", "")
    if value.get("ended") == "interrupted":
        message = "the recording was interrupted"
    return Guest(value.get("ended", "interrupted"), message, value.get("tail", ""))


def workloads_of(value: Mapping[str, Any]) -> list[Workload]:
    """The workloads' ends, from guest.json."""
    return [_workload(entry) for entry in value.get("workloads", ())]


def hold_counts(value: Mapping[str, Any]) -> dict[str, int]:
    """How many holds were planned, fired and timed out, from holds.json."""
    return {key: int(value.get(key, 0)) for key in ("planned", "fired", "timed_out")}


def hold_doubts(value: Mapping[str, Any]) -> Iterator[str]:
    """Why a race did not happen as it was planned, a sentence each."""
    counts = hold_counts(value)
    if missing := counts["planned"] - counts["fired"]:
        yield f"{missing} of {counts['planned']} holds never fired"
    meant = [hold for hold in value.get("held", ()) if not hold.get("infeasible")]
    if meant and all(hold["timed_out"] for hold in meant):
        yield f"every hold timed out: {'; '.join(meant[0].get('why', ())[:2])}"
    for hold in value.get("held", ()):
        if hold.get("infeasible") and not hold["timed_out"]:
            yield f"an order came about that was to be infeasible: {hold['hold']}"


def doubts(
    trace: TraceState, audit: Audit, inconsistencies: int, guest: Guest, workloads: list[Workload]
) -> Iterator[str]:
    """Everything that forbids a pass though no rule was broken, a sentence each."""
    if trace.lost:
        yield f"{trace.lost} events lost"
    if not trace.complete:
        yield f"{len(trace.ends)} trace files have no end: their vCPUs' last events are missing"
    if count := trace.counts.get(Kind.AUDIT_MISMATCH):
        yield f"during the run memory disagreed with the shadow {count} times"
    if inconsistencies:
        yield f"{inconsistencies} events do not fit what the trace said before"
    if audit.mismatches or audit.unknown_tables:
        yield f"audit: {audit.mismatches} mismatches, {audit.unknown_tables} unknown tables"
    elif not audit.done and guest.ended in ("done", "stopped"):
        yield ": ".join(["the audit was not done", *audit.samples[:1]])
    if guest.ended == "interrupted":
        yield guest.message
    if guest.ended == "stopped":
        yield "the guest was stopped before its work was done"
    if workloads and all(workload.status == "skip" for workload in workloads):
        yield ALL_SKIPPED
    for workload in workloads:
        if workload.status == "fail":
            yield f"workload {workload.name} failed: {workload.message}"


def stopped_of(value: Mapping[str, Any], trace: Trace) -> dict[str, int]:
    """How far a guest ran on that a violation stopped; empty when none did."""
    if "seq" not in value.get("stopped", {}):
        return {}
    seq = int(value["stopped"]["seq"])
    at = [int(events["seq"].searchsorted(np.uint64(seq), "right")) for events in trace.per_cpu]
    last = [events[-1] for events in trace.per_cpu if len(events)]
    then = [int(e["icount"][n - 1]) for e, n in zip(trace.per_cpu, at, strict=True) if n]
    return {
        "seq": seq,
        "events": sum(map(len, trace.per_cpu)) - sum(at),
        "instructions": max(int(event["icount"]) for event in last) - max(then, default=0),
    }


def _workload(entry: Mapping[str, Any]) -> Workload:
    status, ended = entry.get("status"), entry.get("ended", "")
    notes = "; ".join(entry.get("notes", ()))
    message = ""
    if ended:
        word = ended
    elif status is None:
        word, message = "missing", "never ran to its end"
    elif status in (0, SKIPPED_STATUS):
        word, message = ("skip", notes) if status else ("pass", "")
    else:
        word, message = "fail", f"status {status}" + (f" ({notes})" if notes else "")
    return Workload(entry["name"], word, entry["seconds"], message, dict(entry.get("stats", {})))
