"""The director on x86-64."""

from __future__ import annotations

from typing import Final

from shootdown.race.spec import Spec


def _is_call(data: bytes) -> bool:
    """``call rel32`` (e8), or ``call`` through register or memory (ff /2)."""
    if len(data) == 5:
        return data[0] == 0xE8
    return data[0] == 0xFF and data[1] >> 3 & 7 == 2


SPEC: Final = Spec(
    pc="rip",
    stack="rsp",
    link="",
    arguments=("rdi", "rsi", "rdx"),
    kernel_roots=("cr3",),
    syscall="__x64_sys_",
    # arch/x86/include/asm/current.h: a variable until 6.1, a member of pcpu_hot after that, and a
    # variable again since 6.15.
    current=(("current_task", ""), ("pcpu_hot", "pcpu_hot.current_task")),
    saved_stack="task_struct.thread.sp",
    call_sizes=(5, 2, 3, 6, 7),
    is_call=_is_call,
    strip=0,
)
