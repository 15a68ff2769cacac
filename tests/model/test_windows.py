"""Windows and what observers saw, on the corpus' two CPUs."""

import gc

from shootdown.model.entries import Call, Stale, Superseded
from shootdown.model.machine import Machine
from shootdown.model.windows import Windows
from shootdown.rules.check import CheckReport, check
from shootdown.rules.panel import Panel
from shootdown.trace.text import parse
from tests.rules.corpus import CORPUS, TextTrace

MAP_FIXED = """\
0 PROBE id=SYSCALL a=9 b=0x400000 c=0x1000 d=3 flags=MORE
0 PROBE_MORE id=SYSCALL a=0x32
"""
GONE = "0 PTE_WRITE a=0x13000 b=0x50067 d=0x400000 level=1 icount=1000\n"
FLUSH0 = "0 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL icount=1001\n"
RETURN = "0 RET_USER a=0x400000 icount=2000\n"


def flush1(icount: int) -> str:
    return f"1 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL icount={icount}\n"


def run(lines: str) -> CheckReport:
    return check(TextTrace("x86_64", lines))


def windows(lines: str) -> Windows:
    (only,) = run(lines).windows
    return only


def test_length_is_from_the_store_to_the_flush():
    window = windows(MAP_FIXED + GONE + FLUSH0 + flush1(1500) + RETURN)
    assert window.operation == "mmap(MAP_FIXED)"
    assert (window.lengths, window.replacements, window.own) == ([500], 1, 1)
    assert (window.count, window.closed, window.outlived, window.deferred) == (1, 1, 0, 0)


def test_outlived_the_return():
    window = windows(MAP_FIXED + GONE + FLUSH0 + RETURN + flush1(2500))
    assert (window.lengths, window.closed, window.outlived) == ([1500], 0, 1)


def test_open_at_the_end():
    window = windows(MAP_FIXED + GONE + FLUSH0 + RETURN)
    assert (window.lengths, window.outlived, window.unfinished) == ([], 1, 1)


def test_lazy_cpu_is_deferred_and_has_no_length():
    window = windows(
        "1 WATCH id=IS_LAZY c=1 d=1\n" + MAP_FIXED + GONE + FLUSH0 + RETURN + flush1(9)
    )
    assert (window.lengths, window.deferred, window.closed, window.outlived) == ([], 1, 0, 0)


def test_failed_mprotect_that_restores_replaces_nothing():
    mprotect = (
        "0 PROBE id=SYSCALL a=10 b=0x400000 c=0x1000 d=1 flags=MORE\n0 PROBE_MORE id=SYSCALL\n"
    )
    back = "0 PTE_WRITE a=0x13000 c=0x50067 d=0x400000 level=1\n"
    window = windows(mprotect + GONE + back + "0 RET_USER")
    assert (window.replacements, window.count) == (0, 0)


def test_alias_begins_with_the_new_page():
    new = "0 PTE_WRITE a=0x13000 c=0x60067 d=0x400000 level=1 icount=1200\n"
    assert windows(MAP_FIXED + GONE + FLUSH0 + new + flush1(1500) + RETURN).aliased == [300]
    assert windows(MAP_FIXED + GONE + FLUSH0 + flush1(1500) + new + RETURN).aliased == []


def test_same_page_again_is_no_alias():
    same = "0 PTE_WRITE a=0x13000 c=0x50065 d=0x400000 level=1 icount=1200\n"
    assert windows(MAP_FIXED + GONE + FLUSH0 + same + flush1(1500) + RETURN).aliased == []


def test_frame_becomes_a_page_elsewhere():
    reuse = "1 PTE_WRITE a=0x13040 c=0x50067 d=0x408000 level=1\n"
    assert windows(MAP_FIXED + GONE + FLUSH0 + reuse + flush1(1500) + RETURN).reused == 1
    assert windows(MAP_FIXED + GONE + FLUSH0 + flush1(1500) + reuse + RETURN).reused == 0


def test_frame_becomes_a_table():
    reuse = "1 TABLE_LINK a=0x12018 b=0x50000 c=0x600000 d=0x10000 level=1\n"
    assert windows(MAP_FIXED + GONE + FLUSH0 + reuse + flush1(1500) + RETURN).reused == 1


def test_frame_that_was_shared_is_not_reused():
    shared = "1 PTE_WRITE a=0x13040 c=0x50067 d=0x408000 level=1\n"
    more = "1 PTE_WRITE a=0x13048 c=0x50067 d=0x409000 level=1\n"
    assert windows(shared + MAP_FIXED + GONE + FLUSH0 + more + flush1(1500) + RETURN).reused == 0


def test_mremap_moves_and_does_not_reuse():
    mremap = (
        "0 PROBE id=SYSCALL a=25 b=0x400000 c=0x1000 d=0x1000 flags=MORE\n0 PROBE_MORE id=SYSCALL\n"
    )
    moved = "0 PTE_WRITE a=0x13040 c=0x50067 d=0x408000 level=1\n"
    window = windows(mremap + GONE + moved + FLUSH0 + flush1(1500) + "0 RET_USER a=0x408000")
    assert (window.closed, window.reused) == (1, 0)


