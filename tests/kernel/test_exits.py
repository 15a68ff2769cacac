"""Where functions begin and end, on real kernels and on text made for the purpose."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from shootdown.kernel import exits, groups, scan
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.image import KernelImage, Segment
from shootdown.kernel.symbols import SymbolTable

VA = 0xFFFF_8000_0000_0000


def arm64(image: KernelImage, words: list[int], symbols: dict[str, int]) -> exits.Places | None:
    """The places of ``f`` in arm64 text of these words."""
    data = struct.pack(f"<{len(words)}I", *words)
    made = replace(image, arch="arm64", segments=(Segment(VA, data),))
    table = SymbolTable(list(symbols), np.array(list(symbols.values()), np.uint64))
    return exits.find(made, table, ["f"]).get("f")


RET, NOP = 0xD65F03C0, 0xD503201F


def test_a_return_and_a_tail_call(image: KernelImage) -> None:
    # f: nop; ret; b g (a tail call); b f+4 (a loop); g: ret
    words = [NOP, RET, 0x14000002, 0x17FFFFFE, RET]
    found = arm64(image, words, {"f": VA, "g": VA + 16, "_etext": VA + 20})
    assert found == exits.Places(VA, (VA + 4,), (VA + 8,))


def test_a_jump_into_the_middle_of_something_is_no_end(image: KernelImage) -> None:
    words = [0x14000003, RET, NOP, NOP]  # b g+4
    found = arm64(image, words, {"f": VA, "g": VA + 8, "_etext": VA + 16})
    assert found == exits.Places(VA, (VA + 4,), ())


def test_what_lies_apart_belongs_to_the_function(image: KernelImage) -> None:
    # f: b f.cold; ret; f.cold: ret
    words = [0x14000002, RET, RET, NOP]
    symbols = {"f": VA, "f.cold": VA + 8, "h": VA + 12, "_etext": VA + 16}
    assert arm64(image, words, symbols) == exits.Places(VA, (VA + 4, VA + 8), ())


def test_a_suffix_of_the_compiler(image: KernelImage) -> None:
    found = arm64(image, [RET, NOP], {"f.isra.0": VA, "g": VA + 4, "_etext": VA + 8})
    assert found == exits.Places(VA, (VA,), ())


def test_two_of_one_name_are_left_out(image: KernelImage) -> None:
    symbols = {"f": VA, "f.constprop.0": VA + 4, "_etext": VA + 8}
    assert arm64(image, [RET, RET], symbols) is None


def test_real_functions(learned: KernelFacts) -> None:
    """Each is at its symbol and ends by a return or a jump."""
    assert {"handle_mm_fault", "unmap_vmas", "tlb_finish_mmu", "copy_process"} <= set(
        learned.functions
    )
    returns = {"x86_64": ("ret", "jmp"), "arm64": ("ret", "retaa")}[learned.arch]
    sections = {section.function.name for section in groups.all_sections()}
    for name, places in learned.functions.items():
        if name in sections:
            continue
        assert learned.symbols.at(places.entry)[1] == 0
        assert places.returns or places.tails or name in NEVER_RETURN, name
        for va in (*places.returns, *places.tails):
            (step,) = scan.disassemble(learned, va, 1)
            assert step.mnemonic in (*returns, "jmp", "b"), (name, step)


NEVER_RETURN: tuple[str, ...] = ()


def test_an_unknown_function_is_left_out(learned: KernelFacts) -> None:
    assert exits.find(learned.image, learned.symbols, ["no_such_function"]) == {}


@pytest.mark.parametrize("name", ["handle_mm_fault"])
def test_text_that_is_not_there(learned: KernelFacts, name: str) -> None:
    empty = replace(learned.image, segments=())
    assert exits.find(empty, learned.symbols, [name]) == {}
