"""Every entry of the tables that rules go by decides something.

A trace of the corpus stands for each kind of thing; here the others take its place in it. So each
system call and each function that a rule names has a trace that is judged by it.
"""

from __future__ import annotations

import pytest

from shootdown.arch import get
from shootdown.model.listener import Listener
from shootdown.model.syscalls import operation
from shootdown.rules import panel
from shootdown.rules.base import Rule
from shootdown.rules.check import RULES, check
from shootdown.rules.deadline_functions import row_of
from shootdown.rules.feed import FAST, REFERENCE
from shootdown.rules.violation import Violation
from shootdown.trace.functions import Function
from tests.rules.corpus import CORPUS, TextTrace, cases, judged


def found(name: str, *changes: tuple[str, str]) -> list[Violation]:
    """What is found in a trace of the corpus with some of its text changed."""
    text = (CORPUS / f"{name}.trace").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    arch = text.partition("# arch: ")[2].split(maxsplit=1)[0]
    rule = name.partition("/")[0]
    return [one for one in check(TextTrace(arch, text)).violations if one.rule == rule]


def number(arch: str, name: str) -> int:
    return get(arch).kernel.syscalls[name]


ROWS = {
    "D3": ("vms_complete_munmap_vmas", "do_vmi_align_munmap", "do_mas_munmap"),
    "D4": ("mmap_region", "__mmap_region"),
    "D5": ("do_mprotect_pkey", "mprotect_fixup"),
    "D6": ("copy_page_range",),
    "D7": ("move_page_tables",),
    "D8": (
        *("ptep_clear_flush", "page_vma_mkclean_one", "do_wp_page", "hugetlb_fault"),
        *("try_to_merge_one_page", "write_protect_page", "replace_page", "uprobe_write_opcode"),
        *("move_pages", "move_pages_ptes", "move_pages_huge_pmd"),
    ),
    "D11": ("try_to_unmap_one",),
    "D12": ("try_to_migrate_one",),
    "D13": ("__split_huge_pmd",),
    "D14": ("pmdp_collapse_flush", "collapse_pte_mapped_thp"),
    "D15": ("change_protection",),
    "D16": ("unmap_mapping_range", "unmap_mapping_folio"),
    "D18": ("huge_pmd_unshare", "__huge_pmd_unshare", "hugetlb_unshare_pmds"),
    "D19": ("do_madvise",),
    "D21": ("exit_mmap",),
}
"""Which deadline holds for what a function takes away, by the function."""


def row(*functions: str, level: int = 1) -> str:
    """The row of an entry taken away inside of functions, the outermost first."""
    of = row_of(tuple(int(Function[name]) for name in functions), level)
    return of.id if of else ""


@pytest.mark.parametrize(("name", "functions"), ROWS.items(), ids=list(ROWS))
def test_the_row_of_a_function(name: str, functions: tuple[str, ...]) -> None:
    for function in functions:
        assert row(function) == row("handle_mm_fault", function, "unmap_page_range") == name


def test_the_innermost_function_counts() -> None:
    assert row("do_madvise", "try_to_unmap_one") == "D11"
    assert row("try_to_unmap_one", "ptep_clear_flush") == "D8"
    assert row("handle_mm_fault") == row() == ""


def test_what_is_done_within_another_operation() -> None:
    assert row("do_mprotect_pkey", "change_protection") == "D5"
    assert row("mprotect_fixup", "change_protection") == "D5"
    assert row("do_madvise", "change_protection") == "D15"
    assert row("mmap_region", "do_mas_munmap") == "D4"
    assert row("__mmap_region", "vms_complete_munmap_vmas") == "D4"
    assert row("mmap_region", "do_madvise") == "D19"
    assert row("exit_mmap", "try_to_unmap_one") == "D21"


@pytest.mark.parametrize("function", ["try_to_unmap_one", "try_to_migrate_one"])
def test_a_huge_page_is_split_on_the_way(function: str) -> None:
    assert [row(function, level=level) for level in (2, 3)] == ["D13", "D13"]
    assert row("do_madvise", level=2) == "D19"


@pytest.mark.parametrize("function", ["pageout", "swap_writeout", "shmem_writeout"])
def test_functions_that_write_dirty_pages_out(function: str) -> None:
    (violation,) = found("flush-deadline/bad_d11_written_out", ("id=pageout", f"id={function}"))
    assert violation.details["deadline"] == "the writing out of a page has begun"


