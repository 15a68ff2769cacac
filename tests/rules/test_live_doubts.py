"""Why a trace that was checked while it was recorded is checked once more, and what is told early.

A check of the complete trace comes after every doubt, so reports alone do not tell whether one was
raised where it must be, and nowhere else.
"""

from __future__ import annotations

import pytest

from shootdown.errors import UsageError
from shootdown.model.stream import Window
from shootdown.rules import live as live_module
from shootdown.rules import pinned_wrprotect
from shootdown.rules.live import AHEAD, LATE, LiveCheck, looks_ahead
from shootdown.rules.panel import RULES
from shootdown.trace.parts import split
from shootdown.trace.text import parse
from tests.rules.corpus import CORPUS, TextTrace, cases
from tests.rules.test_live import cut, live, text_of
from tests.rules.test_two_checkers import Written

CASES = cases()
PREAMBLE = (CORPUS / "preamble_x86_64.trace").read_text()
WATCHED = "0 MARK id=RANGE b=0x400000 c=0x3000\n"
MUNMAP = "0 PROBE id=SYSCALL a=11 b=0x400000 c={:#x} flags=MORE\n0 PROBE_MORE id=SYSCALL\n"
CLEARED = "0 PTE_WRITE a=0x13000 b=0x50067 c=0x0 d=0x400000 level=1\n"
FLUSHED = "{} FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL\n"
DONE = MUNMAP.format(0x1000) + CLEARED + FLUSHED.format(0) + FLUSHED.format(1) + "0 RET_USER\n"
USED = "1 OBS a=0x400010 b=0x50010 size=8\n"


def doubt(text: str, size: int = 1, *, foresight: bool = True, preamble: str = PREAMBLE) -> str:
    events = parse(preamble + text)
    checker = LiveCheck("x86_64", "wilcox")
    for window in cut(events, size, foresight=foresight):
        checker.feed(window)
    checker.finish(Written("x86_64", events))
    return checker.doubt


def test_nothing_is_in_doubt() -> None:
    assert doubt(DONE) == ""
    assert doubt(WATCHED + DONE + USED) == ""
    assert doubt(DONE, 1000) == ""


def test_recording_that_never_began() -> None:
    assert doubt("0 BARRIER id=DSB\n", preamble="") == "recording never began"


def test_how_long_the_beginning_is_waited_for() -> None:
    late = "0 BARRIER id=DSB\n" * 63
    assert doubt(late, preamble="") == "recording never began"
    assert doubt(late + "0 BARRIER id=DSB\n", preamble="") == ""


def test_the_size_of_stacks_is_to_be_known_from_the_beginning() -> None:
    late = "the size of stacks was not known from the beginning"
    assert doubt("0 ARMED a=0xffff888000000000 size=15\n") == late
    assert doubt("0 ARMED a=0xffff888000000000 size=14\n") == ""
    large = PREAMBLE.replace("0 ARMED", "0 ARMED size=15", 1)
    assert doubt("", preamble=large) == ""


CHANGED = "a page was watched after a system call had changed it"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DONE + USED, CHANGED),
        (DONE + WATCHED, CHANGED),
        (USED + DONE, ""),
        (DONE + USED.replace("0x400010", "0x401010"), ""),
        (DONE.replace("a=11", "a=10") + USED, CHANGED),
        (CLEARED + FLUSHED.format(1) + USED, ""),  # by no system call
        (DONE + "0 ROOT_FORGET b=0x10000\n" + USED, ""),
        (DONE + "0 ROOT_FORGET b=0x20000\n" + USED, CHANGED),
        (DONE.replace("0 RET_USER", "1 RET_USER") + USED, CHANGED),  # it goes on
        (MUNMAP.format(0x1000) + USED, CHANGED),
        (MUNMAP.format(0x1000) + USED.replace("0x400010", "0x401010"), ""),
        (MUNMAP.format(0x2000) + USED.replace("0x400010", "0x401010"), CHANGED),
        (MUNMAP.format(0x1000) + USED.replace("0x400010", "0x3ff010"), ""),
        (MUNMAP.format(0x1000) + "0 RET_USER\n" + USED, ""),
        (MUNMAP.format(0x1000).replace("a=11", "a=39") + USED, ""),
    ],
)
def test_pages_that_are_watched_late(text: str, expected: str) -> None:
    """What was taken away from a page while nobody watched it is not remembered."""
    assert doubt(text) == expected


