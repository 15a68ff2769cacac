"""Page-table locks: holds from the changes of their words."""

from __future__ import annotations

import numpy as np
import pytest

from shootdown.model import ptl
from shootdown.trace.text import parse

INIT = "0 WATCH_INIT id=PTL a=0x9028 d=0x2000\n"
TAKE = "{} WATCH id=PTL a=0x9028 b=0 c=1 d=0x2000\n"
GIVE = "{} WATCH id=PTL a=0x9028 b=1 c=0 d=0x2000\n"
STORE = "{} PTE_WRITE a=0x2008 b=0x5067 c=0 d=0x401000 level=1\n"


def take(cpu: int) -> str:
    return TAKE.format(cpu)


def give(cpu: int) -> str:
    return GIVE.format(cpu)


def holds(text: str) -> list[tuple[int, int, int]]:
    found = ptl.read(parse(INIT + text))
    assert found.breaks == 0
    return [(int(h["cpu"]), int(h["acquire"]), int(h["release"])) for h in found.holds]


def test_holds_of_one_and_of_another() -> None:
    assert holds(take(0) + give(0) + take(1) + give(1)) == [(0, 2, 3), (1, 4, 5)]


def test_a_release_numbered_behind_the_next_acquisition() -> None:
    assert holds(take(0) + take(1) + give(0) + give(1)) == [(0, 2, 4), (1, 3, 5)]


def test_a_table_unlinked_with_its_lock_held() -> None:
    gone = "1 TABLE_UNLINK b=0x2000 level=1\n"
    assert holds(take(1) + gone + INIT + take(1) + give(1)) == [(1, 2, 3), (1, 5, 6)]


def test_the_end_of_the_trace() -> None:
    assert holds(take(1)) == [(1, 2, ptl.NEVER)]


def test_held_before_it_was_watched() -> None:
    found = ptl.read(parse(INIT.replace(" d=", " c=1 d=") + give(1)))
    assert found.breaks == 0
    assert found.holds["acquire"].tolist() == [0]
    assert found.holds["release"].tolist() == [2]


def test_released_while_the_plugin_was_about_to_look() -> None:
    late = take(0) + give(0) + "0 TABLE_UNLINK b=0x2000 level=1\n" + give(1) + INIT
    found = ptl.read(parse(INIT + late + take(1) + give(1)))
    assert found.breaks == 0
    assert found.holds["acquire"].tolist() == [0, 2, 7]
    assert ptl.read(parse(give(1) + INIT + take(1) + give(1))).breaks == 0


def test_released_twice_while_it_is_watched() -> None:
    assert ptl.read(parse(INIT + take(1) + give(1) + give(1))).breaks == 1
    again = "0 TABLE_UNLINK b=0x2000 level=1\n" + INIT + give(1)
    assert ptl.read(parse(INIT + take(1) + give(1) + again)).breaks == 1


def test_a_change_that_does_not_know_what_it_found() -> None:
    blind = "1 WATCH id=PTL a=0x9028 b=1 c=1 d=0x2000 flags=ATOMIC\n"
    assert holds(take(0) + blind + give(0)) == [(0, 2, 4)]


def test_a_plain_store_that_overtook_the_telling_of_a_release() -> None:
    """The next holder's store is told before the release that let it in."""
    takes = "1 WATCH id=PTL a=0x9028 b=1 c=1 d=0x2000\n"
    gives = "1 WATCH id=PTL a=0x9028 b=0 c=0 d=0x2000\n"
    text = take(0) + takes + give(0) + gives
    assert holds(text) == [(0, 2, 4), (1, 3, 5)]
    assert ptl.read(parse(INIT + text)).breaks == 0


@pytest.mark.parametrize("text", [give(0), take(0) + take(0) + give(0), take(0) + give(1)])
def test_words_that_do_not_alternate(text: str) -> None:
    assert ptl.read(parse(INIT + text)).breaks > 0


def test_who_held_it() -> None:
    switch = "1 PROBE id=TASK_SWITCH a={}\n"
    events = parse(INIT + take(1) + give(1) + switch.format("0x77") + take(1) + give(1))
    assert ptl.read(events).holds["task"].tolist() == [0, 0x77]


def test_the_lock_of_an_mm() -> None:
    text = "2 WATCH id=MM_PAGE_TABLE_LOCK a=0x9028 b=0 c=1 d=0xffff888000aa0000\n"
    (hold,) = ptl.read(parse(text)).holds
    assert (hold["own"], hold["lock"]) == (False, 0xFFFF888000AA0000)


