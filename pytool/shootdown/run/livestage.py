"""Checking while it is recorded: the process that does it, and what becomes of what it finds."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from shootdown.compiled import run as compiled_run
from shootdown.rules.check import CheckReport
from shootdown.run import directory, live_process
from shootdown.run.directory import RunDir
from shootdown.vm.guest import Guest, State
from shootdown.vm.process import Child

FLUSH_MS: Final = 50
"""How old records in the plugin's buffers may get, milliseconds."""
_PATIENCE: Final = 2.0
"""Seconds for which a silent vCPU is waited for."""
_HASTE: Final = 0.2
"""The same, where a violation is to stop the guest."""
_MOMENT: Final = 0.01

Tell = Callable[[str], None]


@dataclass(frozen=True)
class LivePlan:
    """What a violation does."""

    stop: bool = False
    """The first one stops the guest."""
    pause: bool = False
    """The guest is left stopped then, until the user ends it."""


@dataclass
class Live:
    """One live check, a context: ``complete``, then ``finish``.

    It fails quietly: whatever goes wrong is said, and there is no report then. The trace can be
    checked afterwards all the same.
    """

    run: RunDir
    arch: str
    policy: str
    tell: Tell
    plan: LivePlan
    report: CheckReport | None = None
    """What it says of the complete trace."""
    first: dict[str, Any] = field(default_factory=dict)
    """The first violation: rule, summary and number of its last event."""
    _child: Child | None = None
    _reader: asyncio.Task[None] | None = None
    _found: asyncio.Event = field(default_factory=asyncio.Event)
    _scratch: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> Self:
        """Start the process. Raises InfraError."""
        with directory.disk_errors(self.run.trace):
            self.run.trace.mkdir(exist_ok=True)
            self._scratch = tempfile.TemporaryDirectory(prefix="shootdown-live-")
        out = Path(self._scratch.name) / "report"
        patience = _HASTE if self.plan.stop else _PATIENCE
        self._child = await Child.start(
            [
                *(sys.executable, "-m", compiled_run.__name__),
                *(live_process.__name__, str(self.run.trace)),
                *(self.arch, self.policy, str(patience), str(out)),
            ]
        )
        self._reader = asyncio.create_task(self._read(self._child))
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the process, whatever it is doing."""
        if self._child is not None:
            await self._child.kill()
        if self._reader is not None:
            await asyncio.wait({self._reader})
        if self._scratch is not None:
            self._scratch.cleanup()

    async def stopped(self, guest: Guest) -> dict[str, Any]:
        """Wait for the first violation, and stop the guest: a ``session.Until``."""
        await self._found.wait()
        while guest.state is State.PAUSED:  # somebody is at it
            await asyncio.sleep(_MOMENT)
        await guest.pause()
        self.tell("the guest was stopped")
        return self.first

    def complete(self) -> None:
        """Nobody writes to the trace any more."""
        if self._child is not None:
            self._child.stdin.write(live_process.COMPLETE)

    async def finish(self) -> None:
        """Wait for the report, after ``complete``."""
        if self._child is None or self._reader is None:
            return
        await self._reader
        if await self._child.wait():
            self.tell(f"checking while recording has failed: {self._child.stderr[-500:]}")

    async def _read(self, child: Child) -> None:
        while line := await child.stdout.readline():
            said = json.loads(line)
            if violation := said.get("violation"):
                self._tell_of(violation)
            if doubt := said.get("doubt"):
                self.tell(f"the trace is checked again: {doubt}")
            if path := said.get("report"):
                self.report = pickle.loads(Path(path).read_bytes())

    def _tell_of(self, violation: dict[str, Any]) -> None:
        if not self.first:
            self.first = violation
            self.tell(f"{violation['rule']}: {violation['summary']}")
            self._found.set()