def test_all_pages_of_a_large_entry_were_changed() -> None:
    made = "0 PTE_WRITE a=0x12018 c=0x2000e7 d=0x600000 level=2\n"
    gone = made.replace("c=0x2000e7", "b=0x2000e7 c=0x0")
    text = made + MUNMAP.format(0x1000).replace("0x400000", "0x600000") + gone + "0 RET_USER\n"
    for va, expected in ((0x600000, CHANGED), (0x7FF000, CHANGED), (0x800000, "")):
        assert doubt(text + f"1 OBS a={va:#x} b=0x200000 size=8\n") == expected


def test_many_pages_are_not_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    used = USED.replace("0x400010", "0x402010")
    assert doubt(DONE + used) == ""
    monkeypatch.setattr(live_module, "_REMEMBERED", 0)
    assert doubt(DONE + used) == CHANGED
    # Pages of an address space that is gone do not count, nor one that was changed twice.
    monkeypatch.setattr(live_module, "_REMEMBERED", 1)
    again = CLEARED.replace("b=0x50067 c=0x0", "b=0x0 c=0x50067") + DONE
    assert doubt(DONE + again + used) == ""
    other = DONE.replace("0x400000", "0x401000").replace("0x13000 b=0x50067", "0x13008 b=0x51067")
    assert doubt(DONE + other + used) == CHANGED
    assert doubt(DONE + "0 ROOT_FORGET b=0x10000\n" + used) == ""


SILENT = "CPU 1 was silent for long, and then told of what was before"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("1 WATCH id=IS_LAZY b=0 c=1 d=1", SILENT),
        ("1 WATCH id=IS_LAZY b=1 c=0 d=1", ""),
        ("1 WATCH id=LOADED_MM b=0 c=1 d=1", ""),
        ("1 PTE_WRITE a=0x13018 c=0x53067 d=0x403000 level=1", SILENT),
        ("1 RET_USER", ""),
    ],
)
def test_records_of_a_cpu_that_was_silent(record: str, expected: str) -> None:
    events = parse(PREAMBLE + "0 BARRIER id=DSB\n" + record)
    checker = LiveCheck("x86_64", "wilcox")
    parts = split(events[:-1])
    nothing = events[:0]
    checker.feed(Window(parts, {}, {0: nothing, 1: nothing}))
    last = split(events[-1:])
    before = {cpu: int(part["seq"][-1]) for cpu, part in parts.items()}
    checker.feed(Window(last, before, {}))
    assert checker.doubt == expected


def test_the_next_record_of_a_cpu_was_known() -> None:
    text = "0 BARRIER id=DSB\n1 PTE_WRITE a=0x13018 c=0x53067 d=0x403000 level=1\n"
    assert doubt(text) == ""
    assert doubt(text, foresight=False) == SILENT


def test_the_first_doubt_is_the_one_that_is_told() -> None:
    text = DONE + USED + "0 ARMED a=0xffff888000000000 size=15\n"
    assert doubt(text) == CHANGED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dead-vma-install/bad_behind_its_end", f"vma-write-unlocked, dead-vma-install: {LATE}"),
        ("pte-write-unlocked/bad_no_lock", f"pte-write-unlocked: {LATE}"),
        ("pinned-wrprotect/bad_fork", f"pinned-wrprotect: {AHEAD}"),
        (
            "flush-deadline/bad_d6_arm64",
            "pinned-wrprotect is not armed: the trace lacks what the rule needs",
        ),
        ("stale-after-return/bad_map_fixed", ""),
    ],
)
def test_rules_that_need_the_whole_trace(name: str, expected: str) -> None:
    (case,) = [case for case in CASES if case.name == name]
    trace, policy = text_of(case)
    assert live(trace, policy, 20, foresight=True)[0].doubt == expected


def test_which_rules_look_ahead() -> None:
    ahead = {rule.id for rule in RULES if looks_ahead(rule)}
    assert ahead == {
        "dead-vma-install",
        "pte-write-unlocked",
        "spurious-fault",
        "table-freed-under-walker",
        "vma-write-unlocked",
    }


