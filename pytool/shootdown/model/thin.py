"""Leaves out events that provably change nothing that the model would say.

The fast checker feeds the model with what is left, the reference checker with everything. Each
filter is a function of one vCPU's events in one piece of the trace, with its proof.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.stream import Mask
from shootdown.model.thin_words import quiet_words
from shootdown.trace.schema import Kind, Probe
from shootdown.trace.types import Events

_ROUNDS: Final = 32
_TRIPLE: Final = 3

_Words = npt.NDArray[np.uint64]
_Short = npt.NDArray[np.uint16]


class Thin:
    """All filters, a ``stream.Thin``.

    ``stack_log2``: binary logarithm of a stack's bytes; ``functions``: those that listeners hear
    of, whose calls all stay.
    """

    def __init__(self, stack_log2: int, functions: Iterable[int] = ()) -> None:
        self._shift = np.uint64(stack_log2)
        self._functions = list(functions)

    def __call__(self, part: Events, wanted: Mask) -> Mask:
        """What is left of one vCPU's chosen events."""
        calls = (part["kind"] == Kind.ENTER) | (part["kind"] == Kind.EXIT)
        loud = calls & np.isin(part["id"], self._functions)
        useless = repeated_barriers(part) | quiet_words(part, asks(part), loud)
        useless |= quiet_calls(part, wanted, self._shift, loud)
        return wanted & ~useless


def asks(part: Events) -> Mask:
    """Events at which the model asks for the operation stack: stores over something.

    ``Machine._supersede`` asks, and comes from stores whose old entry was valid. Others that ask,
    such as rules that report something else, get an answer of their own (``stacks.ThinStacks``).
    """
    mask: Mask = (part["kind"] == Kind.PTE_WRITE) & (part["b"] != 0)
    return mask


def repeated_barriers(part: Events) -> Mask:
    """Barriers between two equal ones of the same vCPU, with no invalidation among the three.

    Proof: nothing waits for a barrier but the vCPU's own invalidations (``Arm64Tlb.barrier``).
    The first of the three has completed what such a barrier completes, and none was issued since,
    so the second completes nothing. It also notes when stores were last published, which only an
    invalidation by the same vCPU asks for, and the third notes that anew before there is one.
    """
    found = np.zeros(len(part), np.bool_)
    kind = part["kind"]
    at = np.flatnonzero((kind == Kind.BARRIER) | (kind == Kind.FLUSH))
    if len(at) < _TRIPLE:
        return found
    same = kind[at[1:]] == kind[at[:-1]]
    same &= kind[at[1:]] == Kind.BARRIER
    for name in ("id", "a"):
        values = part[name][at]
        same &= values[1:] == values[:-1]
    found[at[1:-1][same[1:] & same[:-1]]] = True
    return found


def quiet_calls(part: Events, wanted: Mask, shift: np.uint64, loud: Mask) -> Mask:
    """Beginnings and ends (ENTER, EXIT) of calls in which nobody asks for the operation stack.

    Those of ``loud`` stay, whatever follows from the proof.

    Proof: a call matters only by what else it does to the stacks (``callstack.CallStacks``): its
    ENTER ends every call at its stack pointer ``sp`` or below, and those of an interrupt when it is
    on the task's own stack; its EXIT ends just itself. Let E and X be both, N the next event on the
    vCPU that concerns stacks or asks, and let N be an EXIT above ``sp`` or an ENTER at ``sp`` or
    above, on the same stack. N then ends at least what E ended, before it looks at what is on top,
    so from N on the stacks are the same without E and X. RET_USER ends every call. When N is left
    out with its own EXIT, then because of an event behind it that ends at least as much as N. So
    it is repeated: calls that hold only such calls go too.

    The task's stack is the same throughout, for a switch of tasks is an event that concerns stacks;
    two pointers are into one stack when no bit from ``shift`` up differs, since stacks are aligned
    to their size (THREAD_ALIGN, include/linux/thread_info.h).
    """
    kinds = part["kind"]
    calls = (kinds == Kind.ENTER) | (kinds == Kind.EXIT)
    switches = (kinds == Kind.PROBE_MORE) & (part["id"] == Probe.TASK_SWITCH)
    at = np.flatnonzero(wanted & (calls | switches | (kinds == Kind.RET_USER) | asks(part)))
    kind, function, sp = kinds[at], part["id"][at], part["a"][at]
    stays = loud[at]
    for _ in range(_ROUNDS):
        keep = _without_quiet(kind, function, sp, shift) | stays
        if keep.all():
            break
        at, kind, function, sp = at[keep], kind[keep], function[keep], sp[keep]
        stays = stays[keep]
    quiet: Mask = calls & wanted
    quiet[at] = False
    return quiet


def _without_quiet(kind: _Short, function: _Short, sp: _Words, shift: np.uint64) -> Mask:
    keep = np.ones(len(kind), np.bool_)
    if len(kind) < _TRIPLE:
        return keep
    first, second, third = slice(0, -2), slice(1, -1), slice(2, None)
    pair = (kind[first] == Kind.ENTER) & (kind[second] == Kind.EXIT)
    pair &= (function[first] == function[second]) & (sp[first] == sp[second])
    same = (sp[first] ^ sp[third]) >> shift == 0
    after = (kind[third] == Kind.EXIT) & (sp[third] > sp[first])
    after |= (kind[third] == Kind.ENTER) & (sp[third] >= sp[first])
    quiet = np.flatnonzero(pair & ((same & after) | (kind[third] == Kind.RET_USER)))
    keep[quiet] = keep[quiet + 1] = False
    return keep
