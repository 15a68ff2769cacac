"""Page-table entries as the kernels' headers build them, and what a CPU makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown.arch.arm64 import mmu as arm64
from shootdown.arch.arm64.mmu import Arm64Mmu
from shootdown.arch.mmu import Mmu
from shootdown.arch.x86_64 import mmu as x86
from shootdown.arch.x86_64.mmu import X86Mmu

BOTH: list[Mmu] = [X86Mmu(), X86Mmu(levels=5), Arm64Mmu(), Arm64Mmu(hafdbs=False), Arm64Mmu(5)]
ENTRIES = st.one_of(
    st.integers(0, 2**64 - 1),
    # Random bits seldom make a sensible entry: take the low and high attributes apart.
    st.builds(
        lambda low, pa, high: low | pa << 12 | high << 50,
        *(st.integers(0, 0xFFF), st.integers(0, 2**36 - 1), st.integers(0, 2**14 - 1)),
    ),
)
LEVELS = st.integers(1, 5)

# arch/x86/include/asm/pgtable_types.h
PAGE_SHARED = 0x8000000000000027
PAGE_COPY_EXEC = 0x25
PAGE_NONE = 0x120
_PAGE_TABLE = 0x67

# arch/arm64/include/asm/pgtable-prot.h: _PAGE_DEFAULT with MT_NORMAL = 0
_PAGE_DEFAULT = 3 | 3 << 8 | 1 << 10
ARM_READONLY = _PAGE_DEFAULT | 1 << 6 | 1 << 7 | 1 << 11 | 1 << 53 | 1 << 54
ARM_SHARED = ARM_READONLY | 1 << 51
ARM_READONLY_EXEC = ARM_READONLY & ~(1 << 54)
ARM_EXECONLY = _PAGE_DEFAULT | 1 << 7 | 1 << 11 | 1 << 53
ARM_NONE_6_12 = (_PAGE_DEFAULT & ~1) | 1 << 7 | 1 << 11 | 1 << 53 | 1 << 54
ARM_NONE_6_1 = ARM_NONE_6_12 | 1 << 58


@pytest.mark.parametrize("mmu", BOTH)
@given(entry=ENTRIES, level=LEVELS)
def test_a_valid_entry_is_a_table_or_a_leaf(mmu: Mmu, entry: int, level: int) -> None:
    assert mmu.valid(entry, level) == (mmu.table(entry, level) or mmu.leaf(entry, level))
    assert not (mmu.table(entry, level) and mmu.leaf(entry, level))
    assert not mmu.table(entry, 1)
    assert mmu.describe(entry, level)


@pytest.mark.parametrize("mmu", BOTH)
@given(entry=ENTRIES, level=LEVELS)
def test_permissions_belong_to_leaves(mmu: Mmu, entry: int, level: int) -> None:
    permits = mmu.permits(entry, level)
    assert permits <= {"read", "write", "exec"}
    assert mmu.writable(entry, level) == ("write" in permits)
    assert mmu.leaf(entry, level) or not permits


@pytest.mark.parametrize("mmu", BOTH)
@given(entry=ENTRIES, level=LEVELS)
def test_what_the_walker_changes_is_the_same_translation(mmu: Mmu, entry: int, level: int) -> None:
    bits = mmu.hardware_bits(entry, level)
    assert not bits or mmu.valid(entry, level)
    if mmu.valid(entry, level):
        assert mmu.same_translation(entry, entry ^ bits, level)
        assert mmu.permits(entry ^ bits, level) == mmu.permits(entry, level)
        assert mmu.target(entry ^ bits, level) == mmu.target(entry, level)


@pytest.mark.parametrize("mmu", BOTH)
@given(old=ENTRIES, new=ENTRIES, level=LEVELS)
def test_same_translation_means_same_target_and_rights(
    mmu: Mmu, old: int, new: int, level: int
) -> None:
    new = old ^ (new & new >> 1 & new << 1)  # a few differing bits
    if mmu.valid(old, level) and mmu.valid(new, level) and mmu.same_translation(old, new, level):
        assert mmu.target(old, level) == mmu.target(new, level)
        assert mmu.permits(old, level) == mmu.permits(new, level)
        assert mmu.table(old, level) == mmu.table(new, level)


@pytest.mark.parametrize(
    ("mmu", "entry", "level", "permits"),
    [
        (x86.MMU, PAGE_SHARED | 0x1000, 1, {"read", "write"}),
        (x86.MMU, PAGE_COPY_EXEC | 0x1000, 1, {"read", "exec"}),
        (x86.MMU, PAGE_SHARED | x86.PSE | 0x200000, 2, {"read", "write"}),
        (x86.MMU, 0x8000000000000163, 1, set()),  # PAGE_KERNEL
        (arm64.MMU, ARM_SHARED | 0x1000, 1, {"read", "write"}),
        (arm64.MMU, ARM_READONLY | 0x1000, 1, {"read"}),
        (arm64.MMU, ARM_READONLY_EXEC | 0x1000, 1, {"read", "exec"}),
        (arm64.MMU, ARM_EXECONLY | 0x1000, 1, {"exec"}),
        (arm64.MMU, ARM_SHARED & ~2 | 0x200000, 2, {"read", "write"}),
        (Arm64Mmu(hafdbs=False), ARM_SHARED | 0x1000, 1, {"read"}),
        (Arm64Mmu(hafdbs=False), ARM_SHARED & ~arm64.RDONLY, 1, {"read", "write"}),
    ],
)
def test_protections_of_the_kernel(mmu: Mmu, entry: int, level: int, permits: set[str]) -> None:
    assert mmu.leaf(entry, level)
    assert mmu.permits(entry, level) == permits


@pytest.mark.parametrize(
    ("mmu", "entry", "level"),
    [
        (x86.MMU, 0, 1),
        (x86.MMU, PAGE_NONE | 0xFFFFFFFFFF000, 1),
        (x86.MMU, (PAGE_SHARED | x86.PSE) & ~x86.PRESENT, 2),  # pmd_mkinvalid()
        (arm64.MMU, 0, 1),
        (arm64.MMU, ARM_NONE_6_12 | 0x1000, 1),
        (arm64.MMU, ARM_NONE_6_1 | 0x1000, 1),
        (arm64.MMU, ARM_SHARED & ~3 | 1 << 59, 2),  # PMD_PRESENT_INVALID
        (arm64.MMU, ARM_SHARED & ~2, 1),  # reserved
        (arm64.MMU, ARM_SHARED & ~2, 4),  # no block that large
        (Arm64Mmu(hafdbs=False), ARM_SHARED & ~arm64.AF, 1),
    ],
)
def test_what_no_cpu_may_cache(mmu: Mmu, entry: int, level: int) -> None:
    assert not mmu.valid(entry, level)
    assert mmu.hardware_bits(entry, level) == 0


def test_an_old_page_may_be_cached_when_hardware_makes_it_young() -> None:
    assert arm64.MMU.valid(ARM_SHARED & ~arm64.AF, 1)


@pytest.mark.parametrize(
    ("mmu", "entry", "level", "bits"),
    [
        (x86.MMU, PAGE_SHARED, 1, x86.ACCESSED | x86.DIRTY),
        (x86.MMU, PAGE_SHARED | x86.PSE, 2, x86.ACCESSED | x86.DIRTY),
        (x86.MMU, _PAGE_TABLE, 2, x86.ACCESSED),
        (arm64.MMU, ARM_SHARED, 1, arm64.AF | arm64.RDONLY),
        (arm64.MMU, ARM_READONLY, 1, arm64.AF),
        (arm64.MMU, 0x48001003, 2, 0),
        (Arm64Mmu(hafdbs=False), ARM_SHARED, 1, 0),
    ],
)
def test_what_the_walker_sets(mmu: Mmu, entry: int, level: int, bits: int) -> None:
    assert mmu.hardware_bits(entry, level) == bits


@pytest.mark.parametrize(
    ("mmu", "entry", "level", "pa"),
    [
        (x86.MMU, 0x8000000012345067, 1, 0x12345000),
        (x86.MMU, 0x80000000002010E7, 2, 0x200000),  # _PAGE_PAT_LARGE is no address bit
        (x86.MMU, 0x400000E7, 3, 0x40000000),
        (x86.MMU, 0x0FF0000012345067, 2, 0x12345000),
        (arm64.MMU, ARM_SHARED | 0x0000812345000, 1, 0x812345000),
        (arm64.MMU, ARM_SHARED & ~2 | 0x40200000, 2, 0x40200000),
        (arm64.MMU, 0x1000000048001003, 3, 0x48001000),
    ],
)
def test_targets(mmu: Mmu, entry: int, level: int, pa: int) -> None:
    assert mmu.target(entry, level) == pa


@pytest.mark.parametrize(
    ("mmu", "level", "entry", "changed", "same"),
    [
        (x86.MMU, 1, PAGE_SHARED, x86.ACCESSED | x86.DIRTY, True),
        (x86.MMU, 1, PAGE_SHARED, x86.SOFTWARE, True),
        (x86.MMU, 1, PAGE_SHARED, x86.RW, False),
        (x86.MMU, 1, PAGE_SHARED, x86.NX, False),
        (x86.MMU, 1, PAGE_SHARED, x86.GLOBAL, False),
        (x86.MMU, 1, PAGE_SHARED, x86.PKEY, False),
        (x86.MMU, 1, PAGE_SHARED, 0x1000, False),
        (x86.MMU, 2, _PAGE_TABLE, x86.PSE, False),
        (x86.MMU, 2, _PAGE_TABLE, x86.GLOBAL | x86.DIRTY | x86.PKEY, True),
        (x86.MMU, 2, _PAGE_TABLE, x86.RW, False),
        (arm64.MMU, 1, ARM_SHARED, arm64.RDONLY, True),  # clean -> dirty
        (arm64.MMU, 1, ARM_READONLY, arm64.RDONLY, False),
        (arm64.MMU, 1, ARM_SHARED, arm64.DBM, False),  # write-protected
        (arm64.MMU, 1, ARM_SHARED, arm64.AF | arm64.SOFTWARE, True),
        (arm64.MMU, 1, ARM_SHARED, arm64.CONT, False),
        (arm64.MMU, 1, ARM_SHARED, 1 << 2, False),  # AttrIndx
        (arm64.MMU, 1, ARM_SHARED, arm64.NG, False),
        (arm64.MMU, 2, 0x48001003, 1 << 59, False),
        (arm64.MMU, 2, 0x48001003, arm64.SOFTWARE & ~(1 << 63), True),
    ],
)
def test_changes(mmu: Mmu, level: int, entry: int, changed: int, same: bool) -> None:
    assert mmu.same_translation(entry, entry ^ changed, level) == same
    assert mmu.same_translation(entry ^ changed, entry, level) == same


@pytest.mark.parametrize(
    ("mmu", "entry", "level", "words"),
    [
        (x86.MMU, 0, 1, "none"),
        (
            x86.MMU,
            PAGE_SHARED | 0x1040,
            1,
            "0x8000000000001067: 4 KiB page at PA 0x1000, user, writable, no-execute, accessed, "
            "dirty",
        ),
        (
            x86.MMU,
            PAGE_NONE | 0xFFFFFFFFFE000,
            1,
            "0xfffffffffe120: not present, PROT_NONE or NUMA hint, page at PA 0x1000",
        ),
        (x86.MMU, 0x1067, 3, "0x1067: table at PA 0x1000, user, writable, accessed"),
        (
            arm64.MMU,
            ARM_SHARED | 0x1000,
            1,
            "0x68000000001fc3: 4 KiB page at PA 0x1000, user, writable, accessed, DBM, "
            "no user execute, no kernel execute, not global, memory type 0",
        ),
        (arm64.MMU, 0x48001003, 3, "0x48001003: table at PA 0x48001000"),
    ],
)
def test_descriptions(mmu: Mmu, entry: int, level: int, words: str) -> None:
    assert mmu.describe(entry, level) == words


def test_52_bit_addresses_of_arm64() -> None:
    """The kernel's __phys_to_pte_val() with CONFIG_ARM64_PA_BITS_52 and 4 KiB pages."""
    wide, narrow = Arm64Mmu().for_levels(5), Arm64Mmu(5).for_levels(4)
    assert wide.levels == 5
    pa = 0x000F_FFFF_FFFF_F000
    entry = 0x0003_FFFF_FFFF_F000 | 0x3 << 8 | 0x443
    assert wide.target(entry, 1) == pa
    assert narrow.target(entry, 1) == pa & (1 << 48) - 1
    assert wide.target(entry & ~2, 2) == pa & -(1 << 21)
    moved = entry ^ 1 << 8
    assert not wide.same_translation(entry, moved, 1)
    assert not wide.same_translation(entry, moved, 2)  # tables
    assert narrow.same_translation(entry, moved, 2)  # shareability, which a table has not


