"""Page faults put together, from events written by hand."""

from __future__ import annotations

from shootdown.arch.x86_64 import fault as x86_64
from shootdown.model.faults import Attempt, Fault, Faults, faults
from shootdown.trace import text


def told(body: str) -> Faults:
    return faults(text.parse(body))


RETRIED = """
0 PROBE id=TASK_SWITCH a=0x1000
0 PROBE id=FAULT a=0x400123 b=6
0 ENTER id=do_user_addr_fault a=0x900 c=6 d=0x400123
0 ENTER id=lock_vma_under_rcu a=0x880
0 EXIT id=lock_vma_under_rcu a=0x880 b=0x6000
0 ENTER id=handle_mm_fault a=0x880 b=0x6000 c=0x400123 d=0x1255
0 PROBE id=TASK_SWITCH a=0x2000
0 ENTER id=handle_mm_fault a=0x5880 b=0x7000 c=0x500000 d=1
0 EXIT id=handle_mm_fault a=0x5880
0 PROBE id=TASK_SWITCH a=0x1000
1 PROBE id=TASK_SWITCH a=0x3000
0 EXIT id=handle_mm_fault a=0x880 b=0x400
0 ENTER id=lock_mm_and_find_vma a=0x880
0 EXIT id=lock_mm_and_find_vma a=0x880 b=0x6000
0 ENTER id=handle_mm_fault a=0x880 b=0x6000 c=0x400123 d=0x275
0 EXIT id=handle_mm_fault a=0x880 b=4
0 EXIT id=do_user_addr_fault a=0x900
"""


def test_a_fault_that_was_tried_twice() -> None:
    found = told(RETRIED)
    (fault,) = found.faults
    assert (fault.va, fault.task, fault.vma, fault.worked) == (0x400123, 0x1000, 0x6000, True)
    assert fault.access == (True, True, False)
    assert fault.tries == [("vma", True), ("mmap", True)]
    assert [(a.flags, a.result) for a in fault.attempts] == [(0x1255, 0x400), (0x275, 4)]
    assert fault.end > fault.attempts[-1].end > 0
    assert found.unpaired == 0


def test_an_attempt_of_another_task_belongs_to_no_fault() -> None:
    other = told(RETRIED).attempts[1]
    assert (other.task, other.fault, other.vma) == (0x2000, 0, 0x7000)


def test_a_refused_fault() -> None:
    (fault,) = told("""
        0 PROBE id=FAULT a=0x400123 b=0x92000007
        0 ENTER id=do_page_fault a=0x900 b=0x400123 c=0x92000007
        0 ENTER id=lock_vma_under_rcu a=0x880
        0 EXIT id=lock_vma_under_rcu a=0x880
        0 EXIT id=do_page_fault a=0x900
    """).faults
    assert (fault.tries, fault.attempts, fault.vma) == ([("vma", False)], [], 0)
    assert fault.access == (False, True, False)


def test_every_missing_record_shows() -> None:
    lines = RETRIED.strip().splitlines()
    for number, line in enumerate(lines):
        if "ENTER" in line or "EXIT" in line:
            assert told("\n".join(lines[:number] + lines[number + 1 :])).unpaired > 0, line


def test_a_fault_within_a_fault() -> None:
    found = told("""
        0 PROBE id=FAULT a=0x400000
        0 ENTER id=do_user_addr_fault a=0x900 d=0x400000
        0 PROBE id=FAULT a=0x500000
        0 ENTER id=do_user_addr_fault a=0x700 d=0x500000
        0 ENTER id=handle_mm_fault a=0x680 c=0x500000
        0 EXIT id=handle_mm_fault a=0x680
        0 EXIT id=do_user_addr_fault a=0x700
        0 ENTER id=handle_mm_fault a=0x880 c=0x400000
        0 EXIT id=handle_mm_fault a=0x880
        0 EXIT id=do_user_addr_fault a=0x900
    """)
    assert found.unpaired == 0
    assert [[a.va for a in fault.attempts] for fault in found.faults] == [[0x400000], [0x500000]]


