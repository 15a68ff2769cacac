import dataclasses

import numpy as np
import pytest

from shootdown.errors import UsageError
from shootdown.model.locks import Move
from shootdown.rules import document
from shootdown.rules.check import RULES, check
from shootdown.rules.scene import Scene, survey
from shootdown.trace.functions import Function
from shootdown.trace.schema import DTYPE, Kind, Probe, Watch
from shootdown.trace.text import parse
from tests.rules.corpus import CORPUS, Case, TextTrace, repeated

BAD = (CORPUS / "stale-after-return/bad_map_fixed_witness.trace").read_text()


def test_violation_says_everything():
    may, witness = check(TextTrace("x86_64", BAD)).violations
    assert (may.kind, witness.kind) == ("may", "witness")
    for violation in (may, witness):
        assert violation.rule == "stale-after-return"
        assert violation.arch == "x86_64"
        assert violation.mm == 0xFFFF888000AA0000
        assert violation.va == 0x400000
        assert violation.cpus == [1]
        assert violation.site == "mmap"
        assert violation.operation == "mmap(MAP_FIXED)"
        assert violation.pc == 0xFFFFFFFF81234560
        assert violation.task == "mapper/100"
        assert (violation.level, violation.before, violation.after) == (1, 0x50067, 0)
        assert violation.seq == sorted(violation.seq)
        assert "CPU 1" in violation.missing
    assert may.fingerprint != witness.fingerprint


def test_fingerprint_knows_no_addresses():
    moved = BAD.replace("0x13000", "0x13008").replace("0x400", "0x401").replace("0x50", "0x51")
    one, other = (check(TextTrace("x86_64", text)).violations for text in (BAD, moved))
    assert [v.va for v in one] != [v.va for v in other]
    assert [v.fingerprint for v in one] == [v.fingerprint for v in other]


def test_phase_of_a_violation():
    text = "0 MARK id=BEGIN a=0x6b726f77\n0 MARK id=BEGIN a=0x70657473\n" + BAD
    report = check(TextTrace("x86_64", text))
    assert {v.workload for v in report.violations} == {"work"}  # the outer one
    figures = report.rules["stale-after-return"].phases["work"]
    assert (figures.exercised, figures.may, figures.witness) == (1, 1, 1)


def test_phase_is_over():
    text = "0 MARK id=BEGIN a=0x6b726f77\n0 MARK id=END a=0x6b726f77\n" + BAD
    assert {v.workload for v in check(TextTrace("x86_64", text)).violations} == {""}


def test_many_findings_are_counted_and_some_described():
    report = check(repeated(150)).rules["stale-after-return"]
    assert (report.may, report.violations) == (150, 150)
    assert len(report.found) == 100
    assert list(report.times.values()) == [150]


def test_policy_arms_glisse():
    case = Case(CORPUS / "aliased-translation/bad_new_before_flush.trace")
    trace = TextTrace("x86_64", case.path.read_text())
    assert check(trace, "glisse").rules["aliased-translation"].armed
    tolerant = check(trace, "wilcox")
    assert not tolerant.rules["aliased-translation"].armed
    assert not tolerant.violations
    assert len(tolerant.windows[0].aliased) == 1


def test_unknown_policy_and_architecture():
    with pytest.raises(UsageError, match=r"^unknown policy 'linus': use one of wilcox, glisse$"):
        check(TextTrace("x86_64", BAD), "linus")
    with pytest.raises(UsageError, match="x86_64"):
        check(TextTrace("x86_64", BAD), arch="vax")


def test_trace_that_lacks_what_the_rules_need():
    class Nothing:
        arch = "arm64"

        def events(self):
            return np.zeros(0, DTYPE)

    report = check(Nothing())
    assert not any(rule.armed for rule in report.rules.values())
    assert not any(rule.exercised for rule in report.rules.values())


def test_flush_that_is_not_modelled_is_a_doubt():
    assert check(TextTrace("x86_64", BAD)).conclusive
    report = check(TextTrace("x86_64", BAD + "0 FLUSH id=INVPCID\n"))
    assert not report.conclusive
    assert report.coverage["flush:not modelled"] == 1
    assert report.coverage["flush:invpcid"] == 1


def test_noise_is_no_traceback():
    """Untrusted input: any bytes in any record end in a report."""
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 256, 20_000 * DTYPE.itemsize, dtype=np.uint8)
    events = raw.view(DTYPE).copy()
    events["kind"] = rng.integers(0, 32, len(events))
    events["cpu"] %= 4
    events["level"] %= 6
    events["id"] %= 24
    events["seq"] = np.arange(1, len(events) + 1)
    for field in "abcd":  # small values, so that records speak of the same things
        small = rng.integers(0, 2, len(events)) == 1
        events[field][small] %= 0x100000

    class Noise:
        def __init__(self, arch):
            self.arch = arch

        def events(self):
            return events

    for arch in ("x86_64", "arm64"):
        for policy in ("wilcox", "glisse"):
            check(Noise(arch), policy)


