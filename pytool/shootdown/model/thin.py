"""Leaves out events that provably change nothing that the model would say.

The fast checker feeds the model with what is left, the reference checker with everything. Each
filter is a function of one vCPU's events in one piece of the trace, with its proof, in a file of
its own: ``thin_barriers``, ``thin_calls``, ``thin_returns``, ``thin_words``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from shootdown.arch.base import Arch
from shootdown.model.stream import Mask, Window
from shootdown.model.thin_barriers import needless_barriers
from shootdown.model.thin_calls import asks, quiet_calls
from shootdown.model.thin_returns import Returns
from shootdown.model.thin_words import quiet_words
from shootdown.trace.schema import Kind
from shootdown.trace.types import Events


class Thin:
    """All filters, a ``stream.Thin``.

    ``stack_log2``: binary logarithm of a stack's bytes; ``functions``: those that listeners hear
    of, whose calls all stay.
    """

    def __init__(self, arch: Arch, stack_log2: int, functions: Iterable[int] = ()) -> None:
        self._shift = np.uint64(stack_log2)
        self._functions = list(functions)
        self._returns = Returns(arch)

    def begin(self, window: Window) -> None:
        """The next piece of the trace."""
        self._returns.begin(window)

    def __call__(self, part: Events, wanted: Mask) -> Mask:
        """What is left of one vCPU's chosen events."""
        calls = (part["kind"] == Kind.ENTER) | (part["kind"] == Kind.EXIT)
        loud = calls & np.isin(part["id"], self._functions)
        useless = needless_barriers(part) | quiet_words(part, asks(part), loud)
        useless |= quiet_calls(part, wanted, self._shift, loud)
        left = wanted & ~useless
        return left & ~self._returns.quiet(part, left)