INLINED = """
0 PROBE id=TASK_SWITCH a=0x1000
0 PROBE id=FAULT a=0x400123 b=6
0 ENTER id=exc_page_fault a=0x900 b=0x950 c=6
0 ENTER id=lock_vma_under_rcu a=0x880
0 EXIT id=lock_vma_under_rcu a=0x880
0 ENTER id=irqentry_exit a=0x700 b=0x750
0 EXIT id=irqentry_exit a=0x700
0 ENTER id=lock_mm_and_find_vma a=0x880
0 EXIT id=lock_mm_and_find_vma a=0x880 b=0x6000
0 ENTER id=handle_mm_fault a=0x880 b=0x6000 c=0x400123 d=0x1255
0 EXIT id=handle_mm_fault a=0x880
0 ENTER id=irqentry_exit a=0x880 b=0x950
0 ENTER id=handle_mm_fault a=0x800 b=0x7000 c=0x500000 d=1
0 EXIT id=handle_mm_fault a=0x800
0 EXIT id=irqentry_exit a=0x880
0 EXIT id=exc_page_fault a=0x900
"""
"""do_user_addr_fault() inlined; an interrupt in between, and GUP on the way back to user mode."""


def test_a_fault_whose_work_is_inlined_into_its_handler() -> None:
    found = told(INLINED)
    (fault,) = found.faults
    assert (fault.va, fault.code, fault.worked, fault.vma) == (0x400123, 6, True, 0x6000)
    assert fault.tries == [("vma", False), ("mmap", True)]
    assert [attempt.fault for attempt in found.attempts] == [fault.seq, 0]
    assert found.attempts[0].end < fault.end < found.attempts[1].seq
    assert found.unpaired == 0


def test_without_the_call_that_ends_it_the_handler_s_end_is_the_fault_s() -> None:
    lines = [line for line in INLINED.splitlines() if "irqentry_exit" not in line]
    found = told("\n".join(lines))
    assert found.faults[0].end > found.attempts[-1].end
    assert found.unpaired == 0


def test_an_end_that_is_missing_shows() -> None:
    lines = INLINED.strip().splitlines()
    for number, line in enumerate(lines):
        if "ENTER id=exc" not in line and "EXIT id=exc" not in line and "PROBE" not in line:
            assert told("\n".join(lines[:number] + lines[number + 1 :])).unpaired > 0, line


def test_a_fault_on_a_kernel_address_is_not_worked_on() -> None:
    found = told("""
        0 PROBE id=FAULT a=0xffffc90000000000 b=2
        0 ENTER id=exc_page_fault a=0x900 b=0x950 c=2
        0 ENTER id=irqentry_exit a=0x880 b=0x950
        0 EXIT id=irqentry_exit a=0x880
        0 EXIT id=exc_page_fault a=0x900
    """)
    assert [fault.worked for fault in found.faults] == [False]
    assert found.unpaired == 0


def test_where_the_work_is_a_function_of_its_own_the_handler_does_none() -> None:
    found = told("""
        0 PROBE id=FAULT a=0x400123 b=6
        0 ENTER id=exc_page_fault a=0xa00 b=0xa50 c=6
        0 ENTER id=do_user_addr_fault a=0x900 c=6 d=0x400123
        0 EXIT id=do_user_addr_fault a=0x900
        0 PROBE id=FAULT a=0x400123 b=6
        0 ENTER id=exc_page_fault a=0xa00 b=0xa50 c=6
        0 EXIT id=exc_page_fault a=0xa00
    """)
    assert [fault.worked for fault in found.faults] == [True, False]
    assert found.unpaired == 0