@pytest.mark.parametrize(
    ("text", "without"),
    [
        (take(0) + STORE.format(0) + give(0), False),
        (take(0) + STORE.format(1) + give(0), True),
        (STORE.format(0) + take(0) + give(0), True),
        (take(0) + give(0) + STORE.format(0), True),
        (take(0) + give(0) + take(0) + STORE.format(0), False),
        (take(0).replace("0x2000", "0x3000") + STORE.format(0), True),
        ("", False),
    ],
)
def test_stores_without_the_lock(text: str, *, without: bool) -> None:
    events = parse(INIT + text)
    assert bool(ptl.read(events).stored_without(events)) is without


def test_many_locks_at_once_are_told_apart() -> None:
    """Against one look-up after the other, on random holds."""
    rng = np.random.default_rng(1)
    lines, held, answers = [INIT], dict[int, int](), []
    for _ in range(2000):
        cpu, table = int(rng.integers(4)), int(rng.integers(1, 6)) << 12
        word = f"id=PTL a={0x9000 + (table >> 6):#x} d={table:#x}"
        if table not in held:
            held[table] = cpu
            lines.append(f"{cpu} WATCH {word} b=0 c=1\n")
        elif rng.integers(3) == 0:
            lines.append(f"{held.pop(table)} WATCH {word} b=1 c=0\n")
        else:
            answers.append(held[table] == cpu)
            lines.append(f"{cpu} PTE_WRITE a={table + 8:#x} c=0x67 d=0x1000 level=1\n")
    events = parse("".join(lines))
    stores = [int(event["seq"]) for event in events if event["c"] == 0x67]
    without = ptl.read(events).stored_without(events)
    assert [seq not in without for seq in stores] == answers


def test_all_that_is_known_of_a_hold() -> None:
    text = (
        "3 PROBE id=TASK_SWITCH a=0x77\n"
        "3 WATCH id=PTL a=0x9028 b=0 c=1 d=0x2000 icount=50 pc=0x123\n"
        "3 WATCH id=PTL a=0x9028 b=1 c=0 d=0x2000 icount=60 pc=0x456\n"
    )
    (hold,) = ptl.read(parse(INIT + text)).holds
    assert dict(zip(ptl.HOLD.names or (), hold.tolist(), strict=True)) == {
        "acquire": 3,
        "release": 4,
        "icount": 50,
        "pc": 0x123,
        "release_icount": 60,
        "release_pc": 0x456,
        "lock": 0x2000,
        "task": 0x77,
        "cpu": 3,
        "own": True,
    }


def test_what_was_not_seen_of_a_hold() -> None:
    (hold,) = ptl.read(parse(INIT + take(1).replace("\n", " icount=50 pc=0x123\n"))).holds
    assert (hold["release_icount"], hold["release_pc"]) == (0, 0)
    early = INIT.replace(" d=", " c=1 d=") + give(1).replace("\n", " icount=60 pc=0x456\n")
    (hold,) = ptl.read(parse(early)).holds
    assert (hold["acquire"], hold["icount"], hold["pc"]) == (0, 0, 0)
    assert (hold["release_icount"], hold["release_pc"]) == (60, 0x456)
    assert (hold["lock"], hold["cpu"], hold["own"]) == (0x2000, 1, True)


def test_holds_are_in_the_order_of_their_beginnings() -> None:
    other = take(1).replace("0x9028", "0x8028").replace("0x2000", "0x3000")
    holds = ptl.read(parse(INIT + take(0) + give(0) + other + take(0))).holds
    assert holds["acquire"].tolist() == [2, 4, 5]


def test_only_page_table_locks_are_read() -> None:
    other = "0 WATCH id=MMAP_LOCK a=0xa8 b=0 c=1 d=0xffff888000aa0000\n"
    assert not ptl.read(parse(other)).recorded
    assert ptl.read(parse(take(0))).recorded


def test_a_root_that_went_away_with_its_lock_held() -> None:
    assert holds(take(1) + "0 ROOT_FORGET b=0x2000\n") == [(1, 2, 3)]


def test_the_first_unlinking_behind_it_ends_a_hold() -> None:
    gone = "0 TABLE_UNLINK b={} level=1\n"
    text = gone.format("0x2000") + take(1) + gone.format("0x3000") + gone.format("0x2000") * 2
    assert holds(text) == [(1, 3, 5)]


def test_a_hold_that_is_never_ended_but_by_the_next() -> None:
    """The last of a CPU's holds of a lock may be cut off by the end of the trace, no other."""
    assert ptl.read(parse(INIT + take(1) + take(1))).breaks == 1
    assert ptl.read(parse(INIT + take(1) + take(0))).breaks == 0


def test_stores_to_kernel_tables_and_other_slots() -> None:
    kernel = STORE.format(1).replace("0x401000", "0xffff800000000000")
    events = parse(INIT + take(0) + kernel + STORE.format(0).replace("0x2008", "0x2ff8") + give(0))
    assert ptl.read(events).stored_without(events) == frozenset()