@pytest.mark.parametrize("function", ["huge_pmd_unshare", "__huge_pmd_unshare"])
@pytest.mark.parametrize(
    "walk",
    [
        *("__unmap_hugepage_range", "change_protection", "move_page_tables"),
        *("try_to_unmap_one", "try_to_migrate_one", "hugetlb_unshare_pmds"),
    ],
)
def test_who_unshares_tables(function: str, walk: str) -> None:
    changes = ("id=huge_pmd_unshare", f"id={function}"), ("id=__unmap_hugepage_range", f"id={walk}")
    (violation,) = found("flush-deadline/bad_d18_return", *changes)
    assert violation.details["row"] == "D18"


OUTER, INNER = "id=do_vmi_align_munmap", "id=vms_complete_munmap_vmas"


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("do_vmi_align_munmap", "vms_complete_munmap_vmas"),
        ("__mmap_region", "vms_complete_munmap_vmas"),
        ("mmap_region", "do_mas_munmap"),
        ("do_madvise", "zap_page_range_single"),
        ("unmap_mapping_range", "zap_page_range_single"),
        ("unmap_mapping_folio", "zap_page_range_single"),
    ],
)
def test_a_dirty_page_of_a_file_wherever_it_is_zapped(outer: str, inner: str) -> None:
    changes = (OUTER, f"id={outer}"), (INNER, f"id={inner}")
    violations = found("flush-deadline/bad_d9_lock_before_flush", *changes)
    assert [one.details["row"] for one in violations] == ["D9"]


def test_a_dirty_page_of_a_file_in_any_gather() -> None:
    gather = "0 ENTER id=tlb_gather_mmu a=0x9ef0 b=0x8800 c=0xffff888000aa0000\n"
    changes = (
        (f"0 ENTER {OUTER}", f"{gather}0 ENTER id=unmap_vmas"),
        (OUTER, "id=unmap_vmas"),
        (INNER, "id=unmap_vmas"),
    )
    violations = found("flush-deadline/bad_d9_lock_before_flush", *changes)
    assert [one.details["row"] for one in violations] == ["D9"]


@pytest.mark.parametrize("call", ["write", "pwrite64", "writev"])
def test_calls_by_which_tracking_begins(call: str) -> None:
    change = "id=SYSCALL a=1 ", f"id=SYSCALL a={number('x86_64', call)} "
    (violation,) = found("flush-deadline/bad_d15_soft_dirty", change)
    assert violation.details["row"] == "D15"


@pytest.mark.parametrize("lock", ["PTL", "MM_PAGE_TABLE_LOCK"])
def test_either_lock_of_a_table_is_a_deadline(lock: str) -> None:
    (violation,) = found("flush-deadline/bad_d8_lock", ("id=PTL", f"id={lock}"))
    assert violation.details["deadline"] == "the page-table lock was given back"


@pytest.mark.parametrize("lock", ["PTL", "MM_PAGE_TABLE_LOCK"])
def test_what_was_stored_before_the_lock_was_taken_is_not_its_own(lock: str) -> None:
    taken = "0 WATCH id=PTL a=0x404e8 b=0 c=1 d=0x13000 size=1\n"
    early = "0 PTE_WRITE a=0x13008 b=0x51067 c=0x0 d=0x401000 level=1\n"
    changes = (taken, early + taken), ("id=PTL", f"id={lock}")
    (violation,) = found("flush-deadline/bad_d8_lock", *changes)
    assert (violation.va, violation.count) == (0x400000, 2)


@pytest.mark.parametrize(
    "call",
    [
        *("mmap", "munmap", "mprotect", "pkey_mprotect", "mremap", "brk", "shmat", "shmdt"),
        *("clone", "clone3", "execve", "execveat"),
    ],
)
def test_calls_that_hold_mmap_lock_to_write(call: str) -> None:
    change = "id=SYSCALL a=222 ", f"id=SYSCALL a={number('arm64', call)} "
    assert len(found("break-before-make/bad_e9_not_under_a_write_lock", change)) == 1


@pytest.mark.parametrize("call", ["madvise", "getpid", "fallocate"])
def test_calls_that_share_mmap_lock(call: str) -> None:
    known = get("arm64").kernel.syscalls
    change = "id=SYSCALL a=222 ", f"id=SYSCALL a={known.get(call, 47)} "
    assert found("break-before-make/bad_e9_not_under_a_write_lock", change) == []


