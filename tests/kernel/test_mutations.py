"""Every mutation finds what it changes in the kernels it is for."""

from __future__ import annotations

import pytest

from shootdown.errors import ShootdownError, UsageError
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations_flush import FLUSHES
from shootdown.run.mutate import MUTATIONS

ONE = {"x86_64": {"leaf-flush"}, "arm64": {"madvise-no-flush", "first-page-only"}}
"""Mutations that an architecture does not have."""
LAZY = {"lazy-skip", "lazy-stays"}


@pytest.mark.parametrize("name", FLUSHES)
def test_flushes_on_debian(learned: KernelFacts, name: str) -> None:
    if name in ONE[learned.arch] or (name in LAZY and learned.arch == "arm64"):
        with pytest.raises(UsageError, match=f"not for {learned.arch}"):
            MUTATIONS[name](learned)
        return
    patches = MUTATIONS[name](learned)
    assert patches
    assert len({patch.va for patch in patches}) == len(patches)
    for patch in patches:
        assert learned.image.read(patch.va, len(patch.old)) == patch.old, patch.why
        assert len(patch.new) == len(patch.old), patch.why
        assert patch.new != patch.old, patch.why


def test_what_is_not_there_is_refused(learned: KernelFacts) -> None:
    from shootdown.kernel.mutations_text import without_calls  # noqa: PLC0415

    with pytest.raises(ShootdownError, match="has no call of tlb_finish_mmu in do_nothing"):
        without_calls(learned, "tlb_finish_mmu", "do_nothing")


def test_calls_are_those_of_the_named_functions(learned: KernelFacts) -> None:
    for patch in MUTATIONS["fork-no-flush"](learned):
        assert learned.symbols.at(patch.va)[0].split(".")[0] in (
            *("dup_mmap", "dup_mm", "copy_mm", "copy_process"),
        )
