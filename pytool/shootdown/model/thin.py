"""Leaves out events that provably change nothing that the model would say.

The fast checker feeds the model with what is left, the reference checker with everything. Each
filter is a function of one vCPU's events in one piece of the trace, with its proof, in a file of
its own: ``thin_barriers``, ``thin_calls``, ``thin_returns``.
"""

from __future__ import annotations

import numpy as np

from shootdown.arch.base import Arch
from shootdown.model.stream import Mask, Window
from shootdown.model.thin_barriers import needless_barriers
from shootdown.model.thin_calls import quiet_calls
from shootdown.model.thin_returns import Returns
from shootdown.trace.types import Events


class Thin:
    """All filters, a ``stream.Thin``; ``stack_log2``: binary logarithm of a stack's bytes."""

    def __init__(self, arch: Arch, stack_log2: int) -> None:
        self._shift = np.uint64(stack_log2)
        self._returns = Returns(arch)

    def begin(self, window: Window) -> None:
        """The next piece of the trace."""
        self._returns.begin(window)

    def __call__(self, part: Events, wanted: Mask) -> Mask:
        """What is left of one vCPU's chosen events."""
        wanted &= ~needless_barriers(part)
        wanted &= ~quiet_calls(part, wanted, self._shift)
        return wanted & ~self._returns.quiet(part, wanted)
