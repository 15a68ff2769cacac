"""A recording opened for a notebook: every group of events is an attribute, a pandas frame.

This is where what the packages know comes together: events of ``trace``, locks as ``model`` reads
them, symbols of ``kernel`` by way of the run directory.
"""

from __future__ import annotations

import difflib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from shootdown.errors import InfraError, UsageError
from shootdown.frames import memory, parquet
from shootdown.frames.column import Table
from shootdown.frames.faults import FAULT_ATTEMPTS, FAULTS
from shootdown.frames.groups import ASIDS, CALLS, FLUSH_REQUESTS, LOCK_WAITS, SHOOTDOWNS
from shootdown.frames.gup import GUP, PINS
from shootdown.frames.locks import LOCKS
from shootdown.frames.tables import TABLES
from shootdown.frames.vmas import VMA_LOCKS, VMAS
from shootdown.kernel.symbols import SymbolTable
from shootdown.model.callstack import Timeline
from shootdown.model.known import Known, known
from shootdown.run.convert import symbols_of
from shootdown.run.directory import RunDir, read_json
from shootdown.trace.reader import Trace as Reader
from shootdown.trace.schema import DTYPE, Kind

_GROUPS: Final = (
    *(FAULTS, FAULT_ATTEMPTS, VMAS, VMA_LOCKS, GUP, PINS),
    *(CALLS, FLUSH_REQUESTS, SHOOTDOWNS, ASIDS, LOCK_WAITS),
)
ALL: Final[dict[str, Table]] = {
    table.name: table
    for table in sorted((*TABLES, *memory.TABLES, LOCKS, *_GROUPS), key=lambda table: table.name)
}
"""Every table by its name."""


class Trace:
    """The events of a run as pandas frames: ``trace.ptes``, ``trace.flushes``, ...

    The files are mapped, not read. A frame is made when its attribute is first asked for, from a
    copy of its events, and kept; ``del trace.ptes`` lets it go. Columns, types and units are those
    of docs/frames.md. Addresses are uint64.
    """

    asids: pd.DataFrame
    barriers: pd.DataFrame
    calls: pd.DataFrame
    delays: pd.DataFrame
    fault_attempts: pd.DataFrame
    faults: pd.DataFrame
    flush_requests: pd.DataFrame
    flushes: pd.DataFrame
    gup: pd.DataFrame
    lock_waits: pd.DataFrame
    locks: pd.DataFrame
    marks: pd.DataFrame
    observations: pd.DataFrame
    pages: pd.DataFrame
    pins: pd.DataFrame
    ptes: pd.DataFrame
    ptls: pd.DataFrame
    returns: pd.DataFrame
    roots: pd.DataFrame
    shootdowns: pd.DataFrame
    switches: pd.DataFrame
    syscalls: pd.DataFrame
    table_frees: pd.DataFrame
    vma_locks: pd.DataFrame
    vmas: pd.DataFrame
    walkers: pd.DataFrame
    watches: pd.DataFrame

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a run directory, or its directory ``trace``.

        Raises UsageError when ``path`` is neither, InfraError when a file is damaged,
        InconclusiveError when no event was recorded.
        """
        self.path: Final = Path(path)
        self._run, where = _find(self.path)
        self.reader: Final = Reader(where)
        """The events as arrays: whether they are complete, how many were lost, and by vCPU."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of all tables; each is an attribute."""
        return tuple(ALL)

    def function(self, pc: pd.Series[int]) -> pd.Series[str]:
        """The kernel function that each VA lies in; empty below the kernel.

        Raises InfraError when the kernel's image is not where it was when it was recorded.
        """
        places, which = np.unique(pc.to_numpy(), return_inverse=True)
        names = np.array([self.symbols.at(va)[0] for va in places.tolist()], dtype=np.object_)
        values = pd.Categorical(names[which] if len(names) else names)
        return pd.Series(values, index=pc.index, name="function")

    def operation(self, events: pd.DataFrame) -> pd.Series[str]:
        """What each event's CPU was inside of: functions, the outermost first, ``>`` between.

        ``events`` is any table of this trace. It is empty where nothing recorded was under way, and
        everywhere without the group ``functions``.
        """
        keys = np.zeros(len(events), DTYPE)
        keys["seq"], keys["cpu"] = events["seq"], events["cpu"]
        numbers = self._timeline.of(keys)
        names = [self._timeline.names(number) for number in range(len(self._timeline.stacks))]
        values = pd.Categorical.from_codes(numbers.tolist(), categories=pd.Index(names))
        return pd.Series(values, index=events.index, name="operation")

    @cached_property
    def _timeline(self) -> Timeline:
        kinds = (Kind.ARMED, Kind.ENTER, Kind.EXIT, Kind.RET_USER, Kind.PROBE_MORE)
        return Timeline(self.reader.select(*kinds))

    @cached_property
    def symbols(self) -> SymbolTable:
        """Symbols of the kernel that ran. Raises InfraError when its image is gone."""
        run = self._run
        found = symbols_of(read_json(run.command), run.symbols) if run else None
        if found is None:
            raise InfraError(
                f"the kernel of {self.path} cannot be read, so its functions have no names: "
                "open the run directory itself, on the machine that has the image which "
                "command.json names, or fetch the kernel with `shootdown fetch`"
            )
        return found

    def to_parquet(self, directory: str | os.PathLike[str]) -> list[Path]:
        """Write every table to ``directory/<table>.parquet``; returns the files.

        The directory is made; files of these names are replaced. Raises UsageError when pyarrow
        is not installed, InfraError when a file cannot be written.
        """
        frames = ((name, self._frame(name)) for name in self.tables)
        return parquet.write(frames, Path(directory))

    def __repr__(self) -> str:
        cpus, events = self.reader.cpus, len(self.reader)
        return f"<shootdown.Trace: {events} events of {cpus} vCPUs; {', '.join(self.tables)}>"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *ALL})

    def _frame(self, name: str) -> pd.DataFrame:
        """The kept frame, or one that is made for this once."""
        kept: pd.DataFrame | None = self.__dict__.get(name)
        if kept is not None:
            return kept
        return ALL[name].build(self.reader.select(*ALL[name].kinds), self._known)

    @cached_property
    def _known(self) -> Known:
        """What the run directory says of the kernel; nothing when there is none."""
        if self._run is None or not self._run.command.is_file():
            return Known()
        return known(read_json(self._run.command))

    if not TYPE_CHECKING:  # else every misspelling would pass for a frame

        def __getattr__(self, name: str) -> pd.DataFrame:
            if name not in ALL:
                close = difflib.get_close_matches(name, [*ALL, "reader", "symbols"], 1)
                meant = f"did you mean '{close[0]}'? " if close else ""
                raise AttributeError(
                    f"a trace has no '{name}': {meant}its tables are {', '.join(ALL)}"
                )
            frame = self._frame(name)
            self.__dict__[name] = frame
            return frame


def _find(path: Path) -> tuple[RunDir | None, Path]:
    """The run directory, where there is one, and the directory of the trace files."""
    if not path.is_dir():
        raise UsageError(f"there is no directory {path}: name a run directory or its trace/")
    run = RunDir(path)
    if run.trace.is_dir():
        return run, run.trace
    if run.plan.is_file() or run.command.is_file():
        raise UsageError(f"{path} holds no trace: its recording never began; record again")
    if not any(path.glob("cpu*.trace")):
        raise UsageError(f"{path} is no recording: name a run directory or its trace/")
    above = RunDir(path.resolve().parent)
    return (above if above.command.is_file() else None), path