def test_document_is_up_to_date():
    assert document.PATH.read_text(encoding="utf-8") == document.document()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_a_text_and_references(rule):
    assert rule.title
    assert rule.reference
    assert "MAY" in rule.text
    assert "WITNESS" in rule.text


EVERYTHING = Scene(
    "x86_64",
    "glisse",
    frozenset(map(int, Kind)),
    frozenset(map(int, Watch)),
    frozenset(map(int, Function)),
    frozenset(map(int, Probe)),
)
ARM64 = dataclasses.replace(EVERYTHING, arch="arm64")
BY_ID = {rule.id: rule for rule in RULES}
BLIND = "the trace lacks what the rule needs"


def no(what: str) -> str:
    return f"the trace has no {what}: record it with --events"


def without(scene: Scene, *names: str) -> Scene:
    """The scene of a trace that lacks some things."""
    for name in names:
        for field, names_of in (("kinds", Kind), ("watches", Watch), ("functions", Function)):
            if name in names_of.__members__:
                left = getattr(scene, field) - {int(names_of[name])}
                scene = dataclasses.replace(scene, **{field: left})
    return scene


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_is_armed_by_a_trace_that_has_everything(rule):
    for scene in (EVERYTHING, ARM64):
        note = "" if scene.arch in rule.archs else f"about {', '.join(rule.archs)} only"
        assert rule.idle(scene) == note
    blind = dataclasses.replace(EVERYTHING, arch=rule.archs[0], probes=frozenset())
    assert rule.idle(blind) == BLIND


@pytest.mark.parametrize(
    ("rule", "lacks", "note"),
    [
        ("stale-after-return", "PTE_WRITE", BLIND),
        ("stale-after-return", "ROOT_LOAD", BLIND),
        ("stale-after-return", "RET_USER", BLIND),
        ("aliased-translation", "PTE_WRITE", BLIND),
        (
            "free-before-flush",
            "PAGE_FREED",
            "the trace does not tell when frames are freed: record it with --events pages",
        ),
        ("free-before-flush", "exit_mmap", no("exit_mmap")),
        ("free-before-flush", "ROOT_LOAD", BLIND),
        (
            "table-free-before-flush",
            "PAGE_FREED",
            "the trace does not tell when frames are freed: record it with --events pages",
        ),
        ("table-free-before-flush", "exit_mmap", ""),
        ("table-freed-under-walker", "PAGE_FREED", BLIND),
        ("table-freed-under-walker", "handle_mm_fault", no("handle_mm_fault")),
        ("table-freed-under-walker", "gup_fast", ""),
        ("flush-deadline", "tlb_finish_mmu", no("tlb_finish_mmu")),
        ("flush-deadline", "PTE_WRITE", BLIND),
        ("lazy-reactivation", "CPU_TLB_GEN", no("word CPU_TLB_GEN")),
        ("lazy-reactivation", "MM_TLB_GEN", no("word MM_TLB_GEN")),
        ("lazy-reactivation", "ROOT_LOAD", BLIND),
        ("lazy-reactivation", "PTE_WRITE", ""),
        ("pte-write-unlocked", "PTL", no("word PTL")),
        ("pte-write-unlocked", "MM_PAGE_TABLE_LOCK", ""),
        ("vma-write-unlocked", "VMA_START", no("word VMA_START")),
        ("vma-write-unlocked", "VMA_END", no("word VMA_END")),
        ("vma-write-unlocked", "VMA_FLAGS", no("word VMA_FLAGS")),
        ("vma-write-unlocked", "VMA_PAGE_PROT", no("word VMA_PAGE_PROT")),
        ("vma-write-unlocked", "MM_TREE", ""),
        ("vma-write-unlocked", "WATCH", BLIND),
        ("vma-write-unlocked", "PTE_WRITE", ""),
        ("dead-vma-install", "VMA_START", no("word VMA_START")),
        ("dead-vma-install", "handle_mm_fault", no("handle_mm_fault")),
        ("dead-vma-install", "unmap_vmas", no("unmap_vmas")),
        ("dead-vma-install", "PTE_WRITE", BLIND),
        ("spurious-fault", "VMA_START", no("word VMA_START")),
        ("spurious-fault", "VMA_DETACHED", ""),
        ("spurious-fault", "VMA_REFCNT", ""),
        ("pinned-wrprotect", "MM_WRITE_PROTECT_SEQ", no("word MM_WRITE_PROTECT_SEQ")),
        ("pinned-wrprotect", "handle_mm_fault", no("handle_mm_fault")),
        ("pinned-wrprotect", "STRUCT_PAGES", BLIND),
    ],
)
def test_what_a_rule_needs(rule, lacks, note):
    assert BY_ID[rule].idle(without(EVERYTHING, lacks)) == note


