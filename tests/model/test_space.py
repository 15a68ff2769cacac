from shootdown import arch
from shootdown.model.space import Leaf, Space
from shootdown.model.stream import stream
from shootdown.trace.schema import Kind
from shootdown.trace.text import parse

KINDS = (
    Kind.ROOT_LEARN,
    Kind.ROOT_FORGET,
    Kind.TABLE_LINK,
    Kind.TABLE_SLOT,
    Kind.TABLE_UNLINK,
    Kind.PTE_WRITE,
)
TABLES = """\
0 ROOT_LEARN b=0x10000 level=3
0 PTE_WRITE a=0x10000 c=0x11067 level=3
0 TABLE_LINK a=0x10000 b=0x11000 d=0x10000 level=2
0 TABLE_SLOT a=0x11008 c=0x8000e7 d=0x200000 level=2
0 PTE_WRITE a=0x11010 c=0x12067 d=0x400000 level=2
0 TABLE_LINK a=0x11010 b=0x12000 c=0x400000 d=0x10000 level=1
0 TABLE_SLOT a=0x12008 c=0x50067 d=0x401000 level=1
"""


def space(lines: str) -> Space:
    made = Space(arch.get("x86_64").mmu)
    for event in stream(parse(lines), KINDS):
        made.apply(event)
    return made


def test_walk():
    tables = space(TABLES)
    assert tables.walk(0x10000, 0x401234) == Leaf(0x12008, 0x401000, 1, 0x50067)
    assert tables.walk(0x10000, 0x3FFFFF) == Leaf(0x11008, 0x200000, 2, 0x8000E7)
    assert tables.walk(0x10000, 0x402000) is None
    assert tables.walk(0x99000, 0x401234) is None


def test_translate_gives_the_page():
    tables = space(TABLES)
    assert tables.translate(0x10000, 0x401234) == 0x50000
    assert tables.translate(0x10000, 0x2FF234) == 0x8FF000
    assert tables.translate(0x10000, 0x402000) is None


def test_root_of_a_slot():
    tables = space(TABLES)
    assert [tables.root_of(slot) for slot in (0x12FF8, 0x10000, 0x13000)] == [0x10000, 0x10000, 0]


def test_leaves_below_a_pointer():
    tables = space(TABLES)
    assert [leaf.va for leaf in tables.leaves(0x11067, 3)] == [0x200000, 0x401000]
    assert list(tables.leaves(0x13067, 3)) == []


def test_mapped_counts_leaves_of_a_page():
    assert space(TABLES).mapped == {0x50000: 1}
    twice = "0 PTE_WRITE a=0x12010 c=0x50025 d=0x402000 level=1\n"
    assert space(TABLES + twice).mapped == {0x50000: 2}
    gone = "0 PTE_WRITE a=0x12008 b=0x50067 d=0x401000 level=1\n"
    assert space(TABLES + gone).mapped == {}
    assert space(TABLES + "0 TABLE_UNLINK b=0x12000 level=1").mapped == {}


def test_forgotten_root():
    tables = space(TABLES + "0 ROOT_FORGET b=0x10000 level=3")
    assert tables.walk(0x10000, 0x401234) is None


def test_tables_that_point_in_circles_end():
    """A trace is untrusted."""
    tables = space(TABLES + "0 PTE_WRITE a=0x11018 c=0x11067 d=0x600000 level=2")
    assert tables.walk(0x10000, 0x600000) is None
    assert len(list(tables.leaves(0x11067, 3))) == 2


def test_second_root_of_a_pair_goes_by_the_first():
    made = space(
        "0 ROOT_LEARN b=0x18000 d=0x10000 level=3\n0 TABLE_SLOT a=0x18000 c=0x11067 level=3"
    )
    assert made.root_of(0x18000) == 0x10000


SMALL_ROOTS = """
0 ROOT_LEARN id=16 b=0x10080 level=5
0 TABLE_SLOT a=0x10088 c=0x20003 d=0x1000000000000 level=5
0 TABLE_LINK a=0x10088 b=0x20000 c=0x1000000000000 d=0x10080 level=4
0 ROOT_LEARN id=16 b=0x10100 level=5
0 PTE_WRITE a=0x10178 c=0x30003 d=0xf000000000000 level=5
0 PTE_WRITE a=0x10000 c=0x40003 level=5
"""


def test_roots_that_share_a_page():
    """The last store is to a word of the page that is no root's."""
    made = space(SMALL_ROOTS)
    assert [made.root_of(slot) for slot in (0x10088, 0x10178, 0x10000)] == [0x10080, 0x10100, 0]
    assert made.root_of(0x20FF8) == 0x10080
    both_gone = "0 ROOT_FORGET b=0x10100\n0 ROOT_FORGET b=0x10080\n"
    again = space(SMALL_ROOTS + both_gone + "0 TABLE_LINK b=0x10000 d=0x50000 level=1")
    assert again.root_of(0x10178) == 0x50000  # the page serves as a table now


def test_walk_sees_what_changed_above_and_below() -> None:
    """What was found last for 2 MiB holds until a table changes."""
    tables = space(TABLES)
    assert tables.translate(0x10000, 0x401000) == 0x50000
    for line, found in (
        ("0 PTE_WRITE a=0x12008 b=0x50067 c=0x51067 d=0x401000 level=1", 0x51000),
        ("0 PTE_WRITE a=0x12008 b=0x51067 c=0 d=0x401000 level=1", None),
        ("0 PTE_WRITE a=0x12008 b=0 c=0x52067 d=0x401000 level=1", 0x52000),
        ("0 PTE_WRITE a=0x11010 b=0x12067 c=0 d=0x400000 level=2", None),
        ("0 PTE_WRITE a=0x11010 b=0 c=0x12067 d=0x400000 level=2", 0x52000),
        ("0 TABLE_UNLINK b=0x12000 level=1", None),
    ):
        for event in stream(parse(line), KINDS):
            tables.apply(event)
        assert tables.translate(0x10000, 0x401000) == found, line


SHARED = "0 PTE_WRITE a=0x11018 c=0x12067 d=0x600000 level=2\n"
"""The table of 0x400000 is that of 0x600000, too."""


def test_a_table_at_two_places_is_walked_and_nothing_else_is_said_of_it() -> None:
    tables = space(TABLES + SHARED)
    assert tables.walk(0x10000, 0x601000) == Leaf(0x12008, 0x601000, 1, 0x50067)
    assert tables.walk(0x10000, 0x401000) == Leaf(0x12008, 0x401000, 1, 0x50067)
    assert tables.root_of(0x12008) == 0
    assert list(tables.leaves(0x12067, 2)) == []


def test_a_table_linked_twice_at_one_place_is_of_that_place() -> None:
    tables = space(TABLES + "0 PTE_WRITE a=0x11010 b=0x12067 c=0x12027 d=0x400000 level=2\n")
    assert tables.root_of(0x12008) == 0x10000


def test_what_was_shared_may_be_a_table_anew() -> None:
    again = """\
0 TABLE_UNLINK b=0x12000
0 TABLE_LINK a=0x11018 b=0x12000 c=0x600000 d=0x10000 level=1
0 TABLE_SLOT a=0x12010 c=0x51067 d=0x602000 level=1
"""
    tables = space(TABLES + SHARED + again)
    assert tables.root_of(0x12010) == 0x10000
    assert list(tables.leaves(0x12067, 2)) == [Leaf(0x12010, 0x602000, 1, 0x51067)]