@pytest.mark.parametrize("call", ["exit", "exit_group", "execve", "execveat"])
def test_calls_after_which_nobody_runs_there(call: str) -> None:
    change = "id=SYSCALL a=94 ", f"id=SYSCALL a={number('arm64', call)} "
    assert found("free-before-flush/good_e7_exit", change) == []


def test_other_calls_do_not_end_an_address_space() -> None:
    change = "id=SYSCALL a=94 ", f"id=SYSCALL a={number('arm64', 'munmap')} "
    assert len(found("free-before-flush/good_e7_exit", change)) == 1


PUT_BACK = "dead-vma-install/good_migration_entry_put_back"


@pytest.mark.parametrize(
    "function",
    [
        *("remove_migration_pte", "try_to_unmap_one", "try_to_migrate_one"),
        *("page_vma_mkclean_one", "write_protect_page", "replace_page"),
    ],
)
def test_entries_that_are_put_back_under_other_locks(function: str) -> None:
    assert found(PUT_BACK, ("id=remove_migration_pte", f"id={function}")) == []


def test_no_other_function_puts_entries_back() -> None:
    assert len(found(PUT_BACK, ("id=remove_migration_pte", "id=do_wp_page"))) == 1


FREED = "0 ENTER id=vm_area_free a=0x9000 b={}\n"


def test_memory_that_goes_back_later_is_of_no_vma_either() -> None:
    """From 6.4 to 6.14 vm_area_free_rcu_cb() runs behind vm_area_free()."""
    for name, base, count in (
        ("spurious-fault/good_freed", "0xffff000000660000", 0),
        ("dead-vma-install/bad_freed", "0xffff888000660000", 1),
    ):
        freed = FREED.format(base)
        late = freed + freed.replace("vm_area_free", "vm_area_free_rcu_cb")
        assert len(found(name)) == len(found(name, (freed, late))) == count


@pytest.mark.parametrize(
    "function", ["try_to_merge_one_page", "write_protect_page", "replace_page"]
)
def test_functions_of_ksm(function: str) -> None:
    changes = (
        ("id=try_to_merge_one_page", f"id={function}"),
        ("id=write_protect_page", f"id={function}"),
    )
    (violation,) = found("pinned-wrprotect/bad_ksm_read_only", *changes)
    assert violation.operation == "KSM"


def test_other_functions_are_not_ksm() -> None:
    changes = (
        ("id=try_to_merge_one_page", "id=do_madvise"),
        ("id=write_protect_page", "id=do_madvise"),
    )
    assert found("pinned-wrprotect/bad_ksm_read_only", *changes) == []


def test_fork_is_a_call_of_its_own_on_x86() -> None:
    change = "id=SYSCALL a=56 ", f"id=SYSCALL a={number('x86_64', 'fork')} "
    (violation,) = found("stale-after-return/bad_fork", change)
    assert violation.operation == "fork"
    assert operation(None) == ""


AHEAD = [rule for rule in RULES if rule.begun is not Listener.begun]


@pytest.mark.parametrize("rule", AHEAD, ids=lambda rule: rule.id)
def test_what_a_rule_looks_at_beforehand_is_enough(
    rule: type[Rule], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules are told of each other's events, too: alone, each must say the same."""
    mine = [case for case in cases() if case.rule == rule.id]
    expected = [case.run().rules[rule.id] for case in mine]
    monkeypatch.setattr(panel, "RULES", (rule,))
    alone = [judged(case).rules[rule.id] for case in mine]
    assert [one.exercised for one in alone] == [one.exercised for one in expected]
    assert [one.violations for one in alone] == [one.violations for one in expected]


def test_an_entry_whose_address_begins_within_a_page_is_of_two_pages():
    """No kernel writes such a trace; it is still taken at its word."""
    trace = """\
0 OBS a=0x400010 b=0x1010 size=8
0 PROBE id=SYSCALL a=11 b=0x400000 c=0x2000 flags=MORE
0 PROBE_MORE id=SYSCALL
0 PTE_WRITE a=0x13000 b=0x50067 c=0 d=0x400800 level=1
0 FLUSH id=INVLPG a=0x400000 b=0x402000 flags=LOCAL
1 FLUSH id=INVLPG a=0x400000 b=0x402000 flags=LOCAL
0 RET_USER
1 RET_USER
1 OBS a=0x401010 b=0x50010 size=8
"""
    for how in (FAST, REFERENCE):
        report = check(TextTrace("x86_64", trace), how=how)
        assert report.rules["stale-after-return"].witness == 1
