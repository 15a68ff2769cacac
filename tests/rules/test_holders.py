"""CPUs that may hold an entry, as they were when it was found: by both checkers."""

from shootdown.rules.check import check
from shootdown.rules.feed import FAST, REFERENCE
from shootdown.rules.violation import Holder
from shootdown.trace.functions import Function
from tests.rules.corpus import CORPUS, TextTrace

STACK = 0xFFFFC90000000000
MADVISE, ZAP = int(Function.do_madvise), int(Function.zap_page_range_single)
MUNMAP = """
0 PROBE id=SYSCALL a=11 b=0x400000 c=0x1000 flags=MORE
0 PROBE_MORE id=SYSCALL
0 PTE_WRITE a=0x13000 b=0x50067 d=0x400000 level=1
0 FLUSH id=INVLPG a=0x400000 b=0x401000 flags=LOCAL
"""


def found(text: str) -> list[tuple[int, str, tuple[Holder, ...]]]:
    """Of each finding the CPU and the task that stored, and the holders."""
    reports = [check(TextTrace("x86_64", text), how=how).violations for how in (FAST, REFERENCE)]
    assert reports[0] == reports[1]
    return [(one.cpu, one.task, one.holders) for one in reports[0]]


def test_deadline_that_passes_while_another_cpu_is_in_the_kernel():
    text = f"""
1 PROBE id=TASK_SWITCH a=0x300 b=102 c=100 d=0xffff888000aa0000 flags=MORE
1 PROBE_MORE id=TASK_SWITCH a=0x72657375 c={STACK:#x}
{MUNMAP}
1 ENTER id=do_madvise a={STACK + 0x3000:#x}
1 ENTER id=zap_page_range_single a={STACK + 0x2F00:#x}
0 RET_USER a=0
1 EXIT id=zap_page_range_single a={STACK + 0x2F00:#x}
1 EXIT id=do_madvise a={STACK + 0x3000:#x}
1 RET_USER
"""
    assert found(text) == [(0, "mapper/100", (Holder(1, "user/102", (MADVISE, ZAP)),))]


def test_access_is_by_whoever_runs_then():
    text = f"""{MUNMAP}
0 RET_USER a=0
1 PROBE id=TASK_SWITCH a=0x300 b=102 c=100 d=0xffff888000aa0000 flags=MORE
1 PROBE_MORE id=TASK_SWITCH a=0x72657375 c={STACK:#x}
1 RET_USER
1 OBS a=0x400010 b=0x50010 size=8
"""
    assert found(text) == [
        (0, "mapper/100", (Holder(1, "observer/101", ()),)),
        (0, "mapper/100", (Holder(1, "user/102", ()),)),
    ]


def test_store_that_is_the_deadline():
    """There the fast checker has left out what the other CPU is inside of."""
    text = (CORPUS / "flush-deadline/bad_d13_in_place.trace").read_text()
    store = "0 PTE_WRITE a=0x12018 b=0x6000e7"
    inside = "1 ENTER id=do_madvise a=0x9e00\n"
    behind = "1 EXIT id=do_madvise a=0x9e00\n1 RET_USER\n0 FLUSH"
    text = text.replace(store, inside + store).replace("0 FLUSH", behind, 1)
    (one,) = found(text)
    assert one[2][-1] == Holder(1, "observer/101", (MADVISE,))
