"""The tables of a trace have named, typed columns, and probes are joined with their rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shootdown import Trace
from shootdown.frames.recording import ALL
from shootdown.trace.text import parse
from shootdown.trace.writer import write

TEXT = """
0 ARMED a=0xffff888000000000
0 PROBE id=SYSCALL a=9 b=0x400000 c=0x1000 d=3 flags=MORE
1 PROBE id=SYSCALL a=11 b=0x500000 c=0x2000 flags=MORE
1 PROBE_MORE id=SYSCALL a=-1
0 PROBE_MORE id=SYSCALL a=0x32 b=-1 c=7
1 PTE_WRITE a=0x2008 b=0x67 c=0 d=0x401000 level=1 flags=ATOMIC pc=0xffffffff81000000
1 FLUSH id=TLBI_RANGE a=0x400000 b=0x402000 c=5 level=3 flags=LEAF
0 BARRIER id=DSB a=11
0 ROOT_LOAD id=CR3 a=0x8000000000003000 b=0x3000 c=1 d=0x1000
1 WATCH_INIT id=MMAP_LOCK a=0x5000 c=0x100 d=0xffff888000005000
1 WATCH id=MMAP_LOCK a=0x5000 b=0x100 d=0xffff888000005000
0 PROBE id=TASK_SWITCH a=0xffff888000001000 b=12 c=11 d=0 flags=MORE
0 PROBE_MORE id=TASK_SWITCH a=0x726576726573626f b=0
0 PROBE id=FAULT a=0x400123 b=6
0 RET_USER a=-14 b=0x401000
0 MARK id=THREAD a=0x726576726573626f b=0x31
1 MARK id=ITER a=0x41
0 DELAY id=3 a=20000 b=20100 c=7 d=0x401000
1 OBS a=0x400000 b=0x7000 c=1 d=99 size=8 flags=STORE
0 WATCH id=PTL a=0x9028 b=0 c=1 d=0x2000 pc=0xffffffff81000010
0 WATCH id=PTL a=0x9028 b=1 c=0 d=0x2000 pc=0xffffffff81000020
1 WATCH id=PTL a=0x9068 b=0 c=1 d=0x3000
0 ENTER id=gup_fast a=0x100
0 EXIT id=gup_fast a=0x100
0 TABLE_UNLINK b=0x2000 c=0x400000 level=1
1 PAGE_FREED id=free_frozen_pages a=0x2000 b=1 c=2 d=1
1 PAGE_ALLOCATED id=post_alloc_hook a=0x2000 b=1 c=2 d=1
1 PAGE_FREED id=free_frozen_pages a=0x7000 b=1 c=1 d=1
"""
GROUPS = """
0 WATCH id=MM_CONTEXT_ID a=0x5100 c=0x30042 d=0xffff888000005000
0 ENTER id=flush_tlb_mm_range a=0x9100 b=0x5000 c=0x400000 d=0x401000 flags=MORE
0 ENTER_MORE id=flush_tlb_mm_range a=12 b=1
1 ENTER id=flush_tlb_func a=0x8100 b=0x1 c=0x5000 d=0x400000 flags=MORE
1 ENTER_MORE id=flush_tlb_func a=0x401000 b=7
1 EXIT id=flush_tlb_func a=0x8100
0 EXIT id=flush_tlb_mm_range a=0x9100
1 ENTER id=rwsem_down_write_slowpath a=0x8200 b=0xffff888000005000
1 EXIT id=rwsem_down_write_slowpath a=0x8200 b=0xffff888000005000
0 ENTER id=vm_area_alloc a=0x9200 b=0xffff888000005000
0 EXIT id=vm_area_alloc a=0x9200 b=0xffff888000006000
0 WATCH_INIT id=VMA_REFCNT a=0x6080 d=0xffff888000006000
0 WATCH id=VMA_REFCNT a=0x6080 c=1 d=0xffff888000006000
0 ENTER id=do_user_addr_fault a=0x9300 c=6 d=0x400123
0 ENTER id=lock_vma_under_rcu a=0x9280 b=0xffff888000005000 c=0x400123
0 EXIT id=lock_vma_under_rcu a=0x9280 b=0xffff888000006000
0 ENTER id=handle_mm_fault a=0x9240 b=0xffff888000006000 c=0x400123 d=0x1255
0 EXIT id=handle_mm_fault a=0x9240
0 EXIT id=do_user_addr_fault a=0x9300
0 ENTER id=gup_fast_fallback a=0x9400 b=0x400000 c=1 d=0x80101
0 ENTER id=try_grab_folio_fast a=0x9380 b=0xffffea0000000040 c=1 d=0x80101
0 EXIT id=try_grab_folio_fast a=0x9380 b=0xffffea0000000040
0 EXIT id=gup_fast_fallback a=0x9400 b=1
"""


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(write(parse(TEXT + GROUPS), tmp_path))


def test_system_calls_carry_all_their_arguments(trace: Trace) -> None:
    calls = trace.syscalls
    assert calls["number"].tolist() == [9, 11]
    assert calls["cpu"].tolist() == [0, 1]
    args = calls[[f"arg{i}" for i in range(6)]].to_numpy().tolist()
    assert args == [
        [0x400000, 0x1000, 3, 0x32, 2**64 - 1, 7],
        [0x500000, 0x2000, 0, 2**64 - 1, 0, 0],
    ]
    assert calls["arg0"].dtype == np.uint64


def test_a_probe_cut_off_from_its_rest_has_zeros(tmp_path: Path) -> None:
    events = parse("0 PROBE id=SYSCALL a=9 flags=MORE\n1 PROBE_MORE id=SYSCALL a=5")
    calls = Trace(write(events, tmp_path)).syscalls
    assert calls[["number", "arg3"]].to_numpy().tolist() == [[9, 0]]


def test_task_switches(trace: Trace) -> None:
    row = trace.switches.iloc[0]
    assert (row["pid"], row["tgid"], row["mm"], row["comm"]) == (12, 11, 0, "observer")


def test_writes_flushes_roots_and_locks(trace: Trace) -> None:
    pte = trace.ptes.iloc[0]
    assert (pte["slot"], pte["old"], pte["new"], pte["va"]) == (0x2008, 0x67, 0, 0x401000)
    assert (pte["pc"], pte["atomic"]) == (0xFFFFFFFF81000000, True)
    flush = trace.flushes.iloc[0]
    assert (flush["op"], flush["start"], flush["end"]) == ("TLBI_RANGE", 0x400000, 0x402000)
    assert (flush["asid"], flush["ttl"], flush["leaf"], flush["local"]) == (5, 3, True, False)
    root = trace.roots.iloc[0]
    assert (root["reg"], root["root"], root["before"]) == ("CR3", 0x3000, 0x1000)
    watches = trace.watches.iloc[:2]
    assert watches["watch"].tolist() == ["MMAP_LOCK", "MMAP_LOCK"]
    assert watches[["init", "old", "new"]].to_numpy().tolist() == [
        [True, 256, 256],
        [False, 256, 0],
    ]


def test_delays(trace: Trace) -> None:
    row = trace.delays.iloc[0]
    assert row[["point", "asked", "took", "arrival", "va"]].tolist() == [
        3,
        20000,
        20100,
        7,
        0x401000,
    ]


def test_user_side(trace: Trace) -> None:
    assert trace.returns["result"].tolist() == [-14]
    assert trace.faults["va"].tolist() == [0x400123]
    marks = trace.marks
    assert marks["mark"].tolist() == ["THREAD", "ITER"]
    assert marks["text"].tolist() == ["observer1", ""]
    row = trace.observations.iloc[0]
    assert (row["va"], row["pa"], row["repeats"], row["store"]) == (0x400000, 0x7000, 99, True)


def test_locks_are_decoded(trace: Trace) -> None:
    (row,) = trace.locks.to_dict("records")
    assert (row["move"], row["lock"]) == ("read_release", 0xFFFF888000005000)
    assert (row["old"], row["new"], row["readers"], row["cpu"]) == (0x100, 0, 0, 1)


def test_holds_of_page_table_locks(trace: Trace) -> None:
    first, second = trace.ptls.to_dict("records")
    assert (first["lock"], first["own"], first["cpu"]) == (0x2000, True, 0)
    assert (first["task"], first["seq"]) == (0xFFFF888000001000, first["acquire"])
    assert (first["release"], first["release_pc"]) == (first["acquire"] + 1, 0xFFFFFFFF81000020)
    assert trace.ptls["release"].isna().tolist() == [False, True]
    assert second["release_icount"] == 0


def test_freed_frames_and_tables(trace: Trace) -> None:
    table, user = trace.pages.to_dict("records")
    assert (table["pa"], table["table"], table["leaf"]) == (0x2000, True, False)
    assert (table["freed_by"], table["allocated_by"]) == ("free_frozen_pages", "post_alloc_hook")
    assert (user["leaf"], user["table"]) == (True, False)
    assert trace.pages["allocated"].isna().tolist() == [False, True]
    (freed,) = trace.table_frees.to_dict("records")
    assert (freed["table"], freed["unlinked"] < freed["seq"]) == (0x2000, True)
    (walk,) = trace.walkers.to_dict("records")
    assert walk["end"] == walk["seq"] + 1


@pytest.mark.parametrize("name", ALL)
def test_columns_have_the_types_that_are_documented(
    trace: Trace, tmp_path: Path, name: str
) -> None:
    empty = Trace(write(parse("0 ARMED"), tmp_path / "empty"))
    assert getattr(empty, name).empty
    if not ALL[name].group:  # those of event groups are filled by a real guest's events
        assert not getattr(trace, name).empty
    for frame in (getattr(empty, name), getattr(trace, name)):
        columns = {column: dtype.name for column, dtype in frame.dtypes.items()}
        assert columns == {column.name: column.dtype for column in ALL[name].columns}
        assert list(frame)[:4] == ["seq", "icount", "pc", "cpu"]


def test_names_are_the_same_categories_in_every_trace(trace: Trace, tmp_path: Path) -> None:
    text = "0 ARMED\n0 FLUSH id=CR4_WRITE\n0 FLUSH id=99"
    other = Trace(write(parse(text), tmp_path / "other")).flushes["op"]
    assert other.tolist() == ["CR4_WRITE", "99"]
    assert list(other.cat.categories) == [*trace.flushes["op"].cat.categories, "99"]


def test_a_frame_is_a_copy(trace: Trace) -> None:
    before = trace.ptes["va"].tolist()
    trace.ptes["va"] = np.uint64(0)
    del trace.ptes
    assert trace.ptes["va"].tolist() == before


def test_shootdowns_are_joined(trace: Trace) -> None:
    request, handler = trace.flush_requests.iloc[0], trace.shootdowns.iloc[0]
    assert (request["shift"], request["freed_tables"], request["interrupts"]) == (12, True, 1)
    assert (handler["generation"], handler["initiator"], handler["remote"]) == (7, 0, True)
    assert handler["request"] == request["seq"]
    assert handler["seq"] < handler["end_seq"] < request["end_seq"]


def test_asids(trace: Trace) -> None:
    (row,) = trace.asids[["mm", "asid", "generation"]].to_numpy().tolist()
    assert row == [0xFFFF888000005000, 0x42, 3]


def test_the_operation_of_an_event(tmp_path: Path) -> None:
    body = """
        0 ENTER id=do_mmap a=0x9000
        0 PTE_WRITE d=0x1000 c=1 level=1
        0 EXIT id=do_mmap a=0x9000
        0 PTE_WRITE d=0x2000 c=1 level=1
    """
    made = Trace(write(parse(body), tmp_path))
    assert made.operation(made.ptes).tolist() == ["do_mmap", ""]
