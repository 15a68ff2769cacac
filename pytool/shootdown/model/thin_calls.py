"""Calls of kernel functions in which nobody asks for the operation stack."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from shootdown.model.stream import Mask
from shootdown.trace.columns import Fields, are
from shootdown.trace.schema import Kind, Probe

_ROUNDS: Final = 32

_Words = npt.NDArray[np.uint64]
_Short = npt.NDArray[np.uint16]
_At = npt.NDArray[np.intp]


def asks(part: Fields) -> Mask:
    """Events at which the model asks for the operation stack: stores over something.

    ``Machine._supersede`` asks, and comes from stores whose old entry was valid. Others that ask,
    such as rules that report something else, get an answer of their own (``stacks.ThinStacks``).
    """
    mask: Mask = are(part["kind"], Kind.PTE_WRITE) & (part["b"] != 0)
    return mask


def quiet_calls(part: Fields, wanted: Mask, shift: np.uint64, loud: Mask) -> Mask:
    """Beginnings and ends (ENTER, EXIT) of calls in which nobody asks for the operation stack.

    Those of ``loud`` stay, whatever follows from the proof.

    Proof: a call matters only by what else it does to the stacks (``callstack.CallStacks``): its
    ENTER ends every call at its stack pointer ``sp`` or below, and those of an interrupt when it is
    on the task's own stack; its EXIT ends just itself. Let E and X be both, with nothing between
    them on the vCPU that concerns stacks or asks. They can be left out in two cases.

    N, the next that concerns stacks or asks, is an EXIT above ``sp`` or an ENTER at ``sp`` or
    above, on the same stack: N ends at least what E ended, before it looks at what is on top, so
    from N on the stacks are the same without E and X. RET_USER ends every call. When N is left out
    with its own EXIT, then because of an event behind it that ends at least as much as N.

    P, the last that concerned stacks, is an ENTER or EXIT above ``sp`` on the same stack: nothing
    is left there below P's pointer, nor of an interrupt when P was on the task's own stack, so E
    ends nothing. Behind a RET_USER there is nothing at all. When P is left out, with the ENTER
    before it, then because those two ended nothing either.

    So it is repeated: calls that hold only such calls go too. The task's stack is the same
    throughout, for a switch of tasks is an event that concerns stacks; two pointers are into one
    stack when no bit from ``shift`` up differs, since stacks are aligned to their size
    (THREAD_ALIGN, include/linux/thread_info.h).
    """
    kinds = part["kind"]
    calls = are(kinds, Kind.ENTER) | are(kinds, Kind.EXIT)
    switches = are(kinds, Kind.PROBE_MORE) & are(part["id"], Probe.TASK_SWITCH)
    at = np.flatnonzero(wanted & (calls | switches | are(kinds, Kind.RET_USER) | asks(part)))
    kind, function, sp = kinds[at], part["id"][at], part["a"][at]
    stays = loud[at]
    for _ in range(_ROUNDS):
        keep = np.flatnonzero(_without_quiet(kind, function, sp, shift, stays))
        if len(keep) == len(at):
            break
        at, kind, function = at.take(keep), kind.take(keep), function.take(keep)
        sp, stays = sp.take(keep), stays.take(keep)
    quiet: Mask = calls & wanted
    quiet[at] = False
    return quiet


def _without_quiet(
    kind: _Short, function: _Short, sp: _Words, shift: np.uint64, stays: Mask
) -> Mask:
    keep = np.ones(len(kind), np.bool_)
    pair = are(kind[:-1], Kind.ENTER) & are(kind[1:], Kind.EXIT) & ~(stays[:-1] | stays[1:])
    pair &= (function[:-1] == function[1:]) & (sp[:-1] == sp[1:])
    first = np.flatnonzero(pair)
    quiet = first[_ended_behind(kind, sp, shift, first) | _ends_nothing(kind, sp, shift, first)]
    keep[quiet] = keep[quiet + 1] = False
    return keep


def _ended_behind(kind: _Short, sp: _Words, shift: np.uint64, first: _At) -> Mask:
    """Whether what comes behind the pairs ends all that their ENTER (at ``first``) ended."""
    behind = np.minimum(first + 2, len(kind) - 1)
    there = first + 2 < len(kind)
    same = (sp[first] ^ sp[behind]) >> shift == 0
    ends = are(kind[behind], Kind.EXIT) & (sp[behind] > sp[first])
    ends |= are(kind[behind], Kind.ENTER) & (sp[behind] >= sp[first])
    found: Mask = there & ((same & ends) | are(kind[behind], Kind.RET_USER))
    return found


def _ends_nothing(kind: _Short, sp: _Words, shift: np.uint64, first: _At) -> Mask:
    """Whether nothing is left for the pairs' ENTER (at ``first``) to end."""
    last = first - 1
    stores = np.flatnonzero(are(kind[last], Kind.PTE_WRITE))
    if len(stores):
        others = np.flatnonzero(~are(kind, Kind.PTE_WRITE))
        place = np.searchsorted(others, first[stores]) - 1
        last[stores] = np.where(place >= 0, others[place], -1)
    there = last >= 0
    above = are(kind[last], Kind.ENTER) | are(kind[last], Kind.EXIT)
    above &= (sp[last] > sp[first]) & ((sp[first] ^ sp[last]) >> shift == 0)
    found: Mask = there & (above | are(kind[last], Kind.RET_USER))
    return found
