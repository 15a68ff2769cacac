"""The kernel's symbol table: every layout, and real kernels."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shootdown.errors import InfraError
from shootdown.kernel import kallsyms
from shootdown.kernel.image import KernelImage, load
from shootdown.kernel.symbols import SymbolTable
from tests.kernel import synthetic

WHOLE = synthetic.image()


def synthetic_image(tmp_path: Path, data: bytes) -> KernelImage:
    path = tmp_path / "Image"
    path.write_bytes(data)
    return load(path)


@pytest.mark.parametrize("layout", synthetic.LAYOUTS, ids=lambda layout: layout.name)
def test_every_layout_gives_every_symbol(layout: synthetic.Layout, tmp_path: Path) -> None:
    table = kallsyms.read(synthetic_image(tmp_path, synthetic.image(layout)))
    percpu = "percpu" in layout.name
    expected = [(name, va) for _, name, va in synthetic.symbols(percpu)]
    assert list(zip(table.names, table.vas.tolist(), strict=True)) == expected


def test_a_table_that_disagrees_with_the_text_is_refused(tmp_path: Path) -> None:
    data = bytearray(synthetic.image())
    # One function further on: every address is that of another function.
    text = slice(synthetic.TEXT, synthetic.TEXT + 0x4000)
    data[text] = bytes(8) + data[text][:-8]
    with pytest.raises(InfraError, match="disagrees with its text"):
        kallsyms.read(synthetic_image(tmp_path, bytes(data)))


def test_a_moved_banner_is_noticed(tmp_path: Path) -> None:
    data = synthetic.image().replace(b"Linux version", b" Linux version")
    data = data.replace(b"(nobody) #1\n\0\0", b"(nobody) #1\n\0")
    with pytest.raises(InfraError, match="disagrees with its text"):
        kallsyms.read(synthetic_image(tmp_path, data))


def test_no_table_at_all(tmp_path: Path) -> None:
    data = synthetic.image()
    tables = synthetic.tables(synthetic.LAYOUTS[5], synthetic.BASE + synthetic.TABLES)
    assert tables in data
    with pytest.raises(InfraError, match="CONFIG_KALLSYMS"):
        kallsyms.read(synthetic_image(tmp_path, data.replace(tables, bytes(len(tables)))))


@settings(deadline=None)
@given(
    place=st.integers(synthetic.TABLES, len(WHOLE) - 1),
    junk=st.binary(min_size=1, max_size=64),
)
def test_damaged_tables_raise_nothing_else(
    place: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(WHOLE)
    data[place : place + len(junk)] = junk
    with suppress(InfraError):
        kallsyms.read(synthetic_image(tmp_path_factory.mktemp("damaged"), bytes(data)))


def test_real_kernels_agree_with_their_text(image: KernelImage, symbols: SymbolTable) -> None:
    assert kallsyms.agrees(symbols, image)
    for wrong in (4, 0x1000, -8):
        shifted = SymbolTable(symbols.names, symbols.vas + np.uint64(wrong % (1 << 64)))
        assert not kallsyms.agrees(shifted, image)


def test_real_functions_are_there(symbols: SymbolTable) -> None:
    for name in ("rest_init", "pgd_alloc", "handle_mm_fault", "tlb_finish_mmu", "__switch_to"):
        assert symbols["_stext"] < symbols[name] < symbols["_etext"]
        assert symbols.at(symbols[name] + 4) == (name, 4)


def test_lookup_both_ways() -> None:
    table = SymbolTable(["late", "twin", "early", "twin"], np.array([9, 7, 2, 4], dtype=np.uint64))
    assert table.names == ["early", "twin", "twin", "late"]
    assert (table["twin"], table.all_of("twin"), table.all_of("none")) == (4, [4, 7], [])
    assert (table.at(1), table.at(2), table.at(8)) == (("", 1), ("early", 0), ("twin", 1))
    assert (table.extent("early"), table.next_after(9)) == ((2, 4), 9)
    with pytest.raises(InfraError, match="no symbol 'none'"):
        table.va("none")


def test_of_aliases_the_first_listed_is_named() -> None:
    table = SymbolTable(["first", "second"], np.array([5, 5], dtype=np.uint64))
    assert table.at(6) == ("first", 1)
