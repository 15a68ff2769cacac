"""What the groups of VMAs, faults and GUP find in each kernel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.kernel import debian, facts, plan
from shootdown.kernel.btf import Btf
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.groups import GROUPS
from shootdown.kernel.groups.base import Set
from shootdown.kernel.plan_groups import resolve
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch
from tests.kernel import lock_structs
from tests.kernel.lock_structs import structs

RAM = 512 << 20
INLINE = "struct vma_lock vm_lock;"
"""As development kernels had it, between the pointer and the count."""
MINE = ("vmas", "vma_locks", "faults", "gup")


def made(known: KernelFacts, events: str) -> list[list[str]]:
    text = plan.make(known, arch.get(known.arch), ram_size=RAM, events=events)
    return [line.partition("#")[0].split() for line in text.splitlines()]


def test_only_kernels_without_vma_locks_are_refused(learned: KernelFacts) -> None:
    has_locks = learned.has("vm_area_struct.vm_lock_seq")
    assert has_locks == (not learned.release.startswith("6.1."))
    refused = [name for name in MINE if resolve(learned, GROUPS[name]).refused]
    assert refused == ([] if has_locks else ["vma_locks"])
    why = resolve(learned, GROUPS["vma_locks"]).refused
    assert has_locks or "no vm_area_struct.vm_lock and no vm_area_struct.vm_refcnt" in why


def test_a_group_that_is_not_armed_is_not_in_the_plan(learned: KernelFacts) -> None:
    words = {str(int(word.watch)) for name in MINE for word in GROUPS[name].words}
    lines = made(learned, "none")
    assert not [line for line in lines if line[:1] == ["set"] and line[2] in words]
    assert not [line for line in lines if line[:1] == ["probe"] and line[3] in ("enter", "exit")]


def test_a_vma_is_watched_until_its_memory_goes_back(learned: KernelFacts) -> None:
    """Where a callback gives it back, or exit_mmap at once, vm_area_free() is not the end."""
    ends = {
        Function(int(line[2])).name
        for line in made(learned, "vmas")
        if line[:1] == ["probe"] and f"unwatch {Set.VMA:d}" in " ".join(line)
    }
    late = {"__vm_area_free", "vm_area_free_rcu_cb"}
    assert ends == (late if learned.has("__vm_area_free") else {"vm_area_free"})


def test_the_word_behind_a_pointer(learned: KernelFacts) -> None:
    lines = [line for line in made(learned, "vma_locks") if line[:1] == ["set"]]
    locks = [line for line in lines if line[2] == str(int(Watch.VMA_LOCK))]
    if learned.has("vm_area_struct.vm_lock"):
        pointer = learned.member("vm_area_struct.vm_lock").offset
        assert [line[5:] for line in locks] == [["via", f"{pointer:#x}"]]
    else:
        assert locks == []


@pytest.mark.parametrize(
    ("seq", "seqcount"),
    [
        ("int mm_lock_seq;", "unsigned sequence;"),
        ("seqcount_t mm_lock_seq;", "unsigned sequence;"),
        ("seqcount_t mm_lock_seq;", "unsigned sequence; long dep_map[5];"),
    ],
    ids=["integer", "seqcount", "lockdep"],
)
def test_the_sequence_is_four_bytes_in_every_form(
    seq: str, seqcount: str, kernel_of_6_12: KernelFacts, tmp_path: Path
) -> None:
    vma = "unsigned vm_lock_seq; refcount_t vm_refcnt;"
    words = words_of(kernel_of_6_12, tmp_path, structs(vma=vma, seq=seq, seqcount=seqcount))
    # Behind the rw_semaphore of lock_structs.COUNTED.
    assert words[Watch.MM_LOCK_SEQ] == ["set", "1", str(int(Watch.MM_LOCK_SEQ)), "0x28", "4"]


@pytest.mark.parametrize(
    ("lock", "place"),
    [("struct vma_lock *vm_lock;", ["0x0", "8", "via", "0x10"]), (INLINE, ["0x10", "8"])],
)
def test_both_places_of_a_vma_s_semaphore(
    lock: str, place: list[str], kernel_of_6_12: KernelFacts, tmp_path: Path
) -> None:
    vma = f"int vm_lock_seq; {lock}"
    words = words_of(kernel_of_6_12, tmp_path, structs(vma=vma, seq="int mm_lock_seq;"))
    assert words[Watch.VMA_LOCK][3:] == place


@pytest.fixture(scope="module")
def kernel_of_6_12() -> KernelFacts:
    path = debian.resolve("debian:6.12", arch.get("x86_64"), cache_root()).path
    return facts.load(path, cache_root())


def words_of(learned: KernelFacts, place: Path, source: str) -> dict[int, list[str]]:
    """The directives ``set`` for a kernel with the locks of C source, by what is watched."""
    names = [name for name in GROUPS["vma_locks"].members if name != "vm_area_struct.detached"]
    found = Btf(lock_structs.btf(place, source)).look_up(names)[0]
    others = {name: at for name, at in learned.members.items() if name not in names}
    lines = made(replace(learned, members=others | found), "vma_locks")
    return {int(line[2]): line for line in lines if line[:1] == ["set"]}


def test_names_of_bits_are_the_kernels(learned: KernelFacts) -> None:
    assert learned.constants["vm_fault_reason.VM_FAULT_RETRY"] == 0x400
    assert learned.constants["fault_flag.FAULT_FLAG_WRITE"] == 1
    macros = learned.release.startswith("6.1.")
    assert learned.constants.get(".FOLL_PIN") == (None if macros else 1 << 19)