def test_percentiles_are_lengths_that_occurred():
    window = Windows("munmap", lengths=list(range(1, 201)))
    assert (window.percentile(50), window.percentile(99), window.longest) == (100, 198, 200)
    assert Windows("munmap").percentile(99) == 0
    assert Windows("munmap", lengths=[7]).percentile(50) == 7


OLD = "1 OBS a=0x400010 b=0x50010 size=8\n"
NEW = "1 OBS a=0x400010 b=0x60010 size=8\n"
FAULT = "1 PROBE id=FAULT a=0x400010 b=4\n"
NAME = "1 MARK id=THREAD a=0x6579 b=0\n"  # "ye"


def seen(lines: str) -> dict[str, int]:
    return run(lines).observers.get("mmap(MAP_FIXED)", {}).get("ye", {})


def test_observer_sees_old_then_stale_then_a_fault_then_new():
    new = "1 PTE_WRITE a=0x13000 c=0x60067 d=0x400000 level=1\n"
    lines = NAME + MAP_FIXED + OLD + GONE + OLD + OLD + FLUSH0 + flush1(5) + FAULT + new + NEW
    # The first access after the store may be older than the store: it counts as old.
    assert seen(lines + RETURN) == {"old": 2, "stale": 1, "fault": 1, "new": 1}


def test_observer_outside_of_the_call_or_the_range_is_not_counted():
    other = "1 OBS a=0x401010 b=0x51010 size=8\n"
    assert seen(NAME + OLD + MAP_FIXED + other + GONE + FLUSH0 + flush1(5) + RETURN + FAULT) == {}


def test_page_that_came_before_the_call_took_anything_is_old():
    first = "0 PTE_WRITE a=0x13018 d=0x403000 level=1 c=0x53067\n"
    call = MAP_FIXED.replace("0x400000", "0x403000")
    access = "1 OBS a=0x403010 b=0x53010 size=8\n"
    assert seen(NAME + call + first + access + RETURN) == {"old": 1}


def test_page_that_is_back_with_other_rights_is_old():
    back = "0 PTE_WRITE a=0x13000 c=0x50065 d=0x400000 level=1\n"
    assert seen(NAME + MAP_FIXED + GONE + back + OLD + OLD + RETURN) == {"old": 2}


def test_cpu_that_went_lazy_sees_no_alias():
    busy = "1 PROBE id=FAULT a=0x700000 b=4\n"  # not lazy before this
    lazy = "1 WATCH id=IS_LAZY c=1 d=1\n"
    new = "0 PTE_WRITE a=0x13000 c=0x60067 d=0x400000 level=1 icount=1200\n"
    window = windows(MAP_FIXED + GONE + FLUSH0 + busy + lazy + new + flush1(1500) + RETURN)
    assert (window.closed, window.aliased) == (1, [])


def test_narrowed_page_that_is_mapped_elsewhere_is_not_reused():
    narrowed = GONE.replace("d=", "c=0x50065 d=")
    elsewhere = "1 PTE_WRITE a=0x13040 c=0x50065 d=0x408000 level=1\n"
    window = windows(MAP_FIXED + narrowed + FLUSH0 + elsewhere + flush1(1500) + RETURN)
    assert (window.closed, window.reused) == (1, 0)


def killed(pid: int) -> str:
    """A task that dies in munmap: it never returns, and its address space goes."""
    gone = f"""\
0 PROBE id=TASK_SWITCH a=0x100 b={pid} c={pid} d=0xffff888000aa0000 flags=MORE
0 PROBE_MORE id=TASK_SWITCH a=0x72657070616d
0 PROBE id=SYSCALL a=11 b=0x400000 c=0x1000 flags=MORE
0 PROBE_MORE id=SYSCALL
{GONE}0 ROOT_LOAD id=CR3 a=0x90000 b=0x90000
1 ROOT_LOAD id=CR3 a=0x90000 b=0x90000
0 ROOT_FORGET b=0x10000
"""
    preamble = (CORPUS / "preamble_x86_64.trace").read_text()
    return preamble + gone


def test_nothing_is_kept_of_tasks_that_were_killed():
    def kept(tasks: int) -> int:
        machine = Machine("x86_64")
        panel = Panel(machine, "wilcox", lambda rule: "")
        machine.run(parse("".join(killed(pid) for pid in range(1, tasks + 1))))
        assert panel.observers.seen == {}
        gc.collect()
        return sum(isinstance(o, (Call, Superseded, Stale)) for o in gc.get_objects())

    assert kept(9) == kept(3)


def test_a_call_that_goes_on_is_not_taken_for_another():
    """Its first windows close, and others open."""
    again = GONE.replace("0x13000 b=0x50067 d=0x400000", "0x13008 b=0x51067 d=0x401000")
    other = flush1(1500).replace("0x400000 b=0x401000", "0x401000 b=0x402000")
    call = MAP_FIXED.replace("c=0x1000", "c=0x2000")
    window = windows(call + GONE + FLUSH0 + flush1(1200) + again + RETURN + other)
    assert (window.closed, window.outlived, window.unfinished) == (1, 1, 0)
