"""How long a guest's vCPUs were ready to run and the host had no CPU for them.

Time that is given to a guest is meant as time in which it runs. On a busy host ten times as much
passes by the clock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_VCPU: Final = "CPU "
"""What the names of QEMU's vCPU threads begin with."""
_NS: Final = 1e-9

Waits = Mapping[str, float]
"""Seconds since the start, by thread."""


def waits(pid: int) -> Waits:
    """Of each vCPU's thread of a QEMU: seconds on the run queue (sched-stats.rst, schedstat).

    Empty where the host's kernel does not tell.
    """
    found = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if (task / "comm").read_text().startswith(_VCPU):
                    found[task.name] = int((task / "schedstat").read_text().split()[1]) * _NS
    return found


def since(before: Waits, after: Waits) -> float:
    """Seconds that the vCPU which waited longest has waited in between."""
    return max((after[task] - before[task] for task in before if task in after), default=0.0)
