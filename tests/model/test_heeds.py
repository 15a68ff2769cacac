"""Accesses and faults are fed when somebody heeds them, and only then."""

from __future__ import annotations

import pytest

from shootdown.model.listener import Listener
from shootdown.model.machine import Machine
from shootdown.model.stream import Event, Selection, whole
from shootdown.trace.schema import Kind
from shootdown.trace.text import parse
from tests.rules.corpus import CORPUS

PREAMBLE = {arch: (CORPUS / f"preamble_{arch}.trace").read_text() for arch in ("x86_64", "arm64")}
ACCESS = "1 OBS a=0x400010 b=0x50010\n"
FAULT = "1 PROBE id=FAULT a=0x400008 b=4\n"
ENTRY = {"x86_64": 0x50067, "arm64": 0x50F43}
MUNMAP = {"x86_64": 11, "arm64": 215}


class Hears(Listener):
    """Notes what it is told of; heeds nothing by itself."""

    def __init__(self, heeds: bool) -> None:
        self.heeds = heeds
        self.heard: list[Event] = []

    def heeds_access(self, page: int) -> bool:
        return self.heeds and page == 0x400

    heeds_fault = heeds_access

    def observed(self, event: Event) -> None:
        self.heard.append(event)

    faulted = observed


def heard(text: str, *listeners: Listener, arch: str = "x86_64") -> list[int]:
    """Kinds of events that a listener that heeds nothing was told of."""
    mute = Hears(heeds=False)
    machine = Machine(arch, [mute, *listeners])
    events = parse(PREAMBLE[arch] + text)
    machine.begin([0x400], 14, thin=True)
    machine.feed(whole(events))
    return [event.kind for event in mute.heard]


def test_the_chosen_ones_come_in_their_turn_and_know_their_predecessors() -> None:
    events = parse(
        "0 RET_USER\n" + ACCESS + FAULT + "0 RET_USER\n" + ACCESS + "1 RET_USER\n" + FAULT
    )
    asked: list[tuple[bool, int]] = []

    def heeds(is_access: bool, page: int) -> bool:
        asked.append((is_access, page))
        return len(asked) in (2, 4)

    chosen = Selection((Kind.RET_USER, Kind.OBS, Kind.PROBE)).events(whole(events), heeds)
    found = [(event.seq, event.prev) for event in chosen]
    assert found == [(1, 0), (3, 2), (4, 1), (6, 5), (7, 6)]
    assert asked == [(True, 0x400), (False, 0x400), (True, 0x400), (False, 0x400)]


def test_what_nobody_heeds_is_not_fed() -> None:
    assert heard(ACCESS + FAULT) == []


def test_what_one_heeds_is_fed() -> None:
    assert heard(ACCESS + FAULT, Hears(heeds=True)) == [Kind.OBS, Kind.PROBE]
    elsewhere = ACCESS.replace("400010", "401010")
    assert heard(elsewhere, Hears(heeds=True)) == []


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_a_fault_that_may_end_a_record_is_fed(arch: str) -> None:
    gone = f"0 PTE_WRITE a=0x13000 b={ENTRY[arch]:#x} d=0x400000 level=1\n"
    assert heard(gone + FAULT, arch=arch) == ([Kind.PROBE] if arch == "x86_64" else [])


def test_a_state_that_changes_in_between_counts() -> None:
    """What a CPU may use is asked anew after each event of its state."""
    machine = Machine("x86_64")
    machine.begin([], 14, thin=True)
    machine.feed(whole(parse(PREAMBLE["x86_64"])))
    assert machine.can_use(1, 0x10000)
    machine.feed(whole(parse("1 WATCH id=IS_LAZY b=0 c=1 d=1\n")))
    assert not machine.can_use(1, 0x10000)
