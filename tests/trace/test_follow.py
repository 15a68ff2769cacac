"""A trace that grows is handed out in order, whole, and no later than it must."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shootdown.trace.follow import Follower, Stretch
from shootdown.trace.schema import DTYPE, RECORD_BYTES, Kind
from shootdown.trace.types import Events
from shootdown.trace.writer import header, trailer

PATIENCE = 1.0


class Recording:
    """Files that grow, and a clock."""

    def __init__(self, path: Path, cpus: int) -> None:
        self.path, self.time = path, 0.0
        self.written = np.zeros(0, DTYPE)
        for cpu in range(cpus):
            self.file(cpu).write_bytes(header(cpu))

    def file(self, cpu: int) -> Path:
        return self.path / f"cpu{cpu}.trace"

    def say(self, cpu: int, *seqs: int, half: bool = False) -> None:
        """Records of one vCPU come to its file; the last one only half of them, perhaps."""
        events = np.zeros(len(seqs), DTYPE)
        events["seq"], events["cpu"], events["kind"] = seqs, cpu, Kind.RET_USER
        data = events.tobytes()
        with self.file(cpu).open("ab") as file:
            file.write(data[: -RECORD_BYTES // 2] if half else data)

    def follower(self, piece: int = 1 << 18) -> Follower:
        return Follower(self.path, patience=PATIENCE, piece=piece, now=lambda: self.time)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path, 2)


def numbers(stretch: Stretch | None) -> list[int]:
    if stretch is None:
        return []
    return sorted(int(seq) for part in stretch.parts.values() for seq in part["seq"])


def test_nothing_is_judged_before_its_time(recording: Recording) -> None:
    with recording.follower() as follower:
        assert follower.stretch() is None
        recording.say(0, 1, 5, 6)
        recording.say(1, 2)
        assert follower.stretch() is None  # 0 is in a buffer
    (recording.path / "cpu2.trace").write_bytes(header(2))
    with recording.follower() as follower:
        recording.say(2, 0, 4, 9)
        recording.say(1, 7, 8)
        assert numbers(follower.stretch()) == [0, 1, 2]  # so is 3
        assert follower.stretch() is None


def test_the_next_event_of_every_vcpu_is_known(recording: Recording) -> None:
    with recording.follower() as follower:
        recording.say(0, 0, 1, 3, 4)
        recording.say(1, 2, 5, 6)
        first = follower.stretch()
        assert numbers(first) == [0, 1, 2, 3]
        assert first is not None
        assert {cpu: ahead["seq"].tolist() for cpu, ahead in first.ahead.items()} == {
            0: [4],
            1: [5],
        }
        assert first.before == {}
        recording.say(0, 7)
        second = follower.stretch()
        assert second is not None
        assert numbers(second) == [4, 5]
        assert second.before == {0: 3, 1: 2}


def test_a_silent_vcpu_holds_nobody_up(recording: Recording) -> None:
    with recording.follower() as follower:
        recording.say(0, 0, 1)
        recording.say(1, 2)
        assert numbers(follower.stretch()) == [0]
        recording.say(1, *range(3, 9))
        assert follower.stretch() is None
        recording.time += PATIENCE / 2
        recording.say(1, 9)
        assert follower.stretch() is None
        recording.time += PATIENCE * 0.7  # vCPU 1 is heard of still, vCPU 0 is not
        stretch = follower.stretch()
        assert numbers(stretch) == list(range(1, 9))
        assert stretch is not None and not len(stretch.ahead[0])


def test_a_missing_number_is_waited_for_whatever_the_time(recording: Recording) -> None:
    with recording.follower() as follower:
        recording.say(0, 0, 1, 3)
        recording.say(1, 4, 5)
        recording.time += 100 * PATIENCE
        assert numbers(follower.stretch()) == [0, 1]
        recording.time += 100 * PATIENCE
        assert follower.stretch() is None
        assert numbers(follower.stretch(ended=True)) == [3, 4, 5]  # it was lost
        assert follower.stretch(ended=True) is None


def test_half_a_record_is_none(recording: Recording) -> None:
    with recording.follower() as follower:
        recording.say(1, 1)
        recording.say(0, 0, 2, half=True)
        assert follower.stretch() is None
        recording.time += 2 * PATIENCE
        assert numbers(follower.stretch()) == [0, 1]
        with recording.file(0).open("ab") as file:
            events = np.zeros(1, DTYPE)
            events["seq"], events["kind"] = 2, Kind.RET_USER
            file.write(events.tobytes()[-RECORD_BYTES // 2 :])
        assert numbers(follower.stretch(ended=True)) == [2]


@pytest.mark.parametrize("piece", [4, 50, 1 << 18])
@pytest.mark.parametrize("seed", range(4))
def test_everything_comes_once_and_in_order(tmp_path: Path, seed: int, piece: int) -> None:
    """Buffers that are written now and then, in any order, into three files."""
    random = np.random.default_rng(seed)
    owners = random.choice(3, size=3000, p=[0.6, 0.39, 0.01])
    recording = Recording(tmp_path, 3)
    waiting: list[list[int]] = [[], [], []]
    found: list[Stretch] = []
    with recording.follower(piece) as follower:
        for seq, cpu in enumerate(owners.tolist()):
            waiting[cpu].append(seq)
            if random.random() < 0.05:
                flushed = int(random.integers(3))
                recording.say(flushed, *waiting[flushed])
                waiting[flushed].clear()
                recording.time += random.random()
                if stretch := follower.stretch():
                    found.append(stretch)
        assert found
        for cpu, seqs in enumerate(waiting):
            recording.say(cpu, *seqs)
            _complete(recording, cpu, len(owners))
        while stretch := follower.stretch(ended=True):
            found.append(stretch)
    assert [seq for stretch in found for seq in numbers(stretch)] == list(range(len(owners)))
    for stretch in found:
        assert sum(map(len, stretch.parts.values())) <= max(piece, 6)
    before: dict[int, int] = {}
    for stretch, after in pairwise(found):
        assert stretch.before == before
        before |= {cpu: int(p["seq"][-1]) for cpu, p in stretch.parts.items() if len(p)}
        for cpu, ahead in stretch.ahead.items():
            if len(ahead) and len(after.parts[cpu]):
                assert ahead["seq"][0] == after.parts[cpu]["seq"][0]


def _complete(recording: Recording, cpu: int, seq: int) -> None:
    mine: Events = np.frombuffer(recording.file(cpu).read_bytes()[4096:], DTYPE)
    with recording.file(cpu).open("ab") as file:
        file.write(trailer(mine, cpu, seq + 10 * cpu).tobytes())
