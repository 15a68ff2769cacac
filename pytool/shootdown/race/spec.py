"""What the director must know of an architecture beside the kernel's symbols and types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Spec:
    """Registers by the gdbstub's names, and Linux's conventions."""

    pc: str
    stack: str
    """The stack pointer."""
    link: str
    """Register with the return address at a function's first instruction; empty: on the stack."""
    arguments: tuple[str, ...]
    """The first three arguments of a C function, and of a mark."""
    kernel_roots: tuple[str, ...]
    """Registers with roots whose tables map the kernel."""
    syscall: str
    """What the name of a system call's function begins with."""
    current: tuple[tuple[str, str], ...]
    """Per-CPU variables that name the running task, and the member in them (empty: none): the
    first that the kernel has counts."""
    saved_stack: str
    """Member with the stack pointer of a task that does not run."""
    call_sizes: tuple[int, ...]
    """Bytes that a call instruction may have."""
    is_call: Callable[[bytes], bool]
    """Whether the bytes are a call instruction."""
    strip: int
    """Bits to set in a return address that may be signed."""
