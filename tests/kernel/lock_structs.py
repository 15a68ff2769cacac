"""The structures that tell a kernel's locks apart, as kernels have declared them; their BTF."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

COUNTED: Final = "struct rw_semaphore { long count, owner; int wait_lock; void *wait_list[2]; };"
RT: Final = (
    "struct rwbase_rt { int readers; struct { int lock; void *waiters[3]; } rtmutex; };"
    "struct rw_semaphore { struct rwbase_rt rwbase; };"
)
SMALL: Final = "struct spinlock { union { struct raw_spinlock { int raw_lock; } rlock; }; };"
DEBUGGED: Final = (
    "struct spinlock { union { struct raw_spinlock { int raw_lock, magic, cpu; void *owner; "
    "char dep_map[48]; } rlock; }; };"
)
VMA_LOCK: Final = "struct vma_lock { struct rw_semaphore lock; };"


def structs(
    *,
    locks: str = COUNTED + SMALL,
    vma: str = "",
    seq: str = "",
    seqcount: str = "unsigned sequence;",
    table: str = "struct spinlock ptl",
) -> str:
    """C source: the declarations ``locks``, and members of VMA, mm_struct and table descriptor."""
    return (
        f"{locks} {VMA_LOCK if 'vma_lock' in vma else ''}"
        f"typedef struct seqcount {{ {seqcount} }} seqcount_t;"
        "typedef struct refcount_struct { int refs; } refcount_t;"
        f"struct vm_area_struct {{ long vm_start; {vma} }} vma;"
        f"struct mm_struct {{ struct rw_semaphore mmap_lock; {seq} }} mm;"
        f"struct ptdesc {{ long flags; {table}; }} ptdesc;"
    )


def btf(place: Path, source: str) -> bytes:
    """The BTF that gcc writes for C source, below the directory ``place``."""
    (place / "a.c").write_text(source)
    subprocess.run(["gcc", "-gbtf", "-c", "a.c"], cwd=place, check=True)
    section = ["--only-section=.BTF", "--set-section-flags", ".BTF=alloc"]
    subprocess.run(["objcopy", "-O", "binary", *section, "a.o", "a.btf"], cwd=place, check=True)
    return (place / "a.btf").read_bytes()
