"""Policies: how the delays of a trial are chosen when nobody knows where the bug is."""

from __future__ import annotations

from typing import Final

from shootdown.errors import UsageError
from shootdown.race.delays import Delays
from shootdown.race.points import nearest
from shootdown.race.policies import pct, random_points, targeted
from shootdown.race.policies.base import Policy, Subject, subject

PLAIN: Final = Policy("plain", "no delays: what happens anyway", lambda _: Delays())
POLICIES: Final[dict[str, Policy]] = {
    policy.name: policy for policy in (targeted.POLICY, pct.POLICY, random_points.POLICY, PLAIN)
}
"""By name."""

__all__ = ("POLICIES", "Policy", "Subject", "named", "subject")


def named(name: str) -> Policy:
    """The policy of that name. Raises UsageError with the nearest ones."""
    if name not in POLICIES:
        raise UsageError(f"there is no policy {name!r}{nearest(name, list(POLICIES))}")
    return POLICIES[name]
