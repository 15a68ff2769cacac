"""report.txt: what a kernel developer reads first, at most 80 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from shootdown.report.result import Result, Windows
from shootdown.report.splat import splat

WIDTH: Final = 80
LOUD_WINDOWS: Final = "mmap(MAP_FIXED)"
"""The operation whose windows get a section of their own: the question of the tool's title."""


def render(result: Result) -> str:
    """The whole report."""
    sections = [
        _head(result),
        _verdict(result),
        _workloads(result),
        _holds(result),
        _delays(result),
        _rules(result),
        *(_windows(w) for w in result.windows if w.operation == LOUD_WINDOWS),
        _other_windows([w for w in result.windows if w.operation != LOUD_WINDOWS]),
        *(splat(v, result.kernel.release, result.reproduce) for v in result.violations),
        _console(result),
        _audit(result),
        _events(result),
        _repeat(result),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _head(result: Result) -> list[str]:
    kernel = result.kernel
    source = f"{kernel.source}, {result.mutate} mutation" if result.mutate else kernel.source
    return [
        *_pair("shootdown", result.tool),
        *_pair("kernel", f"{kernel.release or 'unknown'} {result.arch} ({source})"),
        *_pair("build-id", kernel.build_id or "unknown"),
        *_pair("QEMU", result.qemu or "unknown"),
        *_pair("seed", str(result.seed)),
        *_pair("plan", result.plan),
        *_pair("policy", result.policy),
        *(_pair("trace", result.digest) if result.digest else ()),
    ]


def _verdict(result: Result) -> list[str]:
    lines = [f"VERDICT: {result.verdict.upper()} (exit {result.exit_code})"]
    for reason in result.reasons:
        lines += textwrap.wrap(reason, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    if stop := result.stopped:
        text = (
            f"stopped: event {stop['seq']} shows a violation; the guest ran on for "
            f"{stop['events']} events, {stop['instructions']} instructions"
        )
        lines += _wrapped(text, "  ")
    return lines


def _workloads(result: Result) -> list[str]:
    if not result.workloads:
        return []
    rows = [(w.name, w.status, f"{w.seconds:.1f}", w.message) for w in result.workloads]
    return _table(("workload", "status", "seconds", ""), rows, left=(0, 1, 3))


def _holds(result: Result) -> list[str]:
    if not result.holds["planned"]:
        return []
    counts = result.holds
    lines = [
        f"holds: {counts['planned']} planned, {counts['fired']} fired, "
        f"{counts['timed_out']} timed out"
    ]
    for hold in result.held:
        where = f"{hold['task']} on CPU {hold['vcpu']} at {hold['at']}"
        end = "timed out after" if hold["timed_out"] else "held for"
        told = ", as it has to here" if hold.get("infeasible") and hold["timed_out"] else ""
        lines += _wrapped(f"{hold['hold']}: {where}, {end} {hold['held_ms']:g} ms{told}", "  ")
        lines += [line for why in hold["why"] for line in _wrapped(why, "    ")]
    return lines


def _delays(result: Result) -> list[str]:
    if not result.inject:
        return []
    made = [delay for delay in result.delays if delay["made"]]
    total = sum(delay["took_ms"] for delay in made)
    lines = [
        f"delays: {sum(d['made'] for d in made)} made by {result.inject}, {total:.0f} ms in all"
    ]
    rows = [(d["point"], str(d["made"]), f"{d['took_ms']:.1f}") for d in made]
    return [*lines, *_table(("  point", "made", "ms"), [("  " + r[0], *r[1:]) for r in rows])]


def _rules(result: Result) -> list[str]:
    rows = []
    for name, rule in result.rules.items():
        armed = "yes" if rule.armed else "no"
        exercised = str(rule.exercised) if rule.exercised else "never"
        rows.append(
            (name, armed, exercised, str(rule.violations), str(rule.may), str(rule.witness))
        )
    lines = _table(("rule", "armed", "exercised", "violations", "may", "witness"), rows)
    notes = [(name, rule.note) for name, rule in result.rules.items() if rule.note]
    return lines + [line for name, note in notes for line in _wrapped(f"{name}: {note}", "  ")]


def _windows(windows: Windows) -> list[str]:
    lines = [
        f"{windows.operation}: do two threads see different pages at one address?",
        *_pair("  replacements", str(windows.replacements), 28),
        *_pair("  windows", str(windows.count), 28),
    ]
    if windows.count:
        length = f"p50 {windows.p50}, p99 {windows.p99}, max {windows.max} instructions"
        lines += _pair("  length", length, 28)
    lines += [
        *_pair("  closed before return", str(windows.closed), 28),
        *_pair("  outlived the return", str(windows.outlived), 28),
        *_pair("  of no use after return", str(windows.deferred), 28),
        *_pair("  frame reused while visible", str(windows.reused), 28),
        *_pair("  two pages live at once", str(windows.aliased), 28),
        *_pair("  open at the end", str(windows.unfinished), 28),
    ]
    if windows.observers:
        kinds = _columns(windows.observers.values())
        rows = [
            (name, *(str(saw.get(kind, 0)) for kind in kinds))
            for name, saw in sorted(windows.observers.items())
        ]
        lines += ["", *("  " + line for line in _table(("observer saw", *kinds), rows))]
    return lines


def _other_windows(windows: Sequence[Windows]) -> list[str]:
    rows = [
        (w.operation, *map(_short, (w.count, w.p50, w.p99, w.max, w.closed, w.outlived, w.reused)))
        for w in windows
    ]
    if not rows:
        return []
    head = ("operation", "windows", "p50", "p99", "max", "closed", "late", "reused")
    return ["windows of the other operations, lengths in instructions:", *_table(head, rows)]


def _console(result: Result) -> list[str]:
    if not result.guest.tail:
        return []
    lines = result.guest.tail.splitlines()
    return ["last words of the guest's console:", *("  | " + line[: WIDTH - 4] for line in lines)]


def _audit(result: Result) -> list[str]:
    audit = result.audit
    if not audit.done:
        return ["audit: not done; the page tables of the trace were not compared with memory"]
    lines = [
        f"audit: {audit.tables_checked} tables, {audit.entries_checked} entries "
        f"({audit.nonzero} non-zero),",
        f"  {audit.mismatches} mismatches, {audit.unknown_tables} unknown tables",
    ]
    return lines + [line for sample in audit.samples for line in _wrapped(sample, "  ")]


def _events(result: Result) -> list[str]:
    rows = [(kind, str(count)) for kind, count in result.events.items() if count]
    rows.append(("lost", str(result.lost)))
    return _table(("events", ""), rows) + (
        ["", *_table(("coverage", ""), [(k, str(n)) for k, n in result.coverage.items()])]
        if result.coverage
        else []
    )


def _repeat(result: Result) -> list[str]:
    # One line, however long: it is there to be pasted.
    return ["to repeat:", f"  {result.reproduce}"] if result.reproduce else []


def _short(number: int) -> str:
    # At most five characters; the exact figures are in result.json.
    for unit in ("", "k", "M", "G", "T"):
        if number < 10000 or unit == "T":
            return f"{number}{unit}"
        number = round(number / 1000)
    raise AssertionError


def _pair(key: str, value: str, width: int = 10) -> list[str]:
    start = f"{key:{width}} "
    return textwrap.wrap(
        value, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)
    ) or [start.rstrip()]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")


def _columns(observers: Iterable[dict[str, int]]) -> list[str]:
    first = ["old", "new", "fault"]
    others = {kind for saw in observers for kind in saw} - set(first)
    return first + sorted(others)


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)
) -> list[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return list(_rows((head, *rows), widths, left))


def _rows(
    rows: Iterable[Sequence[str]], widths: Sequence[int], left: Sequence[int]
) -> Iterator[str]:
    for row in rows:
        cells = [
            f"{cell:<{width}}" if i in left else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()[:WIDTH]
