"""What the groups of VMAs, faults and GUP find in each kernel."""

from __future__ import annotations

from shootdown import arch
from shootdown.kernel import plan
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.groups import GROUPS
from shootdown.kernel.groups.base import Set
from shootdown.kernel.plan_groups import resolve
from shootdown.trace.functions import Function
from shootdown.trace.schema import Watch

RAM = 512 << 20
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


def test_names_of_bits_are_the_kernels(learned: KernelFacts) -> None:
    assert learned.constants["vm_fault_reason.VM_FAULT_RETRY"] == 0x400
    assert learned.constants["fault_flag.FAULT_FLAG_WRITE"] == 1
    macros = learned.release.startswith("6.1.")
    assert learned.constants.get(".FOLL_PIN") == (None if macros else 1 << 19)