def test_news_are_told_once_and_in_order() -> None:
    checker = LiveCheck("x86_64", "wilcox")
    late = "0 RET_USER\n" + CLEARED.replace("b=0x50067 c=0x0", "b=0x0 c=0x50067")
    text = PREAMBLE + (MUNMAP.format(0x1000) + CLEARED + late) * 2
    told: list[list[int]] = []
    for window in cut(parse(text), 1, foresight=True):
        checker.feed(window)
        if news := checker.news():
            told.append([violation.seq[-1] for violation in news])
    whole = live(TextTrace("x86_64", text.removeprefix(PREAMBLE)), "wilcox", 1, foresight=True)[1]
    assert told == [[violation.seq[-1]] for violation in whole.violations]
    assert len(told) == 2


def test_news_come_only_of_rules_that_the_trace_arms() -> None:
    """pinned-wrprotect judges a fork's stores, and nothing here tells of pins."""
    (case,) = [case for case in CASES if case.name == "flush-deadline/bad_d6_arm64"]
    trace, policy = text_of(case)
    checker = LiveCheck(trace.arch, policy)
    rules = set()
    for window in cut(trace.events(), 20, foresight=True):
        checker.feed(window)
        rules |= {violation.rule for violation in checker.news()}
    assert rules == {rule for rule, _ in case.expected} == {"flush-deadline"}


def test_unknown_names() -> None:
    for arch, policy in (("vax", "wilcox"), ("x86_64", "linus")):
        with pytest.raises(UsageError):
            LiveCheck(arch, policy)


def unpinned(name: str) -> str:
    """A trace of pinned-wrprotect without pins: plain references stay."""
    text = (CORPUS / f"pinned-wrprotect/{name}.trace").read_text()
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        inside |= "ENTER id=pin_user" in line or "ENTER id=unpin_user" in line
        if not inside:
            kept.append(line)
        inside &= "EXIT id=pin_user" not in line and "EXIT id=unpin_user" not in line
    return "".join(kept)


def got(line: str) -> str:
    """A plain reference is taken of the page that ``line`` names."""
    return f"1 ENTER id=try_grab_folio_fast a=0x9e00 b={line} c=1 d=0x3\n"


PLAIN = f"pinned-wrprotect: {AHEAD}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (unpinned("bad_fork"), ""),
        (unpinned("bad_huge_page"), ""),
        (unpinned("good_get_is_told"), PLAIN),
        (unpinned("good_get_given_back"), ""),
        (unpinned("good_get_is_told").replace("1400", "1440"), ""),
        (unpinned("bad_fork") + got("0xffffea0000001400"), ""),
        (got("0xffffea0000001400") + unpinned("bad_fork"), PLAIN),
        (got("0xffffea0000020000") + unpinned("bad_huge_page"), PLAIN),
        (got("0xffffea0000027fc0") + unpinned("bad_huge_page"), PLAIN),
        (got("0xffffea000001ffc0") + unpinned("bad_huge_page"), ""),
        (got("0xffffea0000028000") + unpinned("bad_huge_page"), ""),
    ],
)
def test_plain_references_that_a_fork_met(text: str, expected: str) -> None:
    """Nobody knew of them when the fork took the right to write away."""
    assert doubt(text) == expected


def test_more_questions_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    text = unpinned("bad_fork")
    monkeypatch.setattr(pinned_wrprotect, "_QUESTIONS", 1)
    assert doubt(text) == ""
    monkeypatch.setattr(pinned_wrprotect, "_QUESTIONS", 0)
    assert doubt(text) == PLAIN
    monkeypatch.setattr(pinned_wrprotect, "_QUESTIONS", 511)
    assert doubt(unpinned("bad_huge_page")) == PLAIN
    monkeypatch.setattr(pinned_wrprotect, "_QUESTIONS", 512)
    assert doubt(unpinned("bad_huge_page")) == ""
    # What a page came after is not looked for, nor is it found.
    assert doubt(got("0xffffea0000020000") + unpinned("bad_huge_page")) == PLAIN
