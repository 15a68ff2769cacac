import re

import pytest

from shootdown.errors import InfraError
from shootdown.kernel import scan
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.mutations_places import PLACES, without_flush
from tests.kernel.test_scan import without

FLUSHES = {"x86_64": re.compile("call"), "arm64": re.compile("bl|tlbi")}


@pytest.mark.parametrize("name", PLACES)
def test_only_flushes_become_nops(learned: KernelFacts, name: str) -> None:
    patches = PLACES[name](learned)
    assert patches
    for patch in patches:
        assert learned.image.read(patch.va, len(patch.old)) == patch.old
        (old,) = scan.decode(learned.arch, patch.old, patch.va)
        (new,) = scan.decode(learned.arch, patch.new, patch.va)
        assert FLUSHES[learned.arch].fullmatch(old.mnemonic)
        assert new.mnemonic == "nop"


def test_places_are_apart(learned: KernelFacts) -> None:
    vas = [patch.va for name in PLACES for patch in PLACES[name](learned)]
    assert len(vas) == len(set(vas))


def test_function_that_flushes_nothing(learned: KernelFacts) -> None:
    with pytest.raises(InfraError, match="Nothing that flushes was found in rest_init"):
        without_flush("rest_init", learned)


def test_kernel_without_the_function(learned: KernelFacts) -> None:
    with pytest.raises(InfraError, match="ptep_clear_flush"):
        PLACES["cow-no-flush"](without(learned, "ptep_clear_flush"))
