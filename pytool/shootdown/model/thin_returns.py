"""Returns to user mode that change nothing, and the system calls that they end."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from shootdown.arch.base import Arch
from shootdown.model import syscalls
from shootdown.model.stream import Mask, Window
from shootdown.model.tasks import SWITCHING
from shootdown.trace.columns import Fields, any_of, are, counted, spread
from shootdown.trace.schema import Kind, Probe, Watch

_WORDS: Final = (Watch.IS_LAZY, Watch.LOADED_MM)


class _State(NamedTuple):
    """What the per-CPU words of a vCPU say."""

    lazy: bool = False
    switching: bool = False


class Returns:
    """Follows whether each vCPU can use its translations, from one piece to the next."""

    def __init__(self, arch: Arch) -> None:
        self._operations: Final = np.array(sorted(syscalls.numbers(arch)), np.uint64)
        self._states: dict[int, _State] = {}
        self._told: set[int] = set()

    def begin(self, window: Window) -> None:
        """The next piece of the trace."""
        self._told = set()
        for cpu, part in window.columns.items():
            about = part["d"][_words(part)]
            self._told.update(about[about != cpu].tolist())
        for cpu in self._told:
            self._states[cpu] = _State(lazy=True, switching=True)

    def quiet(self, part: Fields, wanted: Mask) -> Mask:
        """RET_USER of one vCPU that changes nothing, and the system call that it ends.

        Proof: let P and R be two RET_USERs of a vCPU, and let all that it has recorded between them
        be of these kinds: faults, user accesses, barriers, invalidations, stores to slots that were
        empty, and at most one PROBE with its PROBE_MORE of a system call that is not one of
        ``syscalls``; if there is such a call, only barriers are between it and R.

        Since P no call was open, for P ended it and tasks do not change. So R, alone, ends none:
        nobody hears ``returned``. With a call of no operation, those who hear ``entered`` and
        ``returned`` have nothing to do (``Listener``), and what only asks which call is open finds
        one that took nothing away. P has left the operation stack empty, and nothing was entered
        since. In user mode at P the vCPU was neither lazy nor switching, as its own words say, nor
        inside switch_mm, and its root is still the same: what it can use at R it could use all the
        time (an invalidation adds nothing), so ``user``, which is about what a vCPU could not use
        before, has been told by P.

        A piece of the trace begins with nothing known; that keeps more returns.
        """
        cpu = int(part["cpu"][0]) if len(part) else 0
        kind, number = part["kind"], part["id"]
        returns = are(kind, Kind.RET_USER)
        opens = are(kind, Kind.PROBE) & are(number, Probe.SYSCALL)
        more = are(kind, Kind.PROBE_MORE) & are(number, Probe.SYSCALL)
        barriers = are(kind, Kind.BARRIER)
        little = are(kind, Kind.PROBE) & are(number, Probe.FAULT)
        little |= are(kind, Kind.OBS) | are(kind, Kind.FLUSH)
        little |= are(kind, Kind.PTE_WRITE) & (part["b"] == 0)
        quiet = np.zeros(len(part), np.bool_)

        at = np.flatnonzero(wanted & ~barriers & ~little)
        usable = self._usable(part, cpu)[at]
        back = returns[at] & usable
        second = np.flatnonzero(back[1:] & returns[at][:-1]) + 1
        quiet[at[second]] = True

        ours = opens[at] & ~np.isin(part["a"][at], self._operations)
        third = np.flatnonzero(back[3:] & more[at][2:-1] & ours[1:-2] & returns[at][:-3])
        little &= wanted
        busy = counted(little)[at] - little[at]
        third = third[busy[third + 1] == busy[third + 3]]
        for step in (1, 2, 3):
            quiet[at[third + step]] = True
        return quiet

    def _usable(self, part: Fields, cpu: int) -> Mask:
        """For each event whether the vCPU's words say that it is neither lazy nor switching."""
        lazy, switching = self._states.get(cpu, _State())
        words = _words(part)
        words = words[part["d"][words] == cpu]
        value, is_lazy = part["c"][words], are(part["id"][words], Watch.IS_LAZY)
        lazies = spread(words[is_lazy], value[is_lazy] != 0, lazy, len(part))
        switches = spread(words[~is_lazy], value[~is_lazy] == SWITCHING, switching, len(part))
        if len(part) and cpu not in self._told:
            self._states[cpu] = _State(bool(lazies[-1]), bool(switches[-1]))
        usable: Mask = ~lazies & ~switches
        return usable if cpu not in self._told else np.zeros(len(part), np.bool_)


def _words(part: Fields) -> npt.NDArray[np.intp]:
    """Where the part tells of such a word."""
    kind = part["kind"]
    at = np.flatnonzero(are(kind, Kind.WATCH) | are(kind, Kind.WATCH_INIT))
    word = part["id"][at]
    found: npt.NDArray[np.intp] = at[any_of(word, _WORDS)]
    return found
