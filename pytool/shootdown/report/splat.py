"""One violation, told the way the kernel tells of its own bugs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, Final

from shootdown.report.result import Violation

WIDTH: Final = 80
RULER: Final = "=" * 66
PAGE_SIZE: Final = 4096
_DETAILS: Final = (
    ("row", "row", "{row}"),
    ("deadline", "deadline", "{deadline}"),
    ("access", "access_pc", "by the instruction at {access_pc}"),
    ("PA", "pa", "{pa}"),
    ("table", "table", "PA {table}"),
    ("new entry", "new", "{new}"),
    ("word", "word", "{word}, {before} before and {after} after"),
    ("VMA", "vma", "{vma}, from {start} to {end}, flags {flags}"),
)
"""What a rule says besides: label, the name by which it is known to be there, and the words."""
_PIN: Final = "by {by}() for the task at {task}, event {seq}, {refs} references"


def title(violation: Violation) -> str:
    """The line that names the defect; the same for the same defect on any machine."""
    return f"BUG: shootdown: {violation.rule} in {violation.site or 'unknown'}"


def splat(violation: Violation, release: str, reproduce: str = "") -> list[str]:
    """The report of one violation, line by line; ``reproduce`` is the line that repeats the run."""
    cpus = ", ".join(map(str, violation.cpus))
    lines = [
        RULER,
        title(violation),
        *_wrap(f"{violation.kind.upper()}: {violation.summary}", ""),
        "",
        *_field("kernel", f"{release} {violation.arch}"),
        *_field("address", f"{violation.va:#x} in mm {violation.mm:#x}"),
        *_field("operation", violation.operation),
        *_field("by", violation.pc),
        *_field("inside", " > ".join(violation.stack)),
        *_field("task", _where(violation)),
        *_field("CPUs", cpus),
        *(line for one in violation.holders for line in _field("holder", _holder(one))),
        *_entry("before", violation.before, violation.before_text, violation.level),
        *_entry("after", violation.after, violation.after_text, violation.level),
        *_field("missing", violation.missing),
        *(line for text in _came(violation) for line in _field("came", text)),
        *_details(violation.details),
        *(line for lock in violation.locks for line in _field("lock", _lock(lock))),
        *_field("events", _numbers(violation.seq)),
        *_field("workload", violation.workload),
        *_field("fingerprint", violation.fingerprint),
    ]
    if violation.count > 1:
        lines += _field("seen", f"{violation.count} times; this is the first")
    if not violation.complete:
        lines += _wrap("The evidence spans a loss of events: this may be no violation.", "")
    if reproduce:
        lines += ["", reproduce]  # however long: it is there to be pasted
    return [*lines, RULER]


def _entry(name: str, entry: int, text: str, level: int) -> list[str]:
    if not level:
        return []
    return _field(name, f"level {level}: {text}" if text else f"level {level}: {entry:#018x}")


def _where(violation: Violation) -> str:
    return violation.task + (f" on CPU {violation.cpu}" if violation.cpu >= 0 else "")


def _holder(holder: Mapping[str, Any]) -> str:
    inside = f", inside {' > '.join(holder['stack'])}" if holder["stack"] else ""
    return f"CPU {holder['cpu']}: {holder['task']}{inside}"


def _details(details: Mapping[str, Any]) -> list[str]:
    said = [(name, text.format(**details)) for name, key, text in _DETAILS if key in details]
    said += [("pin", _PIN.format(**pin)) for pin in details.get("pins", ())]
    return [line for name, text in said for line in _field(name, text)]


def _came(violation: Violation) -> list[str]:
    if not violation.holders:  # nothing that an invalidation would have helped
        return []
    lines = [_invalidation(one) for one in violation.came]
    lines += [f"{violation.came_others} more"] if violation.came_others else []
    return lines or ["none"]


def _invalidation(one: Mapping[str, Any]) -> str:
    start, end = int(one["start"], 16), int(one["end"], 16)
    what = "everything" if not end else f"{start:#x}"
    if end - start > PAGE_SIZE:
        what += f" to {end:#x}"
    asid = f" in ASID {one['asid']:#x}" if one["asid"] else ""
    reach = "local" if one["local"] else "broadcast"
    if one["operation"].startswith("TLBI"):
        for name, number in (("before", one["dsb_before"]), ("after", one["dsb_after"])):
            reach += f", DSB #{number} {name}" if number else f", no DSB {name}"
    return f"#{one['seq']} CPU {one['cpu']} {one['operation']} of {what}{asid} ({reach})"


def _lock(lock: Mapping[str, Any]) -> str:
    how = "held" if lock["how"] == "held" else f"held to {lock['how']}"
    since = f"event {lock['since']}" if lock["since"] else "before recording"
    return (
        f"{lock['lock']} of {lock['of']} {how} by {lock['task']}, "
        f"taken on CPU {lock['cpu']}, {since}"
    )


def _numbers(seq: list[int]) -> str:
    shown = ", ".join(map(str, seq[:12]))
    return shown + (f" and {len(seq) - 12} more" if len(seq) > 12 else "")


def _field(name: str, value: str) -> list[str]:
    return _wrap(value, f"{name + ':':13}") if value else []


def _wrap(text: str, start: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start) if start else "  "
    )
