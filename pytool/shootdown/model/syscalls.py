"""System calls that promise something about translations, and what exactly they promise.

When such a call returns with success, nobody may go on using the entries it took away. The promise
is about address ranges of the caller's address space; what it says follows the kernel's code:

* ``munmap``, ``mmap(MAP_FIXED)`` and ``madvise`` (MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_REMOVE,
  MADV_GUARD_INSTALL) visit every entry of their range, under its page-table lock, and leave none
  behind that translates.
* ``mprotect`` promises that nobody has more than the new protection. Without a change of protection
  it returns early (mm/mprotect.c, mprotect_fixup()), so it promises nothing about entries that
  permit no more than it was asked for; but for those to which it gave another protection key.
* ``mremap`` promises for the range that moved away, the range it moved to, and a tail that was cut
  off. Where nothing moved it looks at no entry (mm/mremap.c).
* ``fork`` takes away the right to write, of what the call itself write-protected.
* ``brk`` that shrinks, ``shmdt`` and ``shmat(SHM_REMAP)`` unmap as ``munmap`` and
  ``mmap(MAP_FIXED)`` do (mm/mmap.c, SYSCALL_DEFINE1(brk); ipc/shm.c, ksys_shmdt(), do_shmat()), but
  do not say where the range ends: they promise for what the call itself took away from its
  beginning on.
* ``remap_file_pages`` maps anew with MAP_FIXED (mm/mmap.c), its range cut to whole pages.
* ``process_madvise`` has its ranges in memory, so it promises for what the call itself took away
  from its own address space: only there does it take such advice, if at all (mm/madvise.c,
  process_madvise_behavior_valid(), process_madvise_remote_valid()).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shootdown.arch.base import Arch
from shootdown.model.entries import Call, Superseded

MAP_FIXED: Final = 0x10
SHM_REMAP: Final = 0o40000
CLONE_VM: Final = 0x100
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4
ADVICE: Final = {
    4: "MADV_DONTNEED",
    9: "MADV_REMOVE",
    24: "MADV_DONTNEED_LOCKED",
    102: "MADV_GUARD_INSTALL",
}

_PAGE: Final = 4096
_USER_VA: Final = (1 << 56) - 1  # arm64 ignores the top byte of user addresses
_ARGUMENTS: Final = 6
_WORD: Final = (1 << 64) - 1


@dataclass(slots=True, eq=False)
class Promise:
    """VA ranges (start inclusive, end exclusive), and which entries must be gone from them."""

    operation: str
    ranges: tuple[tuple[int, int], ...]
    broken_by: Callable[[Superseded], bool]
    own: bool = False
    """Only what the call itself superseded counts."""


def operation(call: Call | None) -> str:
    """What reports call it, as ``munmap`` or ``mmap(MAP_FIXED)``; empty when none of ours."""
    if call is None:
        return ""
    found = call.operation
    if found is None:
        name = _OPERATIONS.get(call.name)
        found = call.operation = name(call) if name else ""
    return found


def numbers(arch: Arch) -> frozenset[int]:
    """Numbers of the system calls that may be one of ours."""
    known = arch.kernel.syscalls
    return frozenset(known[name] for name in _OPERATIONS if name in known)


def area(call: Call) -> tuple[int, int]:
    """The VA range (end exclusive) that the first two arguments name; empty for a call that has no
    such arguments.
    """
    if call.name in _UNBOUNDED or operation(call) == "fork":
        return 0, 0
    return _cut(call) if call.name == "remap_file_pages" else _range(call.arg(0), call.arg(1))


def succeeded(call: Call, arch: Arch) -> bool:
    """Whether a call that has returned is one of ours, and did not fail, as far as is told."""
    return bool(operation(call)) and call.told and not _failed(call, arch)


def promise(call: Call, arch: Arch) -> Promise | None:
    """What a call that has returned promises; None when it failed, is none of ours or is not told.

    On its way back a call may be taken to a signal's handler (arch/x86/kernel/signal.c,
    handle_signal(); arch/arm64/kernel/signal.c, setup_return()), and its result be on the stack.
    """
    if not succeeded(call, arch):
        return None
    name = operation(call)
    own = ((_UNBOUNDED[call.name](call), _USER_VA + 1),) if call.name in _UNBOUNDED else ()
    match name:
        case "mremap":
            return Promise(name, _moved(call), _anything)
        case "mprotect":
            return Promise(name, (area(call),), _more_than(call, arch))
        case "fork":
            return Promise(name, ((0, _USER_VA + 1),), _lost_write(arch), own=True)
    return Promise(name, own or (area(call),), _within(own) if own else _anything, own=bool(own))


def _failed(call: Call, arch: Arch) -> bool:
    if call.name == "brk":  # it knows no errors, and returns where the heap ends
        return call.result != call.arg(0)
    return call.result >= arch.kernel.syscall_fail_from


def _advice(call: Call) -> str:
    advice = ADVICE.get(call.arg(3 if call.name == "process_madvise" else 2))
    return f"{call.name}({advice})" if advice else ""


_OPERATIONS: Final[dict[str, Callable[[Call], str]]] = {
    "mmap": lambda call: "mmap(MAP_FIXED)" if call.arg(3) & MAP_FIXED else "",
    "munmap": lambda call: "munmap",
    "mprotect": lambda call: "mprotect",
    "pkey_mprotect": lambda call: "mprotect",
    "mremap": lambda call: "mremap",
    "madvise": _advice,
    "process_madvise": _advice,
    "brk": lambda call: "brk",
    "shmdt": lambda call: "shmdt",
    "shmat": lambda call: "shmat(SHM_REMAP)" if call.arg(2) & SHM_REMAP else "",
    "remap_file_pages": lambda call: "remap_file_pages",
    "fork": lambda call: "fork",
    "clone": lambda call: "" if call.arg(0) & CLONE_VM else "fork",
    # The flags of clone3 are in memory; with CLONE_VM it write-protects nothing.
    "clone3": lambda call: "fork",
}


def _range(start: int, size: int) -> tuple[int, int]:
    start &= _USER_VA
    return start, start + (size + _PAGE - 1 & -_PAGE & _WORD)


# Calls that do not say where what they unmap ends, and what says where it begins.
_UNBOUNDED: Final[dict[str, Callable[[Call], int]]] = {
    "brk": lambda call: _up(call.arg(0)),
    "shmdt": lambda call: call.arg(0) & _USER_VA,
    "shmat": lambda call: call.result,
    "process_madvise": lambda call: 0,
}


def _within(ranges: tuple[tuple[int, int], ...]) -> Callable[[Superseded], bool]:
    return lambda what: any(what.va < end and start < what.end for start, end in ranges)


def _cut(call: Call) -> tuple[int, int]:
    start, size = call.arg(0) & _USER_VA & -_PAGE, call.arg(1) & -_PAGE & _WORD
    return start, start + size


def _up(address: int) -> int:
    return address + _PAGE - 1 & -_PAGE & _WORD


def _moved(call: Call) -> tuple[tuple[int, int], ...]:
    old, old_size, new_size = call.arg(0), call.arg(1), call.arg(2)
    if call.result != old & _USER_VA:
        return _range(old, old_size), _range(call.result, new_size)
    if new_size < old_size:
        return ((_range(old, new_size)[1], _range(old, old_size)[1]),)
    return ()


def _anything(what: Superseded) -> bool:
    return True


def _more_than(call: Call, arch: Arch) -> Callable[[Superseded], bool]:
    protection = call.arg(2)
    # Any access but none at all includes reading: no CPU here maps write-only pages.
    allowed = {"read"} if protection else set()
    allowed |= {"write"} if protection & PROT_WRITE else set()
    allowed |= {"exec"} if protection & PROT_EXEC else set()

    def test(what: Superseded) -> bool:
        if what.is_table:
            return False
        mmu, level = arch.mmu, what.level
        other_key = mmu.leaf(what.new, level) and not mmu.same_attributes(what.old, what.new, level)
        return other_key or not mmu.permits(what.old, level) <= allowed

    return test


def _lost_write(arch: Arch) -> Callable[[Superseded], bool]:
    def test(what: Superseded) -> bool:
        return not what.is_table and arch.mmu.writable(what.old, what.level)

    return test