def test_all_that_is_known_of_a_fault() -> None:
    found = told("""
        3 PROBE id=TASK_SWITCH a=0x1000
        3 PROBE id=FAULT a=0x400123 b=6 icount=50 pc=0x123
        3 ENTER id=do_user_addr_fault a=0x900 c=0x17 d=0x400124
        3 ENTER id=handle_mm_fault a=0x880 b=0x6000 c=0x400123 d=0x1255 icount=60 pc=0x456
        3 EXIT id=handle_mm_fault a=0x880 b=0x500000400
        3 EXIT id=do_user_addr_fault a=0x900
    """)
    attempt = Attempt(
        seq=4,
        icount=60,
        pc=0x456,
        cpu=3,
        task=0x1000,
        vma=0x6000,
        va=0x400123,
        flags=0x1255,
        sp=0x880,
        fault=2,
        end=5,
        result=0x400,
    )
    fault = Fault(
        seq=2,
        icount=50,
        pc=0x123,
        cpu=3,
        task=0x1000,
        va=0x400124,
        code=0x17,
        end=6,
        sp=0x900,
        regs=0,
        worked=True,
        access=x86_64.access(0x17),
        vma=0x6000,
        tries=[],
        attempts=[attempt],
    )
    assert (found.faults, found.attempts, found.unpaired) == ([fault], [attempt], 0)


def test_a_handler_that_has_not_gone_on() -> None:
    (fault,) = told("3 PROBE id=FAULT a=0x400123 b=6").faults
    assert (fault.va, fault.code, fault.worked, fault.end) == (0x400123, 6, False, 0)
    assert fault.access == (False, False, False)


PROBE = "0 PROBE id=FAULT a=0x400000\n"
WORK, DONE = "0 ENTER id=do_user_addr_fault a={}\n", "0 EXIT id=do_user_addr_fault a={}\n"
TRY, TRIED = "0 ENTER id=handle_mm_fault a={}\n", "0 EXIT id=handle_mm_fault a={}\n"


def test_ends_and_beginnings_that_have_none() -> None:
    def unpaired(body: str) -> int:
        assert told(body * 3).unpaired >= told(body).unpaired
        return told(body).unpaired

    assert unpaired(PROBE + WORK.format(9) + DONE.format(9)) == 0
    assert unpaired(DONE.format(9)) == 1
    assert unpaired(DONE.format(9) * 2) == 2
    assert unpaired(WORK.format(9)) == 1
    assert unpaired(WORK.format(9) * 2) == 2
    assert unpaired(PROBE + WORK.format(9)) == 1
    assert unpaired(PROBE + WORK.format(9) + DONE.format(10)) == 2
    assert unpaired(PROBE + WORK.format(9) + DONE.format(8)) == 2
    nested = PROBE + WORK.format(9) + PROBE + WORK.format(8)
    assert unpaired(nested) == 2
    assert unpaired(nested + DONE.format(9)) == 1
    assert unpaired(nested + DONE.format(10)) == 3
    assert unpaired(TRY.format(9) + TRIED.format(9)) == 0
    assert unpaired(TRY.format(9)) == 1
    assert unpaired(TRIED.format(9)) == 1
    assert unpaired(TRIED.format(9) * 2) == 2
    assert unpaired(TRY.format(9) * 2 + TRIED.format(9)) == 1
    assert unpaired(TRY.format(9) * 3 + TRIED.format(9)) == 2


def test_a_lock_that_found_nothing_leaves_the_vma_as_it_was() -> None:
    lock = "0 ENTER id=lock_mm_and_find_vma a=0x880\n0 EXIT id=lock_mm_and_find_vma a=0x880 b={}\n"
    (fault,) = told(PROBE + WORK.format(9) + lock.format("0x6000") + lock.format(0)).faults
    assert (fault.vma, fault.tries) == (0x6000, [("mmap", True), ("mmap", False)])


def test_locks_outside_of_any_fault() -> None:
    """GUP takes mmap_lock, too; a userfault looks for the VMA under its lock."""
    found = told("0 ENTER id=lock_vma_under_rcu a=8\n0 EXIT id=lock_vma_under_rcu a=8 b=0x6000\n")
    assert (found.faults, found.attempts, found.unpaired) == ([], [], 0)


def test_a_second_probe_takes_the_place_of_the_first() -> None:
    again = PROBE.replace("0x400000", "0x500000")
    first, second = told(PROBE + again + WORK.format(9)).faults
    assert (first.worked, second.worked) == (False, True)