def test_roots_in_registers() -> None:
    assert X86Mmu().root(1 << 63 | 0x1234_5018) == 0x1234_5000
    assert Arm64Mmu().root(0x0007_0000_4123_4001) == 0x4123_4000
    # phys_to_ttbr(): bits 51:48 of the address are in bits 5:2; a root is aligned to 128 bytes.
    assert Arm64Mmu(5).root(0x0007_0000_4123_4F81) == 0x4123_4F80
    assert Arm64Mmu(5).root(0x0007_0000_4123_4F81 | 0b1010 << 2) == 0xA_0000_4123_4F80


@pytest.mark.parametrize(
    ("name", "entry", "dirty"),
    [
        *(("x86_64", 0x50067, True), ("x86_64", 0x50027, False), ("x86_64", 0x50066, False)),
        ("arm64", 0x8000000050F43, True),  # writable, and stored to
        ("arm64", 0x8000000050FC3, False),  # writable, and not
        ("arm64", 0x50F43, False),
        ("arm64", 0x80000000050FC3, True),  # read-only since it was stored to
        ("arm64", 0x80000000050FC2, False),
    ],
)
def test_dirty(name, entry, dirty):
    mmu = X86Mmu() if name == "x86_64" else Arm64Mmu()
    assert mmu.dirty(entry, 1) is dirty
