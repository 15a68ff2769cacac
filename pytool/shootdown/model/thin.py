"""Leaves out events that provably change nothing that the model would say.

The fast checker feeds the model with what is left, the reference checker with everything. Each
filter is a function of one vCPU's events in one piece of the trace, with its proof, in a file of
its own: ``thin_barriers``, ``thin_calls``, ``thin_returns``, ``thin_words``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from shootdown.arch.base import Arch
from shootdown.model.stream import Mask, Window
from shootdown.model.thin_barriers import needless_barriers
from shootdown.model.thin_calls import asks, quiet_calls
from shootdown.model.thin_returns import Returns
from shootdown.model.thin_words import quiet_words
from shootdown.trace.columns import Fields
from shootdown.trace.schema import Kind

_NUMBERS: Final = 1 << 16
"""Numbers that a record's ``id`` can be."""


class Thin:
    """All filters, a ``stream.Thin``.

    ``stack_log2``: binary logarithm of a stack's bytes; ``functions``: those that listeners hear
    of, whose calls all stay.
    """

    def __init__(self, arch: Arch, stack_log2: int, functions: Iterable[int] = ()) -> None:
        self._shift = np.uint64(stack_log2)
        self._functions = np.zeros(_NUMBERS, np.bool_)
        self._functions[list(functions)] = True
        self._returns = Returns(arch)

    def begin(self, window: Window) -> None:
        """The next piece of the trace."""
        self._returns.begin(window)

    def __call__(self, part: Fields, wanted: Mask) -> Mask:
        """What is left of one vCPU's chosen events."""
        calls = (part["kind"] == Kind.ENTER) | (part["kind"] == Kind.EXIT)
        loud = calls & self._functions[part["id"]]
        useless = needless_barriers(part) | quiet_words(part, asks(part), loud)
        useless |= quiet_calls(part, wanted, self._shift, loud)
        left = wanted & ~useless
        return left & ~self._returns.quiet(part, left)
