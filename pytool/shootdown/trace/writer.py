"""Writes a trace directory from an event array: for tests and the golden corpus.

Recorded traces are written by the plugin; this writer follows the same format.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import numpy as np

from shootdown.trace.schema import DTYPE, HEADER_BYTES, MAGIC, RECORD_BYTES, VERSION, Kind
from shootdown.trace.types import Events

HEADER: Final = struct.Struct("<8sIIIIQQ")
"""``struct sd_file_header``; zeros follow up to ``HEADER_BYTES``."""


def header(
    cpu: int, *, version: int = VERSION, start_realtime_ns: int = 0, slide: int = 0
) -> bytes:
    """The header of one vCPU's file, padded to ``HEADER_BYTES``."""
    fields = (MAGIC, version, HEADER_BYTES, RECORD_BYTES, cpu, start_realtime_ns, slide)
    return HEADER.pack(*fields).ljust(HEADER_BYTES, b"\0")


def trailer(events: Events, cpu: int, seq: int, *, lost: int = 0) -> Events:
    """The records that end the file of ``cpu``, which holds ``events``.

    One COUNT for each kind and a TRAILER, numbered from ``seq``. ``lost`` is the number
    of events that could not be written.
    """
    kinds, counts = np.unique(events["kind"], return_counts=True)
    end = np.zeros(len(kinds) + 1, DTYPE)
    end["seq"] = np.arange(seq, seq + len(end), dtype=np.uint64)
    end["cpu"] = cpu
    end["kind"][:-1] = Kind.COUNT
    end["id"][:-1] = kinds
    end["a"][:-1] = counts
    end[-1]["kind"] = Kind.TRAILER
    end[-1]["a"] = len(events) + len(kinds)
    end[-1]["b"] = lost
    return end


def write(events: Events, directory: Path, *, cpus: int | None = None, lost: int = 0) -> Path:
    """Write ``events`` as a complete trace into ``directory``, which is made.

    Each event goes to the file of its ``cpu``; each file gets a trailer, unless the
    events hold trailer records already. ``cpus`` is the number of files, by default as
    many as the events need; ``lost`` is claimed in the trailer of vCPU 0. Returns
    ``directory``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    highest = int(events["cpu"].max()) if len(events) else 0
    ended = bool(np.isin(events["kind"], (Kind.COUNT, Kind.TRAILER)).any())
    seq = int(events["seq"].max()) + 1 if len(events) else 1
    for cpu in range(max(highest + 1, cpus or 0)):
        mine = events[events["cpu"] == cpu]
        mine = mine[np.argsort(mine["seq"], kind="stable")]
        if not ended:
            end = trailer(mine, cpu, seq, lost=lost if cpu == 0 else 0)
            seq += len(end)
            mine = np.concatenate([mine, end])
        (directory / f"cpu{cpu}.trace").write_bytes(header(cpu) + mine.tobytes())
    return directory
