"""What is learned of a kernel, and that it is learned once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shootdown import arch
from shootdown.arch.base import Arch
from shootdown.errors import InfraError
from shootdown.kernel import debian, facts
from shootdown.kernel import image as images
from shootdown.kernel.btf import Member
from shootdown.kernel.cache import cache_root
from shootdown.kernel.facts import KernelFacts
from shootdown.kernel.facts_derived import FINDERS
from shootdown.kernel.facts_needs import NEEDS
from shootdown.kernel.image import KernelImage, load
from shootdown.kernel.symbols import SymbolTable
from tests.kernel import synthetic

MAY_LACK = {"fixed_addresses.FIX_P4D", "pcpu_hot.current_task"}
"""Members and enumerators that not all have: after 6.1, and until 6.14 then."""


def same(one: KernelFacts, other: KernelFacts) -> bool:
    tables = (one.symbols.names, one.symbols.vas.tolist())
    if tables != (other.symbols.names, other.symbols.vas.tolist()):
        return False
    return replace(one, symbols=other.symbols) == other


def test_nothing_needed_is_missing(learned: KernelFacts) -> None:
    assert set(learned.missing) <= MAY_LACK
    needs = NEEDS[learned.arch]
    for name in needs.symbols:
        assert learned.va(name) > 0
    assert learned.member("mm_struct.pgd").size == 8
    assert learned.member("task_struct.comm").size == 16


def test_what_is_not_kept_is_looked_up(learned: KernelFacts) -> None:
    assert "list_head.prev" not in learned.members
    assert learned.member("list_head.prev") == Member(8, 8)
    with pytest.raises(InfraError, match=r"vm_area_struct\.nothing"):
        learned.member("vm_area_struct.nothing")


def test_finders_agree_with_symbols(learned: KernelFacts, image: KernelImage) -> None:
    """Where a kernel lists the symbol, a finder finds it there or admits that it does not know."""
    hidden = SymbolTable(learned.symbols.names, learned.symbols.vas)
    found = {name: FINDERS[name](image, hidden, learned.btf) for name in FINDERS}
    for name, va in found.items():
        assert va is None or va == learned.symbols[name], name
    if learned.arch == "arm64":
        sure = {"_text", "_end", "init_mm", "init_task", "memstart_addr", "kimage_voffset"}
        assert sure <= {name for name, va in found.items() if va is not None}


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have the process know no kernel, as another one would."""

    def now() -> None:
        monkeypatch.setattr(facts, "_loaded", {})

    now()
    return now


def test_cached(
    kernel: tuple[Arch, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget: Callable[[], None],
) -> None:
    first = facts.load(kernel[1], tmp_path)
    assert facts.load(kernel[1], tmp_path) is first
    forget()

    def never(*_: object) -> KernelImage:
        raise AssertionError("the image was opened again")

    with monkeypatch.context() as patch:
        patch.setattr(images, "load", never)
        assert same(facts.load(kernel[1], tmp_path), first)
    forget()
    assert same(facts.load(load(kernel[1]), tmp_path), first)


@pytest.fixture(scope="module")
def one() -> KernelImage:
    """One kernel, for what does not depend on which."""
    return load(debian.resolve(debian.DEFAULT, arch.get("arm64"), cache_root()).path)


def test_a_damaged_cache_is_no_cache(
    one: KernelImage, tmp_path: Path, forget: Callable[[], None]
) -> None:
    first = facts.load(one, tmp_path)
    (entry,) = (tmp_path / "facts").iterdir()
    whole = entry.read_bytes()
    for content in (b"", b"PK\x03\x04", b"junk" * 1000, whole[:-100], whole[: len(whole) // 2]):
        entry.write_bytes(content)
        forget()
        assert same(facts.load(one, tmp_path), first)
        assert len(entry.read_bytes()) == len(whole)


def test_another_file_is_another_entry(one: KernelImage, tmp_path: Path) -> None:
    facts.load(one, tmp_path)
    other = tmp_path / "other"
    other.write_bytes(one.path.read_bytes() + b"\0")
    assert facts.load(other, tmp_path).path == other
    assert len(list((tmp_path / "facts").iterdir())) == 2


def test_an_unwritable_cache_only_costs_time(one: KernelImage, tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file where a directory should be")
    assert facts.load(one, blocked).release == one.release


def test_kernels_without(tmp_path: Path) -> None:
    whole = synthetic.image()
    tables = synthetic.tables(synthetic.LAYOUTS[5], synthetic.BASE + synthetic.TABLES)
    cases = {
        "carries no BTF.*CONFIG_DEBUG_INFO_BTF": whole,
        "carries no symbol table.*CONFIG_KALLSYMS": whole.replace(tables, bytes(len(tables))),
    }
    for why, data in cases.items():
        (tmp_path / "Image").write_bytes(data)
        with pytest.raises(InfraError, match=why):
            facts.load(tmp_path / "Image", tmp_path / "cache")
    with pytest.raises(InfraError, match="Cannot read the kernel"):
        facts.load(tmp_path / "nothing", tmp_path / "cache")
