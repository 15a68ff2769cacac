"""Stops that are spared: each makes QEMU translate anew all that the guest executes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shootdown.race import Point
from shootdown.race.engine import Engine, Hit
from shootdown.race.reach import Reach
from shootdown.race.resolve import Traps
from shootdown.race.stage import Stage
from shootdown.vm.gdbstub import GdbStub, Stop, Watch

NAMING, FAULT = 0x100, 0x200


class Stub:
    """vCPU 0 comes to the first breakpoint whenever it runs."""

    vcpus = (0, 1)

    def __init__(self) -> None:
        self.pc = 0
        self.stepped: list[int] = []
        self.breakpoints: Collection[int] = ()

    async def set_breakpoints(self, vas: Collection[int]) -> None:
        self.breakpoints = set(vas)

    async def set_watch(self, _: Watch | None) -> None:
        pass

    async def run(self, _: Iterable[int]) -> None:
        self.pc = min(self.breakpoints)

    async def stopped(self, _: float) -> Stop:
        return Stop(0, watched=False)

    async def step(self, _: int) -> None:
        self.stepped.append(self.pc)
        self.pc += 4

    async def read(self, _vcpu: int, names: Collection[str]) -> dict[str, int]:
        return dict.fromkeys(names, self.pc)


@pytest.mark.parametrize(("following", "stepped"), [(0x300, []), (0x200, [0x200])])
def test_who_stands_at_no_breakpoint_needs_no_step(following: int, stepped: list[int]) -> None:
    stub = Stub()
    engine = Engine(cast(GdbStub, stub), "pc", {})

    async def both() -> None:
        hit, _ = await engine.run_to((0x200,), 1.0)
        assert hit == Hit(0, 0x200)
        assert engine.standing == (hit,)
        hit, _ = await engine.run_to((following,), 1.0)
        assert hit == Hit(0, following)

    asyncio.run(both())
    assert stub.stepped == stepped


class Guest:
    """Threads that get their names one after the other; all of them come to ``FAULT``."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.given = ["init"]
        self.stopped_at: list[int] = []
        self.target = SimpleNamespace(naming=NAMING)
        self.slide = 0
        self.view = SimpleNamespace(current=lambda _: SimpleNamespace(va=1, comm=self.given[-1]))
        self.engine = SimpleNamespace(standing=(), run_to=self.run_to)

    async def run_to(
        self, vas: Collection[int], seconds: float, _watch: object = None
    ) -> tuple[Hit | None, float]:
        (va,) = vas
        if seconds <= 0:
            return None, 0.0
        self.stopped_at.append(va)
        if va == NAMING:
            self.given.append(self.names.pop(0))
        return Hit(0, va), 0.25

    def exists(self, point: Point) -> bool:
        return point.thread in self.given

    async def new_name(self, _: int) -> str:
        return self.given[-1]

    def meant(self, point: Point, task: Any, _: int) -> bool:
        return bool(task.comm == point.thread)


@pytest.mark.parametrize(
    ("thread", "stops"), [("toucher", [NAMING, NAMING, FAULT]), ("init", [FAULT])]
)
def test_a_point_waits_for_its_thread(thread: str, stops: list[int]) -> None:
    guest = Guest(["mapper", "toucher"])
    point = Point(event="enter", thread=thread, function="handle_mm_fault")
    traps = Traps(point, frozenset({FAULT}), frozenset())
    arrival, spent = asyncio.run(Reach(cast(Stage, guest)).reach(traps, 10.0, None))
    assert arrival and arrival.task.comm == thread
    assert guest.stopped_at == stops
    assert spent == 0.25 * len(stops)


def test_a_thread_that_never_comes_is_waited_for_as_long_as_the_point() -> None:
    guest = Guest(["mapper"] * 9)
    point = Point(event="enter", thread="nobody", function="handle_mm_fault")
    traps = Traps(point, frozenset({FAULT}), frozenset())
    arrival, spent = asyncio.run(Reach(cast(Stage, guest)).reach(traps, 1.0, None))
    assert arrival is None and spent == 1.0
    assert set(guest.stopped_at) == {NAMING}
