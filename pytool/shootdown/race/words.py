"""A plan in a sentence, for a mail."""

from __future__ import annotations

from typing import Final

from shootdown.race.points import Advance, Hold, Pause, Plan, Point, Step, steps

_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six")
_EVENTS: Final = {
    "pte_write": "PTE write",
    "flush": "flush",
    "root_load": "switch of address spaces",
    "load": "load",
    "store": "store",
    "enter": "entry of",
    "return": "return from",
    "call": "call of",
}


def needs(plan: Plan | None) -> str:
    """Such as ``needs one hold: mapper, after its PTE clear, until observer0's load``."""
    if plan is None:
        return "needs no hold: it happens when nobody is held"
    count = sum(isinstance(step, Hold) for step in steps(plan.holds))
    word = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    often = f", {plan.repeat} times" if plan.repeat > 1 else ""
    holds = "; then ".join(_hold(hold) for hold in plan.holds)
    return f"needs {word} hold{'s' if count > 1 else ''}{often}: {holds}"


def _hold(hold: Hold) -> str:
    until = ", then ".join(_step(step) for step in hold.until)
    return f"{_who(hold.point)}, {_when(hold.point)}, until {until}"


def _step(step: Step) -> str:
    match step:
        case Pause():
            return f"{step.ms} ms have passed"
        case Advance() if step.instructions == 1:
            return "it has executed that instruction"
        case Advance():
            return f"it has executed {step.instructions} instructions"
        case Hold():
            return f"a hold ({_hold(step)})"
    return f"{_who(step)}'s {_what(step)}"


def _when(point: Point) -> str:
    if point.event in ("enter", "return"):
        return f"at its {_what(point)}"
    return f"{point.when} its {_what(point)}"


def _who(point: Point) -> str:
    who = {"*": "anybody"}.get(point.thread, point.thread.replace("observer*", "an observer"))
    return who if point.cpu is None else f"{who} on CPU {point.cpu}"


def _what(point: Point) -> str:
    count = f"{point.nth}. " if point.nth > 1 else ""
    words = [count + (_change(point) or _EVENTS[point.event])]
    words += [point.function] if point.function else []
    words += [f"in {point.inside}"] if point.inside else []
    words += ["of the page"] if point.of == "page" else []
    words += [f"within {point.within}"] if point.within else []
    return " ".join(words)


def _change(point: Point) -> str:
    """The usual changes of an entry have names."""
    if point.event != "pte_write":
        return ""
    match point.old, point.new:
        case ("present" | "readonly" | "writable" | "any", "none"):
            return "PTE clear"
        case ("writable" | "present", "readonly"):
            return "write-protection of a PTE"
        case ("none", "present" | "readonly" | "writable"):
            return "PTE install"
        case ("any", "any"):
            return "PTE write"
    return f"PTE write {point.old} -> {point.new}"
