import numpy as np

from shootdown import arch
from shootdown.model.stream import whole
from shootdown.model.thin import Thin
from shootdown.trace.functions import Function
from shootdown.trace.text import parse

MM = "d=0xffff888000aa0000"
OTHER = "d=0xffff888000bb0000"


def left_out(text: str) -> list[int]:
    """Places of the lines that are left out, where tlb_gather_mmu is heard of."""
    events = parse(text)
    wanted = np.ones(len(events), np.bool_)
    thin = Thin(arch.get("x86_64"), 14, [Function.tlb_gather_mmu])
    thin.begin(whole(events))
    kept = thin(0, events, wanted)
    return np.flatnonzero(~kept).tolist()


def test_table_lock_behind_a_quiet_hold():
    take, leave = "0 WATCH id=PTL b=0 c=1 d=0x13000", "0 WATCH id=PTL b=1 c=0 d=0x13000"
    store = "0 PTE_WRITE a=0x13000 b=0x50067 d=0x400000 level=1"
    fill = "0 PTE_WRITE a=0x13000 c=0x50067 d=0x400000 level=1"
    assert left_out("\n".join((take, leave, take, leave))) == [1, 2, 3]
    assert left_out("\n".join((take, store, leave, take, leave))) == [3, 4]
    assert left_out("\n".join((take, fill, leave))) == [2]
    another = take.replace("0x13000", "0x14000")
    assert left_out("\n".join((take, store, another, leave))) == [3]


def test_readers_of_an_mmap_lock():
    come, go = f"0 WATCH id=MMAP_LOCK b=0 c=0x100 {MM}", f"0 WATCH id=MMAP_LOCK b=0x100 c=0 {MM}"
    assert left_out("\n".join((come, go, come, go))) == [1, 2, 3]
    switch = "0 PROBE id=TASK_SWITCH a=0x100"
    assert left_out("\n".join((come, switch, go, come))) == [3]
    heard = "0 ENTER id=tlb_gather_mmu a=0x9000"
    assert left_out("\n".join((come, heard, go, come))) == [3]
    assert not left_out("\n".join((come, go.replace(MM, OTHER))))


def test_writers_of_an_mmap_lock_stay():
    take, down = f"0 WATCH id=MMAP_LOCK b=0 c=1 {MM}", f"0 WATCH id=MMAP_LOCK b=1 c=0x100 {MM}"
    go, come = f"0 WATCH id=MMAP_LOCK b=0x100 c=0 {MM}", f"0 WATCH id=MMAP_LOCK b=0 c=0x100 {MM}"
    assert left_out("\n".join((take, down, go, come, go))) == [3, 4]


def test_counts_of_a_vma():
    text = [f"0 WATCH id=VMA_REFCNT b={b} c={c} d=0x660000 size=4" for b, c in ((1, 2), (1, 0))]
    assert left_out("\n".join(text)) == [0, 1]
    excluded = 1 << 30
    born = [f"0 WATCH id=VMA_REFCNT b={b} c=1 d=0x660000 size=4" for b in (0, excluded)]
    assert not left_out("\n".join(born))


def test_calls_that_somebody_hears_of_stay():
    call = "0 {} id={} a=0x9000"
    text = [
        *(call.format("ENTER", "tlb_gather_mmu"), call.format("EXIT", "tlb_gather_mmu")),
        *(call.format("ENTER", "unmap_vmas"), call.format("EXIT", "unmap_vmas"), "0 RET_USER"),
    ]
    assert left_out("\n".join(text)) == [2, 3]
