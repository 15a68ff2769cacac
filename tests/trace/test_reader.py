"""Reading traces: whole, cut short, foreign and empty ones."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.errors import InconclusiveError, InfraError, ShootdownError, UsageError
from shootdown.trace.reader import Trace
from shootdown.trace.schema import DTYPE, HEADER_BYTES, RECORD_BYTES, Kind
from shootdown.trace.text import parse
from shootdown.trace.types import Events
from shootdown.trace.writer import header, trailer, write

EVENTS = parse(
    """
    0 ARMED a=0xffff888000000000 b=0 c=0x2000 d=4 level=4
    0 ROOT_LEARN b=0x1000 level=4
    1 PTE_WRITE a=0x1008 c=0x67 level=4
    0 FLUSH id=INVLPG a=0x1000 b=0x2000
    1 FLUSH id=INVLPG a=0x1000 b=0x2000
    1 RET_USER
    0 RET_USER
    """
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(EVENTS, tmp_path / "trace", cpus=3)


def test_a_whole_trace(path: Path) -> None:
    trace = Trace(path)
    assert trace.cpus == 3
    assert len(trace) == 7
    assert [len(events) for events in trace.per_cpu] == [4, 3, 0]
    assert trace.complete
    assert trace.lost == 0
    assert trace.gaps == ()
    assert np.array_equal(trace.events(), EVENTS)
    expected = {
        Kind.ARMED: 1,
        Kind.ROOT_LEARN: 1,
        Kind.PTE_WRITE: 1,
        Kind.FLUSH: 2,
        Kind.RET_USER: 2,
    }
    assert trace.counts() == trace.trailer.counts == expected
    assert trace.select(Kind.FLUSH, Kind.ARMED)["seq"].tolist() == [1, 4, 5]


def test_the_slide_is_in_the_header(path: Path) -> None:
    assert Trace(path).slide == 0
    file = path / "cpu0.trace"
    file.write_bytes(header(0, slide=0x4200000) + file.read_bytes()[HEADER_BYTES:])
    assert Trace(path).slide == 0x4200000


def test_records_are_mapped_and_not_copied(path: Path) -> None:
    events = Trace(path).per_cpu[0]
    assert not events.flags.owndata
    assert not events.flags.writeable


@given(
    cpus=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    skip=st.lists(st.integers(1, 5), min_size=60, max_size=60),
    n=st.integers(1, 20),
)
def test_chunks_are_the_events_in_order(
    tmp_path_factory: pytest.TempPathFactory, cpus: list[int], skip: list[int], n: int
) -> None:
    events = np.zeros(len(cpus), DTYPE)
    events["cpu"] = cpus
    events["kind"] = Kind.RET_USER
    events["seq"] = np.cumsum(skip[: len(cpus)])
    trace = Trace(write(events, tmp_path_factory.mktemp("trace")))
    chunks = list(trace.iter_chunks(n))
    assert np.array_equal(np.concatenate(chunks), events)
    assert all(0 < len(chunk) <= max(n, trace.cpus) for chunk in chunks)


def test_a_gap_is_reported(tmp_path: Path) -> None:
    events = EVENTS.copy()
    events["seq"][3:] += 2
    assert Trace(write(events, tmp_path)).gaps == ((4, 6),)


def test_lost_events_are_reported(tmp_path: Path) -> None:
    trace = Trace(write(EVENTS, tmp_path, lost=5))
    assert trace.lost == 5
    assert trace.complete


def test_what_the_writer_verified_is_reported(tmp_path: Path) -> None:
    mine = EVENTS[EVENTS["cpu"] == 0]
    end = trailer(mine, 0, 100)
    end[-1]["c"], end[-1]["d"] = 7, 3584
    write(np.concatenate([mine, end]), tmp_path)
    assert (Trace(tmp_path).trailer.tables, Trace(tmp_path).trailer.slots) == (7, 3584)


@pytest.mark.parametrize("cut", [1, RECORD_BYTES - 1, RECORD_BYTES, 3 * RECORD_BYTES + 5])
def test_a_killed_writer_leaves_a_valid_trace(path: Path, cut: int) -> None:
    file = path / "cpu0.trace"
    data = file.read_bytes()
    file.write_bytes(data[:-cut])
    trace = Trace(path)
    assert not trace.complete
    assert len(trace) == 7  # the cuts are within the trailer
    assert np.array_equal(trace.events(), EVENTS)


def test_every_cut_is_an_error_of_ours_or_a_valid_prefix(path: Path) -> None:
    file = path / "cpu1.trace"
    data = file.read_bytes()
    whole = Trace(path).per_cpu[1].copy()
    for size in [*range(HEADER_BYTES - 3, len(data)), 0, 1, 8, 31, 32]:
        file.write_bytes(data[:size])
        try:
            mine = Trace(path).per_cpu[1]
        except InfraError as error:
            assert size < HEADER_BYTES
            assert "cpu1.trace" in str(error)
        else:
            assert np.array_equal(mine, whole[: len(mine)])
            assert len(mine) == min(3, (size - HEADER_BYTES) // RECORD_BYTES)


def _records(file: Path) -> Events:
    return np.frombuffer(file.read_bytes()[HEADER_BYTES:], DTYPE).copy()


def _store(file: Path, records: Events) -> None:
    file.write_bytes(file.read_bytes()[:HEADER_BYTES] + records.tobytes())


def _patch(file: Path, offset: int, data: bytes) -> None:
    content = bytearray(file.read_bytes())
    content[offset : offset + len(data)] = data
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("offset", "data", "says"),
    [
        (0, b"ELFELFEL", "is not a trace of shootdown"),
        (8, struct.pack("<I", 99), "trace version 99"),
        (12, struct.pack("<I", 64), "damaged header"),
        (16, struct.pack("<I", 48), "damaged header"),
        (20, struct.pack("<I", 1), "says it is of vCPU 1"),
        (HEADER_BYTES + 60, b"\1", "records of other vCPUs"),
        (HEADER_BYTES + 56, b"\x63", "no event is of kind 99"),
        (HEADER_BYTES, b"\xff", "do not rise"),
    ],
)
def test_foreign_and_damaged_files(path: Path, offset: int, data: bytes, says: str) -> None:
    _patch(path / "cpu0.trace", offset, data)
    with pytest.raises(InfraError) as error:
        Trace(path)
    assert "cpu0.trace" in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_trailer_that_counts_other_events(path: Path) -> None:
    file = path / "cpu0.trace"
    records = _records(file)
    _store(file, np.concatenate([records[:1], records[2:]]))
    with pytest.raises(InfraError, match="trailer counts other events"):
        Trace(path)


def test_a_trailer_that_counts_other_kinds(path: Path) -> None:
    file = path / "cpu0.trace"
    records = _records(file)
    records["kind"][2] = Kind.RET_USER
    _store(file, records)
    with pytest.raises(InfraError, match="trailer counts other events"):
        Trace(path)


def test_a_number_given_twice(path: Path) -> None:
    file = path / "cpu0.trace"
    records = _records(file)
    records["seq"][3] = 5
    _store(file, records)
    with pytest.raises(InfraError, match="occurs twice"):
        _ = Trace(path).gaps


def test_a_missing_file(path: Path) -> None:
    (path / "cpu1.trace").unlink()
    with pytest.raises(InfraError, match=r"cpu1\.trace is missing"):
        Trace(path)


def test_a_file_that_cannot_be_read(path: Path) -> None:
    (path / "cpu1.trace").unlink()
    (path / "cpu1.trace").mkdir()
    with pytest.raises(InfraError, match=r"cpu1\.trace cannot be read"):
        Trace(path)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trace directory"):
        Trace(tmp_path / "absent")


@pytest.mark.parametrize("cpus", [0, 2])
def test_an_empty_trace_says_nothing(tmp_path: Path, cpus: int) -> None:
    for cpu in range(cpus):
        (tmp_path / f"cpu{cpu}.trace").write_bytes(header(cpu))
    with pytest.raises(InconclusiveError, match="recording never began"):
        Trace(tmp_path)


def test_only_trailers_are_an_empty_trace(tmp_path: Path) -> None:
    write(np.empty(0, DTYPE), tmp_path, cpus=2)
    with pytest.raises(InconclusiveError):
        Trace(tmp_path)


@given(data=st.data())
def test_no_flipped_byte_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = write(EVENTS, tmp_path_factory.mktemp("trace"))
    file = path / "cpu0.trace"
    size = file.stat().st_size
    offset = data.draw(st.one_of(st.integers(0, 40), st.integers(HEADER_BYTES, size - 1)))
    _patch(file, offset, bytes([data.draw(st.integers(0, 255))]))
    try:
        trace = Trace(path)
        _ = trace.gaps, trace.counts(), list(trace.iter_chunks(2))
    except ShootdownError:
        pass
