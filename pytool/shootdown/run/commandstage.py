"""What is written before a guest starts: the plugin's plan, and command.json."""

from __future__ import annotations

import platform

import shootdown
from shootdown.kernel import groups, plan, plan_groups, plan_resume
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.groups.base import Group
from shootdown.run import directory, inject
from shootdown.run.directory import RunDir
from shootdown.run.prepared import Prepared
from shootdown.vm.command import line
from shootdown.vm.process import qemu_version


def write(prepared: Prepared, run: RunDir, live_ms: int = 0) -> None:
    """Write command.json and, for the plugin, its plan; ``live_ms`` as ``plan.make`` takes it."""
    experiment, facts = prepared.experiment, prepared.facts
    if prepared.config.plugin:
        text = plan.make(
            facts,
            prepared.arch,
            ram_size=experiment.mem << 20,
            thread=experiment.thread,
            events=experiment.events,
            slide=prepared.snapshot.slide if prepared.snapshot else None,
            live_ms=live_ms,
            drop_store=experiment.test_drop_store,
            delay_us=experiment.test_delay_us,
        )
        if found := prepared.snapshot:
            text += "\n".join(plan_resume.lines(found.mms, found.registers)) + "\n"
        if experiment.inject:
            text += inject.write(experiment, facts, run)
        directory.write_text(run.plugin_plan, text)
    version = ".".join(map(str, qemu_version(prepared.arch.machine.qemu)))
    value = {
        "tool": f"shootdown {shootdown.__version__}",
        "python": platform.python_version(),
        "host": platform.machine(),
        "qemu": version,
        "qemu_line": line(prepared.config),
        "arch": experiment.arch,
        "kernel": {
            "release": facts.release,
            "build_id": facts.build_id,
            "source": experiment.kernel,
            "image": str(facts.boot_path),
            "files": [str(file) for file in facts.files.all],
            "symbols_from": facts.symbols_from,
            "types_from": facts.types_from,
        },
        "seed": experiment.seed,
        "snapshot": prepared.snapshot.entry.name if prepared.snapshot else "",
        "profile": experiment.profile,
        "bbm": experiment.bbm,
        "events": _groups(prepared),
        "workloads": experiment.workloads,
        "reproduce": experiment.command_line(),
    }
    directory.write_json(run.command, value)


def _groups(prepared: Prepared) -> dict[str, object]:
    """Every event group: whether it is recorded, and what of it the kernel does not have."""
    armed = {group.name for group in groups.named(prepared.experiment.events)}
    found = (plan_groups.resolve(prepared.facts, group) for group in groups.GROUPS.values())
    return {
        one.group.name: {
            "recorded": one.group.name in armed and not one.refused,
            "refused": one.refused,
            "absent": list(one.absent),
            "constants": _constants(prepared.facts, one.group),
        }
        for one in found
    }


def _constants(facts: KernelFacts, group: Group) -> dict[str, int]:
    """The group's enumerators that the kernel has."""
    return {name: facts.constants[name] for name in group.constants if name in facts.constants}
