"""Checking: from a run directory with a trace to result.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import shootdown
from shootdown.errors import ExitCode, InconclusiveError, ShootdownError
from shootdown.model.known import known
from shootdown.report.result import Guest, Kernel, Result
from shootdown.rules.check import CheckReport
from shootdown.rules.check import check as check_events
from shootdown.run import convert, directory, evidence, experiment, injected
from shootdown.run.directory import RunDir
from shootdown.run.evidence import TraceState
from shootdown.run.experiment import Experiment
from shootdown.run.traced import Traced
from shootdown.run.verdict import Evidence, Verdict, decide
from shootdown.trace.digest import digest
from shootdown.trace.reader import Trace

EXEC_PHASE: Final = "exec"
"""What the agent calls the phase of a program it was told to execute."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Files:
    # What the recording wrote beside the trace.
    experiment: Experiment
    command: Mapping[str, Any]
    guest: Mapping[str, Any]
    audit: Mapping[str, Any]
    holds: Mapping[str, Any]
    symbols: Path


def check(
    run: RunDir,
    tell: Tell,
    policy: str | None = None,
    report: CheckReport | None = None,
    bbm: int | None = None,
) -> Result:
    """Judge a recording, interrupted or not, and write result.json.

    ``policy`` and ``bbm`` replace the experiment's; ``report`` is what a live check has said
    already. Raises UsageError for a plan that cannot be read or a level that there is not,
    InfraError when a file is damaged or the disk does not take the result.
    """
    start = time.monotonic()
    files = _read(run, policy, bbm)
    base = _base(files)
    try:
        if not files.experiment.plugin or not run.trace.is_dir():
            raise InconclusiveError("nothing was recorded, so nothing can be checked")
        trace = Trace(run.trace)
        state = TraceState.of(trace)
        if report is None:
            tell(f"check {sum(state.counts.values())} events")
            report = check_events(
                Traced(files.experiment.arch, trace),
                files.experiment.policy,
                kernel=replace(known(files.command), bbm=files.experiment.bbm),
            )
        base = replace(base, stopped=evidence.stopped_of(files.guest, trace))
        result = _judge(base, files, state, report)
        result = replace(result, delays=injected.summary(run, trace), digest=_digest(files, trace))
    except InconclusiveError as error:
        result = _without_trace(base, str(error))
    timing = {**result.timing, "check_s": round(time.monotonic() - start, 3)}
    result = replace(result, timing=timing)
    directory.write_json(run.result, result.to_json())
    tell(f"{result.verdict}: {result.reasons[0]}")
    return result


def failed(run: RunDir, error: ShootdownError) -> Result:
    """Write the result of a run that could not be recorded, as far as its files tell of it."""
    base = _base(_read(run))
    result = replace(base, exit_code=int(error.exit_code), reasons=[str(error)])
    directory.write_json(run.result, result.to_json())
    return result


def _read(run: RunDir, policy: str | None = None, bbm: int | None = None) -> _Files:
    plan = experiment.load(run.plan)
    plan = replace(plan, policy=policy or plan.policy, bbm=plan.bbm if bbm is None else bbm)
    return _Files(
        plan,
        directory.read_json(run.command),
        directory.read_json(run.guest),
        directory.read_json(run.audit),
        directory.read_json(run.holds),
        run.symbols,
    )


def _base(files: _Files) -> Result:
    # Everything that is known without the trace.
    kernel = files.command.get("kernel", {})
    plan = files.experiment
    return Result(
        exit_code=ExitCode.INCONCLUSIVE,
        arch=plan.arch,
        kernel=Kernel(kernel.get("release", ""), kernel.get("build_id", ""), plan.kernel),
        qemu=files.command.get("qemu", ""),
        seed=plan.seed,
        workloads=evidence.workloads_of(files.guest),
        audit=evidence.audit_of(files.audit),
        timing={
            "boot_s": round(files.guest.get("boot_s", 0.0), 3),
            "record_s": round(files.guest.get("record_s", 0.0), 3),
            "check_s": 0.0,
        },
        policy=plan.policy,
        mutate=plan.mutate,
        inject=plan.inject,
        reproduce=files.holds.get("reproduce") or plan.command_line(),
        holds=evidence.hold_counts(files.holds),
        held=list(files.holds.get("held", ())),
        guest=evidence.guest_of(files.guest),
        tool=f"shootdown {shootdown.__version__}",
    )


def _judge(base: Result, files: _Files, state: TraceState, report: CheckReport) -> Result:
    inconsistencies = int(files.audit.get("inconsistencies", 0))
    horizon = evidence.horizon(state, base.audit, inconsistencies)
    if not report.conclusive:
        horizon = 0
    symbols = convert.symbols_of(files.command, files.symbols)
    found = convert.violations_of(report, symbols, horizon)
    rules = convert.rules_of(report)
    total = sum(rule.violations for rule in rules.values())
    tainted = convert.tainted(report, horizon)
    doubts = [
        *evidence.doubts(state, base.audit, inconsistencies, base.guest, base.workloads),
        *_model_doubts(report),
        *evidence.hold_doubts(files.holds),
    ]
    verdict = decide(
        replace(
            _ended(base.guest),
            violations=total - tainted,
            tainted=tainted,
            doubts=doubts,
            exercised=sum(rule.exercised for rule in rules.values() if rule.armed),
        )
    )
    return replace(
        _with_verdict(base, verdict),
        workloads=convert.with_rules(
            base.workloads, report, EXEC_PHASE if files.experiment.command else ""
        ),
        rules=rules,
        violations=found,
        events={kind.name: count for kind, count in state.counts.items()},
        lost=state.lost,
        windows=convert.windows_of(report),
        coverage=convert.coverage_of(report, symbols),
    )


def _digest(files: _Files, trace: Trace) -> str:
    return digest(trace.events()) if files.experiment.deterministic else ""


def _model_doubts(report: CheckReport) -> list[str]:
    # Those of the event stream alone, which only the model can see.
    names = ("lock:broken chain", "ptl:broken", "lock:strange", "flush:not modelled")
    return [f"{name}: {report.coverage[name]}" for name in names if report.coverage.get(name)]


def _without_trace(base: Result, why: str) -> Result:
    return _with_verdict(base, decide(replace(_ended(base.guest), doubts=[why])))


def _ended(guest: Guest) -> Evidence:
    return Evidence(
        infra=guest.message if guest.ended == "error" else "",
        crash=guest.message if guest.ended == "crash" else "",
        timeout=guest.message if guest.ended == "timeout" else "",
    )


def _with_verdict(base: Result, verdict: Verdict) -> Result:
    return replace(base, exit_code=int(verdict.code), reasons=list(verdict.reasons))
