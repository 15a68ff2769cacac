"""A trace of any length, made by repeating one round of what a busy x86-64 guest does.

Two CPUs run threads of one process: the first maps pages, takes them away again with munmap and
flushes; the other one touches them, faults, and makes system calls. Kernel functions come with
their entries and exits, and mmap_lock is taken and released, in about the shares that recordings of
the workload ``churn`` have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from shootdown.trace.text import parse
from shootdown.trace.types import Events
from shootdown.trace.writer import header

_START: Final = """\
0 ARMED a=0xffff888000000000 c=0x1000 d=4 level=4
0 WATCH_INIT id=MM_PGD a=0xaa0078 c=0xffff888000010000 d=0xffff888000aa0000
0 WATCH_INIT id=MMAP_LOCK a=0xaa0080 d=0xffff888000aa0000
0 ROOT_LEARN b=0x10000 level=4
0 TABLE_SLOT a=0x10000 c=0x11067 level=4
0 TABLE_LINK a=0x10000 b=0x11000 d=0x10000 level=3
0 TABLE_SLOT a=0x11000 c=0x12067 level=3
0 TABLE_LINK a=0x11000 b=0x12000 d=0x10000 level=2
0 TABLE_SLOT a=0x12010 c=0x13067 d=0x400000 level=2
0 TABLE_LINK a=0x12010 b=0x13000 c=0x400000 d=0x10000 level=1
0 ROOT_LOAD id=CR3 a=0x10000 b=0x10000
1 ROOT_LOAD id=CR3 a=0x10000 b=0x10000
0 PROBE id=TASK_SWITCH a=0x100 b=100 c=100 d=0xffff888000aa0000 flags=MORE
0 PROBE_MORE id=TASK_SWITCH a=0x72657070616d c=0xffffc90000000000
1 PROBE id=TASK_SWITCH a=0x200 b=101 c=100 d=0xffff888000aa0000 flags=MORE
1 PROBE_MORE id=TASK_SWITCH a=0x726576726573626f c=0xffffc90000010000
"""
_PAGES: Final = 8
_AT_ONCE: Final = 1000
"""Rounds in memory."""


def _fault(cpu: int, page: int) -> str:
    """A page is mapped on demand."""
    sp = 0xFFFFC90000003F00 + (cpu << 16)
    lock = "WATCH id=MMAP_LOCK a=0xaa0080 d=0xffff888000aa0000"
    inner = [f"{cpu} ENTER id={n} a={sp - 64 * n:#x}" for n in range(1, 5)]
    outer = [f"{cpu} EXIT id={n} a={sp - 64 * n:#x}" for n in range(4, 0, -1)]
    va, frame = 0x400000 + (page << 12), 0x50000 + (page << 12)
    return "\n".join(
        [
            f"{cpu} PROBE id=FAULT a={va:#x} b=6",
            f"{cpu} {lock} b=0 c=0x100 pc=0x1000",
            *inner,
            f"{cpu} PTE_WRITE a={0x13000 + 8 * page:#x} c={frame | 0x67:#x} d={va:#x} level=1",
            *outer,
            f"{cpu} {lock} b=0x100 c=0 pc=0x1010",
            f"{cpu} RET_USER",
            f"{cpu} OBS a={va:#x} b={frame:#x} size=8",
            "",
        ]
    )


def _munmap(pages: int) -> str:
    """Everything is taken away, and flushed on both CPUs."""
    sp = 0xFFFFC90000003F00
    lock = "0 WATCH id=MMAP_LOCK a=0xaa0080 d=0xffff888000aa0000"
    lines = ["0 PROBE id=SYSCALL a=11 b=0x400000 c=0x8000 flags=MORE", "0 PROBE_MORE id=SYSCALL"]
    lines += [f"{lock} b=0 c=1 pc=0x1020"]
    lines += [f"0 ENTER id={n} a={sp - 64 * n:#x}" for n in range(5, 8)]
    for page in range(pages):
        va, entry = 0x400000 + (page << 12), 0x50067 + (page << 12)
        lines += [f"0 PTE_WRITE a={0x13000 + 8 * page:#x} b={entry:#x} d={va:#x} level=1"]
    for cpu in (0, 1):
        lines += [f"{cpu} FLUSH id=CR4_WRITE flags=LOCAL"]
    lines += [f"0 EXIT id={n} a={sp - 64 * n:#x}" for n in range(7, 4, -1)]
    lines += [f"{lock} b=1 c=0 pc=0x1030", "0 RET_USER", ""]
    for _ in range(4):
        lines += ["1 PROBE id=SYSCALL a=39 flags=MORE", "1 PROBE_MORE id=SYSCALL", "1 RET_USER"]
    return "\n".join([*lines, ""])


def round_of() -> Events:
    """One round, numbered from 0."""
    faults = "".join(_fault(page % 2, page) for page in range(_PAGES))
    events = parse(faults + _munmap(_PAGES))
    events["seq"] -= 1
    return events


def write(directory: Path, events: int) -> int:
    """Write a trace of at least ``events`` events, and return how many there are.

    The files have no trailers, as when a recording was killed.
    """
    directory.mkdir(parents=True)
    start, one = parse(_START), round_of()
    rounds = -(-max(events - len(start), 1) // len(one))
    for cpu in (0, 1):
        with (directory / f"cpu{cpu}.trace").open("wb") as file:
            file.write(header(cpu))
            file.write(start[start["cpu"] == cpu].tobytes())
            mine = one[one["cpu"] == cpu]
            for first in range(0, rounds, _AT_ONCE):
                numbers = np.arange(first, min(first + _AT_ONCE, rounds), dtype=np.uint64)
                many = np.tile(mine, len(numbers))
                begins = np.uint64(len(start) + 1) + numbers * np.uint64(len(one))
                many["seq"] += np.repeat(begins, len(mine))
                many["icount"] = many["seq"]
                file.write(many.tobytes())
    return len(start) + rounds * len(one)
