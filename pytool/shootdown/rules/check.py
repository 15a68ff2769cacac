"""Checks a trace: runs the model once, with every rule and measurement listening."""

from __future__ import annotations

from typing import Final

from shootdown.errors import UsageError
from shootdown.model.known import Known
from shootdown.model.machine import Machine
from shootdown.model.stream import Trace
from shootdown.rules.evidence import with_evidence
from shootdown.rules.feed import FAST, Feed, How
from shootdown.rules.panel import RULES, CheckReport, Panel
from shootdown.rules.scene import Policy

__all__ = ["POLICIES", "RULES", "CheckReport", "check", "policy_of"]

POLICIES: Final[tuple[Policy, ...]] = ("wilcox", "glisse")


def check(
    trace: Trace,
    policy: str = "wilcox",
    arch: str | None = None,
    how: How = FAST,
    kernel: Known | None = None,
) -> CheckReport:
    """Check a trace by the rules; ``arch`` when the trace does not know its own.

    ``kernel``: what captured words mean, where the recording says.

    Raises UsageError for an unknown policy or architecture.
    """
    chosen = policy_of(policy)
    machine = Machine(arch or trace.arch)
    machine.kernel = kernel or machine.kernel
    feed = Feed(trace, how)
    known, scene = feed.survey(machine.arch.name, chosen)
    panel = Panel(machine, chosen, lambda rule: rule.idle(scene))
    locks = feed.run(machine, known)
    return with_evidence(panel.report(locks, known), feed)


def policy_of(name: str) -> Policy:
    """The policy of a name; raises UsageError."""
    for policy in POLICIES:
        if policy == name:
            return policy
    raise UsageError(f"unknown policy '{name}': use one of {', '.join(POLICIES)}")
