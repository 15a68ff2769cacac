"""Leaves out events that provably change nothing that the model would say.

The fast checker feeds the model with what is left, the reference checker with everything. Each
filter is a function of one vCPU's events in one piece of the trace, with its proof, in a file of
its own: ``thin_barriers``, ``thin_calls``, ``thin_calm``, ``thin_returns``, ``thin_vmas``,
``thin_words``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.arch.base import Arch
from shootdown.model.stream import Mask, Window
from shootdown.model.thin_barriers import needless_barriers
from shootdown.model.thin_calls import asks, quiet_calls
from shootdown.model.thin_calm import Calm, Tasks
from shootdown.model.thin_returns import Returns
from shootdown.model.thin_vmas import VmaWords
from shootdown.model.thin_words import quiet_words
from shootdown.trace.columns import Fields, are
from shootdown.trace.schema import Kind

_NUMBERS: Final = 1 << 16
"""Numbers that a record's ``id`` can be."""


class Thin:
    """All filters, a ``stream.Thin``.

    ``stack_log2``: binary logarithm of a stack's bytes; ``functions``: those that listeners hear
    of, whose calls stay wherever one may matter.
    """

    def __init__(self, arch: Arch, stack_log2: int, functions: Iterable[int] = ()) -> None:
        self._shift = np.uint64(stack_log2)
        self._functions = np.zeros(_NUMBERS, np.bool_)
        self._functions[list(functions)] = True
        self._returns = Returns(arch)
        self._tasks = Tasks()
        self._asks: dict[int, Mask] = {}
        self._calm: dict[int, Calm] = {}
        self._vmas = VmaWords((), (), ())
        self._demanded: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)

    def demand(self, numbers: Iterable[int]) -> None:
        """Events with these numbers stay, whatever the filters say."""
        self._demanded = np.array(sorted(numbers), np.uint64)

    def begin(self, window: Window) -> None:
        """The next piece of the trace."""
        self._returns.begin(window)
        parts = window.columns
        self._asks = {cpu: asks(part) for cpu, part in parts.items()}
        twice = self._tasks.twice(parts)
        self._calm = {cpu: Calm(part, self._asks[cpu] | twice) for cpu, part in parts.items()}
        calm = [self._calm[cpu].mask for cpu in parts]
        self._vmas = VmaWords([*parts.values()], [self._asks[cpu] for cpu in parts], calm)

    def __call__(self, cpu: int, part: Fields, wanted: Mask) -> Mask:
        """What is left of one vCPU's chosen events."""
        calls = are(part["kind"], Kind.ENTER) | are(part["kind"], Kind.EXIT)
        loud = calls & self._functions[part["id"]]
        useless = needless_barriers(part) | quiet_words(part, self._asks[cpu], loud)
        useless |= self._vmas.quiet(part, self._calm[cpu].mask)
        useless |= self._quiet_calls(self._calm[cpu], part, wanted, loud)
        left = wanted & ~useless
        left &= ~self._returns.quiet(part, left)
        demanded = _places(self._demanded, part)
        left[demanded] = wanted[demanded]
        return left

    def _quiet_calls(self, calm: Calm, part: Fields, wanted: Mask, loud: Mask) -> Mask:
        """Calls, and changes of mmap_lock where all calls that go with them are left out."""
        hushed = calm.hushed(part, loud)
        found = quiet_calls(part, wanted, self._shift, loud & ~hushed)
        spoilt = calm.spoilt(hushed & wanted & ~found)
        found[hushed & spoilt] = False
        return found | (calm.quiet_locks(part) & ~spoilt)


def _places(numbers: npt.NDArray[np.uint64], part: Fields) -> npt.NDArray[np.intp]:
    """Where the part has these numbers."""
    seq = part["seq"]
    at = np.searchsorted(seq, numbers)
    at = at[at < len(seq)]
    found: npt.NDArray[np.intp] = at[np.isin(seq[at], numbers)]
    return found
