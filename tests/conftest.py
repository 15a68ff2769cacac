"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

from shootdown import compiled

# No test asserts wall-clock time: a loaded machine is not a failure.
settings.register_profile("shootdown", deadline=None)
settings.load_profile("shootdown")

# Tests patch classes; `tests/compiled` looks after the compiled checker in processes of its own.
compiled.refuse()
