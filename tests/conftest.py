"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# No test asserts wall-clock time: a loaded machine is not a failure.
settings.register_profile("shootdown", deadline=None)
settings.load_profile("shootdown")