def test_what_several_things_make_up_for():
    lacks = without(EVERYTHING, "VMA_DETACHED", "VMA_REFCNT")
    note = "the kernel's VMAs do not say whether they are attached"
    assert BY_ID["spurious-fault"].idle(lacks) == note
    walkers = ("gup_fast_fallback", "internal_get_user_pages_fast", "gup_fast", "tlb_remove_table")
    lacks = without(EVERYTHING, *walkers, "__pte_offset_map", "tlb_remove_table_rcu")
    assert BY_ID["table-freed-under-walker"].idle(lacks) == no("walkers")
    for one in (*walkers, "__pte_offset_map", "tlb_remove_table_rcu"):
        has = dataclasses.replace(lacks, functions=lacks.functions | {int(Function[one])})
        assert BY_ID["table-freed-under-walker"].idle(has) == ""


def test_policies_judge_aliases_or_tolerate_them():
    tolerant = dataclasses.replace(EVERYTHING, policy="wilcox")
    note = "the policy tolerates it: measured, not judged"
    assert BY_ID["aliased-translation"].idle(tolerant) == note
    assert all(rule.idle(tolerant) == rule.idle(EVERYTHING) for rule in RULES[2:])


def test_a_scene_is_what_a_trace_holds():
    events = parse("""
        0 ENTER id=do_mmap a=0x100
        0 EXIT id=unmap_vmas a=0x100
        0 WATCH id=PTL d=0x2000
        0 WATCH_INIT id=MMAP_LOCK
        0 PROBE id=FAULT
        0 PROBE_MORE id=SYSCALL
    """)
    scene = survey(events, "arm64", "glisse")
    assert (scene.arch, scene.policy) == ("arm64", "glisse")
    assert scene.kinds == set(events["kind"].tolist())
    assert scene.watches == {Watch.PTL, Watch.MMAP_LOCK}
    assert scene.functions == {Function.do_mmap}
    assert scene.probes == {Probe.FAULT}
    joined = survey(events[:2], "arm64", "glisse") | survey(events[2:], "arm64", "glisse")
    assert joined == scene


def test_who_wrote_entries():
    store = "0 PTE_WRITE a=0x13018 c=0x53067 d={} level=1 pc={}\n"
    text = store.format("0x403000", "0x222") + store.format("0x403000", "0x111") * 2
    kernel = store.format("0xffff800000000000", "0x333")
    report = check(TextTrace("x86_64", text + kernel))
    assert list(report.writers.items()) == [(0x111, 2), (0x222, 1)]


def test_what_became_of_the_locks():
    text = "0 WATCH id=MMAP_LOCK a=0xa8 b=0 c=1\n0 WATCH id=MMAP_LOCK a=0xa8 b=1 c=0\n"
    locks = check(TextTrace("x86_64", text)).locks
    assert (locks.words, locks.breaks) == (1, 0)
    assert locks.moves == {Move.WRITE_ACQUIRE: 1, Move.WRITE_RELEASE: 1}


LOCK = "0 WATCH id=MMAP_LOCK a=0xa8 b={} c={}\n"
TABLE_LOCK = "0 WATCH id=PTL a=0x9028 b=1 c=0 d=0x2000\n"
STORE = "\n0 PTE_WRITE a=0x13018 c=0x53067 d=0x403000 level=1"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (LOCK.format(0, 1) + LOCK.format(5, 4), "lock:broken chain"),
        (LOCK.format("0x100", "0x101"), "lock:strange"),
        ("0 AUDIT_MISMATCH", "audit mismatch"),
        ("0 FLUSH id=INVPCID", "flush:not modelled"),
        (TABLE_LOCK.replace("b=1", "b=0").replace("H ", "H_INIT ") + TABLE_LOCK, "ptl:broken"),
    ],
)
def test_what_takes_the_evidence_away(line, name):
    report = check(TextTrace("x86_64", line + STORE))
    assert not report.conclusive
    assert report.coverage[name] > 0


def test_windows_of_map_fixed_come_first():
    """What the project began with; the others follow by name."""
    call = "0 PROBE id=SYSCALL a={} b={:#x} c=0x1000 d=4 flags=MORE\n0 PROBE_MORE id=SYSCALL a={}\n"
    store = "0 PTE_WRITE a={:#x} b={:#x}067 c=0x0 d={:#x} level=1\n0 RET_USER\n"
    text = call.format(11, 0x402000, 0) + store.format(0x13010, 0x52, 0x402000).replace("67", "65")
    text += call.format(28, 0x401000, 0) + store.format(0x13008, 0x51, 0x401000)
    text += call.format(9, 0x400000, 0x32) + store.format(0x13000, 0x50, 0x400000)
    windows = check(TextTrace("x86_64", text)).windows
    assert [one.operation for one in windows] == [
        "mmap(MAP_FIXED)",
        "madvise(MADV_DONTNEED)",
        "munmap",
    ]
