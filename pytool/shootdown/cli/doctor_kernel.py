"""``shootdown doctor --kernel``: what of a kernel can be used, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from shootdown import arch
from shootdown.cli import options
from shootdown.errors import InfraError
from shootdown.kernel import facts, lock_forms, plan, plan_groups, tree
from shootdown.kernel import image as images
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.facts_sources import SYMBOLS, TYPES, Finding, Kernel, survey
from shootdown.kernel.groups import GROUPS
from shootdown.kernel.groups.base import Group
from shootdown.rules.check import RULES
from shootdown.run import source

Report = dict[str, Any]
"""What ``--json`` prints of one kernel."""

_LEFT_OUT: Final = "# not "
"""How a plan names an event that the kernel has no place for."""


def inspect(spec: str, name: str | None, cache: Path) -> Report:
    """Look at a kernel; ``name`` is the architecture that a ``debian:`` name is looked up for.

    ``problem`` is why it cannot be used, or empty. Raises UsageError when there is no such kernel,
    InfraError when there is nothing to look at.
    """
    files = tree.locate(source.image(spec, arch.get(name or options.DEFAULT.arch), cache), cache)
    image = images.load(files.image)
    kernel = Kernel(image, files)
    report: Report = {
        "spec": spec,
        "image": str(image.path),
        "form": image.form,
        "arch": image.arch,
        "release": image.release,
        "build_id": image.build_id,
        "symbols": list(_ranked(survey(SYMBOLS, kernel))),
        "types": list(_ranked(survey(TYPES, kernel))),
        "locks": {},
        "missing": [],
        "not_recorded": [],
        "groups": {},
        "problem": "",
    }
    try:
        known = facts.load(files.image, cache)
        report["locks"] = lock_forms.describe(known.members)
        report["missing"] = list(known.missing)
        report["not_recorded"] = _left_out(known)
        report["groups"] = {name: _group(known, group) for name, group in GROUPS.items()}
    except InfraError as error:
        report["problem"] = str(error)
    # Every rule needs the page tables, the roots and the calls: a plan has all of them or is none.
    armed = not report["problem"]
    report["rules"] = {rule.id: armed and image.arch in rule.archs for rule in RULES}
    return report


def _ranked(findings: Iterator[Finding[Any]]) -> Iterator[Report]:
    """The findings with their states: the first that is there is used, the others are spare."""
    used = False
    for finding in findings:
        there = finding.value is not None
        state = "WRONG" if finding.wrong else "absent"
        if there:
            state = "spare" if used else "used"
        used |= there or finding.wrong
        yield {"source": finding.source, "state": state, "note": finding.note}


def _left_out(known: KernelFacts) -> list[str]:
    """The events, beyond those of groups, that the kernel has no place for, and why."""
    ram = options.DEFAULT.mem << 20
    text = plan.make(known, arch.get(known.arch), ram_size=ram, events="none")
    lines = text.splitlines()
    return [line.removeprefix(_LEFT_OUT) for line in lines if line.startswith(_LEFT_OUT)]


def render(report: Report) -> str:
    """The report as text."""
    build_id = report["build_id"] or "none"
    lines = [
        f"kernel {report['spec']}",
        f"  image     {report['image']}",
        f"            {report['form']}; Linux {report['release']} for {report['arch']}",
        f"            build-id {build_id}",
        *_listed("symbols", [_source(*item) for item in enumerate(report["symbols"], 1)]),
        *_listed("types", [_source(*item) for item in enumerate(report["types"], 1)]),
        *_listed("locks", [f"{name}: {form}" for name, form in report["locks"].items()]),
        *_listed("lacks", report["missing"]),
        *_listed("events", report["not_recorded"]),
        *_listed("groups", [f"{name}: {text}" for name, text in report["groups"].items()]),
        *_listed("rules", [f"{id}: {_word(armed)}" for id, armed in report["rules"].items()]),
    ]
    return "\n".join(lines) + "\n"


def _group(known: KernelFacts, group: Group) -> str:
    """Whether the kernel gives a group of events, and what of it it lacks."""
    found = plan_groups.resolve(known, group)
    if found.refused:
        return f"REFUSED: {found.refused}"
    return "can be recorded" + (f", without {', '.join(found.absent)}" if found.absent else "")


def _listed(head: str, items: list[str]) -> list[str]:
    heads = [head, *[""] * (len(items) - 1)]
    return [f"  {name:9} {item}" for name, item in zip(heads, items, strict=False)]


def _source(number: int, entry: Report) -> str:
    return f"{number}. {entry['source']:22} {entry['state']:7} {entry['note']}"


def _word(armed: bool) -> str:
    return "can be armed" if armed else "DISARMED"
