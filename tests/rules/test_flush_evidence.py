"""Which invalidations a finding says to have come."""

import pytest

from shootdown.rules.check import check
from shootdown.rules.feed import FAST, REFERENCE
from shootdown.rules.violation import Violation
from tests.rules.corpus import TextTrace

TAKEN = {
    "x86_64": "0 PTE_WRITE a=0x13000 b=0x50067 d=0x400000 level=1",
    "arm64": "0 PTE_WRITE a=0x13000 b=0x50f43 d=0x400000 level=1",
}
MUNMAP = {"x86_64": 11, "arm64": 215}


def finding(arch: str, between: str) -> Violation:
    """What munmap is told of, with these events between its store and its return."""
    text = f"""
0 PROBE id=SYSCALL a={MUNMAP[arch]} b=0x400000 c=0x1000 flags=MORE
0 PROBE_MORE id=SYSCALL
{TAKEN[arch]}
{between}
0 RET_USER a=0
"""
    reports = [check(TextTrace(arch, text), how=how).violations for how in (FAST, REFERENCE)]
    assert reports[0] == reports[1]
    return reports[0][0]


def told(arch: str, between: str) -> list[tuple[int, str, int, int, bool]]:
    came = finding(arch, between).came
    return [(one.cpu, one.operation, one.start, one.end, one.local) for one in came]


PAGE = (0x400000, 0x401000)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("0 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL", (0, "INVLPG", *PAGE, True)),
        ("2 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL", (2, "INVLPG", *PAGE, True)),
        ("1 FLUSH id=INVLPG a=0x7000 b=0x8000 flags=LOCAL", (1, "INVLPG", 0x7000, 0x8000, True)),
        ("2 FLUSH id=INVLPG a=0x7000 b=0x8000 flags=LOCAL", None),
        ("0 ROOT_LOAD id=CR3 a=0x10000 b=0x10000", (0, "CR3_LOAD", 0, 0, True)),
        ("0 ROOT_LOAD id=CR3 a=0x8000000000010000 b=0x10000", None),
        ("2 ROOT_LOAD id=CR3 a=0x20000 b=0x20000", None),
        ("2 FLUSH id=CR4_WRITE", None),
        ("0 FLUSH id=CR4_WRITE", (0, "CR4_WRITE", 0, 0, True)),
    ],
)
def test_what_concerns_a_finding_on_x86(line: str, shown: tuple[object, ...] | None):
    assert told("x86_64", line) == ([shown] if shown else [])


def test_what_comes_before_the_store_or_behind_the_return_is_none():
    flush = "0 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL"
    text = f"""
0 PROBE id=SYSCALL a=11 b=0x400000 c=0x1000 flags=MORE
0 PROBE_MORE id=SYSCALL
{flush}
{TAKEN["x86_64"]}
0 RET_USER a=0
{flush}
"""
    (one,) = check(TextTrace("x86_64", text)).violations
    assert (one.came, one.came_others) == ((), 0)


@pytest.mark.parametrize(
    ("before", "behind", "ok"),
    [("", "", (0, 0)), ("0xa", "", (1, 0)), ("", "0xa", (0, 0)), ("", "0xb", (0, 1))],
)
def test_whether_a_dsb_completed_it(before: str, behind: str, ok: tuple[int, int]):
    lines = [f"0 BARRIER id=DSB a={before}"] if before else []
    lines += ["0 FLUSH id=TLBI_VA a=0x400000 b=0x401000 c=1"]
    lines += ["1 BARRIER id=DSB a=0xb"]
    lines += [f"0 BARRIER id=DSB a={behind}"] if behind else []
    (one,) = finding("arm64", "\n".join(lines)).came
    assert (bool(one.dsb_before), bool(one.dsb_after)) == tuple(map(bool, ok))
    assert (one.asid, one.local) == (1, False)


def test_many_are_counted_and_those_of_the_address_shown():
    others = [
        f"0 FLUSH id=INVLPG a={n:#x} b={n + 4096:#x} flags=LOCAL" for n in range(0, 81920, 4096)
    ]
    own = "0 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL"
    one = finding("x86_64", "\n".join([*others, own]))
    assert (len(one.came), one.came_others) == (8, 13)
    assert one.came[-1].start == 0x400000
    assert [each.seq for each in one.came] == sorted(each.seq for each in one.came)
