"""The director on arm64."""

from __future__ import annotations

from typing import Final

from shootdown.race.spec import Spec


def _is_call(data: bytes) -> bool:
    """``bl``, or ``blr`` and its authenticating forms."""
    word = int.from_bytes(data, "little")
    return word >> 26 == 0b100101 or word & 0xFEFF_F000 == 0xD63F_0000


SPEC: Final = Spec(
    pc="pc",
    stack="sp",
    link="x30",
    arguments=("x0", "x1", "x2"),
    kernel_roots=("TTBR1_EL1",),
    syscall="__arm64_sys_",
    # arch/arm64/kernel/process.c: entry_task_switch(). SP_EL0 is the user's while he runs.
    current=(("__entry_task", ""),),
    saved_stack="task_struct.thread.cpu_context.sp",
    call_sizes=(4,),
    is_call=_is_call,
    strip=0xFFFF << 48,  # pointer authentication of return addresses, in a kernel VA
)
