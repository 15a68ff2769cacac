"""Whether types and symbols are those of the image: by its data that are known beforehand.

``init_task``, ``init_mm`` and ``init_signals`` are in the image as the compiler laid them out
(init/init_task.c, mm/init-mm.c). Where the types of another kernel say that a member is, something
else is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shootdown.errors import InfraError
from shootdown.kernel.btf import Member
from shootdown.kernel.image import KernelImage
from shootdown.kernel.symbols import SymbolTable

_COMM: Final = "swapper"
_TABLE_BYTES: Final = 4096
MEMBERS: Final = (
    "task_struct.comm",
    "task_struct.tasks",
    "task_struct.signal",
    "task_struct.thread_node",
    "task_struct.active_mm",
    "signal_struct.thread_head",
    "mm_struct.pgd",
    "mm_struct.mmlist",
    "mm_struct.mm_users",
    "mm_struct.mm_count",
)
"""What is looked at."""


@dataclass(frozen=True)
class _Sample:
    """The image's data, by structure and member."""

    image: KernelImage
    symbols: SymbolTable
    members: Mapping[str, Member]

    def at(self, symbol: str, path: str) -> int:
        """VA of a member of the structure that the symbol names. KeyError when unknown."""
        return self.symbols[symbol] + self.members[path].offset


def check(
    members: Mapping[str, Member], symbols: SymbolTable, image: KernelImage, source: str
) -> None:
    """Raise InfraError when the members of ``MEMBERS`` are not where the image has them.

    ``source`` is where the types are from. What the kernel does not have, or the file does not
    hold (``.bss``), is not looked at.
    """
    sample = _Sample(image, symbols, members)
    for path, agrees in _CHECKS:
        try:
            right = agrees(sample)
        except (KeyError, InfraError):
            continue
        if not right:
            raise InfraError(
                f"The types of {image.path} ({source}) are of another kernel: {path} is not at "
                f"offset {members[path].offset} there; rebuild it, with its own types."
            )


def _comm(sample: _Sample) -> bool:
    va = sample.at("init_task", "task_struct.comm")
    return sample.image.read(va, len(_COMM) + 1) == _COMM.encode() + b"\0"


def _empty_list(symbol: str, path: str) -> Callable[[_Sample], bool]:
    """Whether the list head points to itself."""

    def agrees(sample: _Sample) -> bool:
        va = sample.at(symbol, path)
        return sample.image.word(va) == va == sample.image.word(va + 8)

    return agrees


def _points(symbol: str, path: str, target: str) -> Callable[[_Sample], bool]:
    def agrees(sample: _Sample) -> bool:
        return sample.image.word(sample.at(symbol, path)) == sample.symbols[target]

    return agrees


def _counts(path: str, number: int) -> Callable[[_Sample], bool]:
    def agrees(sample: _Sample) -> bool:
        return sample.image.read(sample.at("init_mm", path), 4) == number.to_bytes(4, "little")

    return agrees


def _threads(sample: _Sample) -> bool:
    """The one thread's node and the head of the list in ``init_signals`` point to each other."""
    node = sample.at("init_task", "task_struct.thread_node")
    signal = sample.image.word(sample.at("init_task", "task_struct.signal"))
    head = signal + sample.members["signal_struct.thread_head"].offset
    return sample.image.word(node) == head


def _root(sample: _Sample) -> bool:
    """Whether it is a table of the image's: ``swapper_pg_dir``, or arm64's until it has booted."""
    root = sample.image.word(sample.at("init_mm", "mm_struct.pgd"))
    inside = sample.symbols["_text"] <= root < sample.symbols["_end"]
    return inside and root % _TABLE_BYTES == 0


_CHECKS: Final = (
    ("task_struct.comm", _comm),
    ("task_struct.tasks", _empty_list("init_task", "task_struct.tasks")),
    ("task_struct.active_mm", _points("init_task", "task_struct.active_mm", "init_mm")),
    ("signal_struct.thread_head", _threads),
    ("mm_struct.pgd", _root),
    ("mm_struct.mmlist", _empty_list("init_mm", "mm_struct.mmlist")),
    ("mm_struct.mm_users", _counts("mm_struct.mm_users", 2)),
    ("mm_struct.mm_count", _counts("mm_struct.mm_count", 1)),
)
