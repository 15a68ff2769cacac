"""Guests for trials: ready at once, recorded, and each like the other."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from shootdown.run import commandstage, directory, record, start
from shootdown.run.directory import RunDir
from shootdown.run.experiment import Experiment
from shootdown.run.prepared import Prepared
from shootdown.vm.guest import Guest

Tell = Callable[[str], None]


@contextmanager
def prepared(experiment: Experiment, tell: Tell) -> Iterator[Prepared]:
    """Everything that trials of one experiment share, its snapshot included; see ``in_run``.

    With ``experiment.snapshot`` "auto" the snapshot is made here if there is none. Raises what
    ``record.prepare`` and ``snapshotstage.ensure`` raise. Not to be called from a coroutine.
    """
    with tempfile.TemporaryDirectory(prefix="shootdown-") as scratch:
        nowhere = RunDir(Path(scratch, "run"))
        yield record.saved(record.prepare(experiment, nowhere, Path(scratch), tell), tell)


def in_run(shared: Prepared, run: RunDir) -> Prepared:
    """One trial in a run directory of its own: plan.toml, command.json and plugin.plan are written.

    Raises InfraError when the disk does not take them.
    """
    plan = run.plugin_plan if shared.config.plan else None
    one = replace(shared, config=replace(shared.config, run_dir=run.path, plan=plan))
    directory.write_text(run.plan, shared.experiment.to_toml())
    commandstage.write(one, run)
    return one


@asynccontextmanager
async def ready_guest(one: Prepared) -> AsyncIterator[Guest]:
    """A RUNNING guest that is recorded from its first instruction on and whose agent listens.

    On leaving QEMU is killed, unless it was ended: end it by ``Guest.shutdown()`` for a complete
    trace. Raises what ``start.begin`` and ``Guest.wait_ready`` raise.
    """
    async with Guest(one.config) as guest:
        await start.begin(guest, one)
        await guest.wait_ready()
        await start.ready(guest, one)
        yield guest
