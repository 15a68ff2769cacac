import numpy as np
import pytest

from shootdown.errors import UsageError
from shootdown.rules import document
from shootdown.rules.check import RULES, check
from shootdown.trace.schema import DTYPE
from tests.rules.corpus import CORPUS, Case, TextTrace

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
    head, *call = BAD.split("\n0 PROBE id=SYSCALL")
    once = "\n0 PROBE id=SYSCALL" + call[0].replace("1 OBS", "#").replace("1 RET_USER", "#")
    back = "\n0 PTE_WRITE a=0x13000 c=0x{:x}067 d=0x400000 level=1"
    rounds = [
        once.replace("0x50067", f"{0x50 + i:#x}067") + back.format(0x51 + i) for i in range(150)
    ]
    report = check(TextTrace("x86_64", head + "".join(rounds))).rules["stale-after-return"]
    assert (report.may, report.violations) == (150, 150)
    assert len(report.found) == 100


def test_policy_arms_glisse():
    case = Case(CORPUS / "aliased-translation/bad_new_before_flush.trace")
    trace = TextTrace("x86_64", case.path.read_text())
    assert check(trace, "glisse").rules["aliased-translation"].armed
    tolerant = check(trace, "wilcox")
    assert not tolerant.rules["aliased-translation"].armed
    assert not tolerant.violations
    assert len(tolerant.windows[0].aliased) == 1


def test_unknown_policy_and_architecture():
    with pytest.raises(UsageError, match="wilcox"):
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
