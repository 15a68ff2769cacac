"""The forms of locks: of real kernels, and of those that nobody packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown.errors import InfraError
from shootdown.kernel import facts
from shootdown.kernel.btf import Btf
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.lock_forms import (
    MEMBERS,
    Members,
    PtlockForm,
    RwsemForm,
    SeqForm,
    VmaLockForm,
    demand_count,
    mm_lock_seq_form,
    ptlock_form,
    ptlock_member,
    rwsem_form,
    vma_lock_form,
)
from tests.kernel import lock_structs, synthetic
from tests.kernel.lock_structs import COUNTED, DEBUGGED, RT, SMALL, structs

# 6.12 had an integer at first; the stable branch took the seqcount_t along.
STOCK = {
    "6.1": (VmaLockForm.NONE, SeqForm.NONE, "page.ptl"),
    "6.12": (VmaLockForm.VM_LOCK_POINTER, SeqForm.SEQCOUNT, "ptdesc.ptl"),
    "7.2": (VmaLockForm.VM_REFCNT, SeqForm.SEQCOUNT, "ptdesc.ptl"),
}


def test_stock_kernels(learned: KernelFacts) -> None:
    known = learned.members
    series = ".".join(learned.release.split(".")[:2])
    assert (vma_lock_form(known), mm_lock_seq_form(known), ptlock_member(known)) == STOCK[series]
    assert rwsem_form(known) is RwsemForm.COUNT
    assert ptlock_form(known) is PtlockForm.INLINE
    assert not set(MEMBERS) & set(learned.missing)  # forms are alternatives: none is missing


def members(place: Path, source: str) -> Members:
    return Btf(lock_structs.btf(place, source)).look_up(MEMBERS)[0]


@pytest.mark.parametrize(
    ("vma", "form"),
    [
        ("", VmaLockForm.NONE),
        ("int vm_lock_seq; struct vma_lock *vm_lock;", VmaLockForm.VM_LOCK_POINTER),
        ("unsigned vm_lock_seq; struct vma_lock vm_lock;", VmaLockForm.VM_LOCK_INLINE),
        ("unsigned vm_lock_seq; refcount_t vm_refcnt;", VmaLockForm.VM_REFCNT),
        ("unsigned vm_lock_seq; long vm_something_new;", VmaLockForm.UNKNOWN),
    ],
)
def test_vma_lock(tmp_path: Path, vma: str, form: VmaLockForm) -> None:
    assert vma_lock_form(members(tmp_path, structs(vma=vma))) is form


@pytest.mark.parametrize(
    ("seq", "form"),
    [
        ("", SeqForm.NONE),
        ("int mm_lock_seq;", SeqForm.INT),
        ("seqcount_t mm_lock_seq;", SeqForm.SEQCOUNT),
    ],
)
def test_mm_lock_seq(tmp_path: Path, seq: str, form: SeqForm) -> None:
    assert mm_lock_seq_form(members(tmp_path, structs(seq=seq))) is form


@pytest.mark.parametrize(
    ("spinlock", "table", "form"),
    [
        (SMALL, "struct spinlock ptl", PtlockForm.INLINE),
        (DEBUGGED, "struct spinlock *ptl", PtlockForm.POINTER),
        (SMALL, "struct spinlock *ptl", PtlockForm.UNKNOWN),
        (DEBUGGED, "struct spinlock ptl", PtlockForm.UNKNOWN),
        (SMALL, "long nothing", PtlockForm.UNKNOWN),
    ],
)
def test_page_table_lock(tmp_path: Path, spinlock: str, table: str, form: PtlockForm) -> None:
    source = structs(locks=COUNTED + spinlock, table=table)
    assert ptlock_form(members(tmp_path, source)) is form


def test_rw_semaphores_that_are_refused(tmp_path: Path) -> None:
    odd = "struct rw_semaphore { long state; };"
    for locks, why in ((RT, "is a PREEMPT_RT kernel"), (odd, "neither a count nor an rwbase")):
        with pytest.raises(InfraError, match=why):
            demand_count(members(tmp_path, structs(locks=locks + SMALL)), "it")
    demand_count(members(tmp_path, structs()), "it")


def test_a_preempt_rt_kernel_is_refused_by_name(tmp_path: Path) -> None:
    kernel = tmp_path / "Image"
    blob = lock_structs.btf(tmp_path, structs(locks=RT + SMALL))
    kernel.write_bytes(synthetic.image() + blob + bytes(-len(blob) % 8))
    with pytest.raises(InfraError) as refused:
        facts.load(kernel, tmp_path / "cache")
    assert str(refused.value).startswith(
        f"{kernel} (Linux 6.99-synthetic) is a PREEMPT_RT kernel: "
    )
    assert str(refused.value).endswith("use one built without CONFIG_PREEMPT_RT.")
