"""One vCPU's trace file, mapped and checked."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shootdown.errors import InfraError
from shootdown.trace.schema import DTYPE, HEADER_BYTES, MAGIC, RECORD_BYTES, VERSION, Kind
from shootdown.trace.types import Events
from shootdown.trace.writer import HEADER

_EVENT_KINDS: Final = frozenset(map(int, Kind)) - {Kind.COUNT, Kind.TRAILER}

_PIECE: Final = 1 << 18
"""Records looked at before their memory is given back."""


@dataclass(frozen=True)
class Trailer:
    """What a writer says of itself when it ends in peace."""

    lost: int = 0
    """Events that could not be written."""
    tables: int = 0
    """Tables compared with memory when they were unlinked."""
    slots: int = 0
    """Slots compared with memory when their tables were unlinked."""
    counts: dict[Kind, int] = field(default_factory=dict)
    """Events of each kind, those lost included."""

    def __add__(self, other: Trailer) -> Trailer:
        kinds = sorted(self.counts.keys() | other.counts.keys())
        return Trailer(
            self.lost + other.lost,
            self.tables + other.tables,
            self.slots + other.slots,
            {kind: self.counts.get(kind, 0) + other.counts.get(kind, 0) for kind in kinds},
        )


@dataclass(frozen=True)
class CpuFile:
    """The records of one vCPU, mapped without a copy, and what its trailer says."""

    path: Path
    cpu: int
    start_realtime_ns: int
    slide: int
    """Bytes that KASLR added to the VAs of the kernel's image."""
    records: Events
    """Every whole record, the trailer's included."""
    events: Events
    """The records before the trailer's."""
    counts: dict[Kind, int]
    """Number of events of each kind that occurs in ``events``."""
    trailer: Trailer | None
    """None when the writer was killed."""
    pages: mmap.mmap | None = None
    """The file in memory; None when there are no records."""


def open_file(path: Path, cpu: int) -> CpuFile:
    """Map and check the trace file of vCPU ``cpu``.

    A partial last record is left out. Every record is looked at once: ``seq`` must
    rise, ``cpu`` must be right, and the trailer must agree with the records. Raises
    InfraError, naming the file, when anything is not as the writer leaves it.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start, slide = _check_header(path, cpu, file.read(HEADER.size), size)
        records, pages = _map(path, (size - HEADER_BYTES) // RECORD_BYTES)
    except OSError as error:
        raise InfraError(f"{path} cannot be read: {error.strerror}") from error
    kinds = _look_through(path, cpu, records, pages)
    events, counts, trailer = _split(path, records, kinds)
    return CpuFile(path, cpu, start, slide, records, events, counts, trailer, pages)


def _look_through(
    path: Path, cpu: int, records: Events, pages: mmap.mmap | None
) -> npt.NDArray[np.intp]:
    """How many records there are of each kind; raises InfraError when one cannot be right."""
    kinds = np.zeros(1 << 16, np.intp)
    for first in range(0, len(records), _PIECE):
        piece = records[max(first - 1, 0) : first + _PIECE]
        if np.any(piece["seq"][1:] <= piece["seq"][:-1]):
            raise InfraError(f"{path} is damaged: its sequence numbers do not rise; record again")
        if np.any(piece["cpu"] != cpu):
            raise InfraError(f"{path} is damaged: it holds records of other vCPUs; record again")
        kinds += np.bincount(records["kind"][first : first + _PIECE], minlength=len(kinds))
        give_back(pages)
    return kinds


def give_back(pages: mmap.mmap | None) -> None:
    """Give the memory of a mapped file back; it is read again when it is needed."""
    if pages is not None:
        pages.madvise(mmap.MADV_DONTNEED)


def _check_header(path: Path, cpu: int, data: bytes, size: int) -> tuple[int, int]:
    try:
        magic, version, header_bytes, record_bytes, owner, start, slide = HEADER.unpack(data)
    except struct.error:
        magic = b""
    if magic != MAGIC:
        raise InfraError(f"{path} is not a trace of shootdown: record again")
    if version != VERSION:
        raise InfraError(
            f"{path} has trace version {version} and this shootdown reads {VERSION}: "
            "read it with the version that wrote it, or record again"
        )
    if (header_bytes, record_bytes) != (HEADER_BYTES, RECORD_BYTES) or size < HEADER_BYTES:
        raise InfraError(f"{path} has a damaged header: record again")
    if owner != cpu:
        raise InfraError(f"{path} says it is of vCPU {owner}: was it renamed?")
    return int(start), int(slide)


def _map(path: Path, count: int) -> tuple[Events, mmap.mmap | None]:
    if count == 0:  # an empty mapping is an error to mmap
        return np.empty(0, DTYPE), None
    with path.open("rb") as file:
        size = HEADER_BYTES + count * RECORD_BYTES
        pages = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    return np.frombuffer(pages, DTYPE, count, HEADER_BYTES), pages


def _split(
    path: Path, records: Events, kinds: npt.NDArray[np.intp]
) -> tuple[Events, dict[Kind, int], Trailer | None]:
    ended = len(records) > 0 and records[-1]["kind"] == Kind.TRAILER
    end = first = len(records) - ended
    while first and records[first - 1]["kind"] == Kind.COUNT:
        first -= 1
    events, claims = records[:first], records[first:end]
    kinds = kinds - np.bincount(records["kind"][first:], minlength=len(kinds))
    present = np.flatnonzero(kinds)
    counts = _counts(path, present, kinds[present])
    if not ended:
        return events, counts, None
    claimed = _counts(path, claims["id"], claims["a"])
    last = records[-1]
    lost = int(last["b"])
    if int(last["a"]) != len(records) - 1 or (not lost and claimed != counts):
        raise InfraError(f"{path} is damaged: its trailer counts other events than it holds")
    return events, counts, Trailer(lost, int(last["c"]), int(last["d"]), claimed)


def _counts(path: Path, kinds: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> dict[Kind, int]:
    for kind in kinds.tolist():
        if kind not in _EVENT_KINDS:
            raise InfraError(f"{path} is damaged: no event is of kind {kind}; record again")
    return {Kind(k): n for k, n in zip(kinds.tolist(), numbers.tolist(), strict=True)}
