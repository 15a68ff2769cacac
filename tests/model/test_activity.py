"""What a CPU's task is doing, and the addresses that it touches (system calls' manual pages)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shootdown.arch import get
from shootdown.model.activity import EVERYTHING, KINDS, Activities, Activity
from shootdown.trace.text import parse

NUMBERS = get("x86_64").kernel.syscalls
SWITCH = "{cpu} PROBE id=TASK_SWITCH a={task:#x} b={pid} c=1\n{cpu} PROBE_MORE id=TASK_SWITCH a=1\n"
ALICE = SWITCH.format(cpu=0, task=0x100, pid=7)


def call(name: str, *arguments: int, cpu: int = 0) -> str:
    a, b, c, d, e, f = (*arguments, *[0] * (6 - len(arguments)))
    return (
        f"{cpu} PROBE id=SYSCALL a={NUMBERS[name]} b={a:#x} c={b:#x} d={c:#x} flags=MORE\n"
        f"{cpu} PROBE_MORE id=SYSCALL a={d:#x} b={e:#x} c={f:#x}\n"
    )


def follow(text: str, doing: Activities | None = None) -> Activities:
    doing = doing or Activities(NUMBERS)
    events = parse(text)
    assert set(events["kind"]) <= set(KINDS)
    for kind, number, cpu, *words in events[["kind", "id", "cpu", *"abcd"]].tolist():
        doing.event(kind, number, cpu, (words[0], words[1], words[2], words[3]))
    return doing


def ranges(text: str) -> Sequence[tuple[int, int]]:
    return follow(text).of(0).ranges


def test_nothing_is_known_before_the_first_switch() -> None:
    doing = follow("").of(0)
    assert (doing.task, doing.pid, doing.name, doing.ranges) == (0, 0, "", [])


def test_a_task_in_user_mode_does_nothing() -> None:
    doing = follow(ALICE).of(0)
    assert (doing.task, doing.pid, doing.name, doing.ranges) == (0x100, 7, "", [])
    assert follow(ALICE).of(1).task == 0


def test_a_system_call_until_it_returns() -> None:
    doing = follow(ALICE + call("munmap", 0x400000, 0x1000))
    munmap = doing.of(0)
    assert (munmap.task, munmap.pid, munmap.name) == (0x100, 7, "munmap")
    assert munmap.ranges == [(0x400000, 0x401000)]
    follow("1 RET_USER", doing)
    assert doing.of(0) is munmap
    follow("0 RET_USER", doing)
    assert doing.of(0).name == ""


def test_a_call_that_nobody_named() -> None:
    assert follow(ALICE + "0 PROBE id=SYSCALL a=999").of(0).name == "syscall 999"


def test_what_a_call_reaches_is_not_known_before_its_last_arguments() -> None:
    (first, _) = call("munmap", 0x400000, 0x1000).splitlines()
    assert ranges(ALICE + first) == []


def test_arguments_whose_call_was_not_seen() -> None:
    (_, more) = call("munmap", 0x400000, 0x1000).splitlines()
    assert follow(ALICE + more).of(0).name == ""


@pytest.mark.parametrize(
    "name",
    [
        *("munmap", "mprotect", "pkey_mprotect", "madvise", "mlock", "mlock2", "munlock"),
        *("msync", "mbind", "mincore", "remap_file_pages"),
    ],
)
def test_calls_about_a_range(name: str) -> None:
    """Whole pages: the kernel rounds the length up, and some of them the start down."""
    known = {**NUMBERS, name: 1000}
    doing = Activities(known)
    follow(ALICE, doing)
    follow("0 PROBE id=SYSCALL a=1000 b=0x400123 c=0x1001\n0 PROBE_MORE id=SYSCALL", doing)
    assert doing.of(0).ranges == [(0x400000, 0x402000)]


@pytest.mark.parametrize(
    "name", ["fork", "vfork", "clone", "clone3", "execve", "execveat", "exit", "exit_group"]
)
def test_calls_about_everything(name: str) -> None:
    doing = Activities({name: 1000})
    follow(ALICE + "0 PROBE id=SYSCALL a=1000\n0 PROBE_MORE id=SYSCALL", doing)
    assert doing.of(0).ranges == [EVERYTHING]
    assert EVERYTHING == (0, 1 << 56)


def test_calls_about_no_address() -> None:
    assert ranges(ALICE + call("getpid")) == []


def test_the_top_byte_of_an_address_is_a_tag() -> None:
    text = call("munmap", 0x5A00FFFF00400000, 0x1000)
    assert ranges(ALICE + text) == [(0xFFFF00400000, 0xFFFF00401000)]


def test_mmap_says_where_it_went_when_it_returns() -> None:
    doing = follow(ALICE + call("mmap", 0, 0x1800, 3, 0x22))
    mmap = doing.of(0)
    assert mmap.ranges == []
    follow("0 RET_USER a=0x700000", doing)
    assert mmap.ranges == [(0x700000, 0x702000)]


@pytest.mark.parametrize("result", [-12, 1 << 56])
def test_mmap_that_fails_touches_nothing(result: int) -> None:
    doing = follow(ALICE + call("mmap", 0, 0x1000, 3, 0x22))
    mmap = doing.of(0)
    follow(f"0 RET_USER a={result}", doing)
    assert mmap.ranges == []


def test_mmap_may_end_where_user_addresses_do() -> None:
    doing = follow(ALICE + call("mmap", 0, 0x1000, 3, 0x22))
    mmap = doing.of(0)
    follow(f"0 RET_USER a={(1 << 56) - 1:#x}", doing)
    assert mmap.ranges == [((1 << 56) - 0x1000, 1 << 56)]


def test_mmap_fixed_says_where_it_goes() -> None:
    doing = follow(ALICE + call("mmap", 0x400000, 0x1000, 3, 0x32))
    mmap = doing.of(0)
    assert mmap.ranges == [(0x400000, 0x401000)]
    follow("0 RET_USER a=0x500000", doing)
    assert mmap.ranges == [(0x400000, 0x401000)]


def test_only_mmap_is_about_its_result() -> None:
    doing = follow(ALICE + call("brk", 0, 0x1000))
    brk = doing.of(0)
    follow("0 RET_USER a=0x700000", doing)
    assert brk.ranges == []


def test_mremap_is_about_the_old_range_and_what_it_grows_to() -> None:
    grows = call("mremap", 0x400000, 0x1000, 0x3000, 1, 0x900000)
    assert ranges(ALICE + grows) == [(0x400000, 0x403000)]
    shrinks = call("mremap", 0x400000, 0x3000, 0x1000)
    assert ranges(ALICE + shrinks) == [(0x400000, 0x403000)]


def test_mremap_to_an_address() -> None:
    moves = call("mremap", 0x400000, 0x1000, 0x2000, 3, 0x900000)
    assert ranges(ALICE + moves) == [(0x400000, 0x402000), (0x900000, 0x902000)]


def test_a_fault_is_about_its_page() -> None:
    doing = follow(ALICE + "0 PROBE id=FAULT a=0x3400000000400123 b=6")
    fault = doing.of(0)
    assert (fault.task, fault.pid, fault.name) == (0x100, 7, "fault")
    assert fault.ranges == [(0x400000, 0x401000)]
    follow("0 RET_USER", doing)
    assert doing.of(0).name == ""


def test_a_fault_at_a_kernel_address_is_none_of_the_tasks() -> None:
    assert follow(ALICE + "0 PROBE id=FAULT a=0x8000000000400123").of(0).name == ""


def test_a_fault_in_a_system_call_is_the_calls() -> None:
    text = call("munmap", 0x500000, 0x1000) + "0 PROBE id=FAULT a=0x400123\n"
    assert follow(ALICE + text).of(0).name == "munmap"
    # Nor is it left over when the call has returned.
    assert follow(ALICE + text + "0 RET_USER").of(0).name == ""


def test_a_system_call_after_a_fault_is_no_fault() -> None:
    # The signal that a fault ended in was handled: no return to user mode was seen between.
    text = "0 PROBE id=FAULT a=0x400123\n" + call("munmap", 0x500000, 0x1000)
    assert follow(ALICE + text).of(0).name == "munmap"


def test_what_a_task_does_goes_with_it() -> None:
    doing = follow(ALICE + call("munmap", 0x400000, 0x1000))
    follow(SWITCH.format(cpu=0, task=0x200, pid=8), doing)
    follow(SWITCH.format(cpu=1, task=0x100, pid=7), doing)
    assert (doing.of(0).task, doing.of(0).name) == (0x200, "")
    assert (doing.of(1).task, doing.of(1).name) == (0x100, "munmap")
    follow("0 RET_USER", doing)
    assert doing.of(1).name == "munmap"
    follow("1 RET_USER", doing)
    assert doing.of(1).name == ""


def of(*touched: tuple[int, int]) -> Activity:
    return Activity(1, 1, "x", list(touched))


def test_overlap() -> None:
    assert of((1, 3)).overlaps(of((2, 4))) is True
    assert of((2, 4)).overlaps(of((1, 3))) is True
    assert of((1, 9)).overlaps(of((4, 5))) is True
    assert of((1, 2)).overlaps(of((2, 3))) is False
    assert of((2, 3)).overlaps(of((1, 2))) is False
    assert of((1, 2), (8, 9)).overlaps(of((3, 4), (8, 9))) is True


def test_overlap_of_what_is_not_known() -> None:
    assert of().overlaps(of((1, 2))) is None
    assert of((1, 2)).overlaps(of()) is None
