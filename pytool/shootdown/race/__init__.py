"""Races on purpose: a schedule is a plan, made by a short Python function or a file.

``race`` makes a race of a function; see docs/races.md.
"""

from __future__ import annotations

from shootdown.race.api import Race, race
from shootdown.race.points import Hold, Pause, Plan, Point
from shootdown.race.script import Script

__all__ = ("Hold", "Pause", "Plan", "Point", "Race", "Script", "race")
