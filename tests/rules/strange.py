"""Traces that no kernel writes, in which what filters of the fast checker rely on would not hold.

Each has the lines before ``flush-deadline`` is armed, and then something that is taken away.
"""

from __future__ import annotations

from typing import Final

_MM: Final = "0xffff888000aa0000"
_VMA: Final = "d=0xffff888000660000"
_HEARD: Final = """\
0 ENTER id=tlb_finish_mmu a=0x9f00
0 EXIT id=tlb_finish_mmu a=0x9f00
"""
_TAKEN, _GIVEN = (
    f"WATCH id=MMAP_LOCK a=0xaa00a8 b={b} c={c} d={_MM}\n" for b, c in ((0, 1), (1, 0))
)
_CLEAR: Final = "PTE_WRITE a=0x13000 b=0x50067 c=0 d=0x400000 level=1\n"
_MUNMAP: Final = f"""\
0 PROBE id=SYSCALL a=11 b=0x400000 c=0x1000 flags=MORE
0 PROBE_MORE id=SYSCALL
0 {_TAKEN}\
0 ENTER id=do_vmi_align_munmap a=0x9e00
0 ENTER id=vms_complete_munmap_vmas a=0x9df0
0 {_CLEAR}\
0 ENTER id=free_pgtables a=0x9de0
0 PTE_WRITE a=0x12010 b=0x13067 d=0x400000 level=2
0 EXIT id=free_pgtables a=0x9de0
0 EXIT id=vms_complete_munmap_vmas a=0x9df0
0 EXIT id=do_vmi_align_munmap a=0x9e00
0 {_GIVEN}\
0 RET_USER
"""
_MMAP: Final = f"""\
0 PROBE id=SYSCALL a=9 b=0x400000 c=0x1000 d=3 flags=MORE
0 PROBE_MORE id=SYSCALL a=0x32
0 {_TAKEN}\
0 ENTER id=do_mmap a=0x9e00
0 ENTER id=__mmap_region a=0x9df0
0 {_CLEAR}\
0 EXIT id=__mmap_region a=0x9df0
0 EXIT id=do_mmap a=0x9e00
"""
_FLUSHED: Final = f"""\
0 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL
1 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL
0 {_GIVEN}\
0 RET_USER
"""
_COLLAPSE: Final = f"""\
0 PROBE id=SYSCALL a=28 b=0x400000 c=0x200000 d=25 flags=MORE
0 PROBE_MORE id=SYSCALL
0 ENTER id=pmdp_collapse_flush a=0x9e00
0 {_CLEAR}\
"""

TRACES: Final = {
    "a first value comes twice, with changes between": _HEARD
    + f"""\
0 RET_USER
0 WATCH_INIT id=VMA_START a=0x660000 c=0x400000 {_VMA}
0 WATCH id=VMA_END a=0x660008 c=0x401000 {_VMA}
0 WATCH id=VMA_MM a=0x660010 c={_MM} {_VMA}
0 WATCH id=VMA_FLAGS a=0x660020 c=0x473 {_VMA}
0 WATCH_INIT id=VMA_START a=0x660000 c=0x400000 {_VMA}
"""
    + _MUNMAP,
    "a first value comes behind the change that brings the VMA into the tree": _HEARD
    + f"""\
0 RET_USER
0 WATCH_INIT id=VMA_START a=0x660000 c=0x500000 {_VMA}
0 WATCH_INIT id=VMA_END a=0x660008 c=0x501000 {_VMA}
0 WATCH_INIT id=VMA_MM a=0x660010 c={_MM} {_VMA}
0 WATCH id=VMA_LOCK_SEQ a=0x660030 c=1 {_VMA}
0 WATCH_INIT id=VMA_LOCK_SEQ a=0x660030 c=1 {_VMA}
"""
    + _MMAP
    + f"0 WATCH id=VMA_END a=0x660008 c=0x502000 {_VMA}\n"
    + _FLUSHED,
    "two tasks call a function with one stack pointer": _HEARD
    + "1 RET_USER\n"
    + _COLLAPSE
    + """\
1 ENTER id=pmdp_collapse_flush a=0x9e00
1 EXIT id=pmdp_collapse_flush a=0x9e00
1 RET_USER
""",
    "a stack serves another task, whose function never ended": _HEARD
    + _COLLAPSE
    + f"""\
0 PROBE id=TASK_SWITCH a=0x300 b=102 c=100 d={_MM} flags=MORE
0 PROBE_MORE id=TASK_SWITCH a=0x72 c=0x8000
0 RET_USER
0 ENTER id=pmdp_collapse_flush a=0x9e00
0 EXIT id=pmdp_collapse_flush a=0x9e00
0 RET_USER
""",
    "one task is on two vCPUs": _HEARD
    + f"""\
1 PROBE id=TASK_SWITCH a=0x100 b=100 c=100 d={_MM} flags=MORE
1 PROBE_MORE id=TASK_SWITCH a=0x72
1 RET_USER
"""
    + _MMAP
    + f"1 {_GIVEN}0 RET_USER\n",
    "a gather is finished by a call that never began": _HEARD
    + f"""\
0 ENTER id=tlb_finish_mmu a=0x9e00 b=0x7000
1 RET_USER
1 ENTER id=tlb_gather_mmu a=0x9e00 b=0x7100 c={_MM}
1 EXIT id=tlb_gather_mmu a=0x9e00
1 ENTER id=tlb_finish_mmu a=0x9e00 b=0x7100
1 EXIT id=tlb_finish_mmu a=0x9e00
1 PROBE id=SYSCALL a=10 b=0x400000 c=0x1000 d=1 flags=MORE
1 PROBE_MORE id=SYSCALL
1 ENTER id=tlb_gather_mmu a=0x9e00 b=0x7000 c={_MM}
1 EXIT id=tlb_gather_mmu a=0x9e00
1 ENTER id=do_mprotect_pkey a=0x9f00
1 {_CLEAR}\
1 EXIT id=do_mprotect_pkey a=0x9f00
1 EXIT id=tlb_finish_mmu a=0x9e00
1 RET_USER
""",
}
"""By what is strange about it; x86-64."""
