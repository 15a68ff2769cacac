import pytest

from shootdown.rules.check import RULES
from tests.rules import report_text
from tests.rules.corpus import CORPUS, Case, cases, found


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_verdict(case: Case):
    report = case.run()
    assert found(report) == case.expected
    assert case.coverage.items() <= report.coverage.items()
    ends = [v.seq[-1] for v in report.violations]
    assert ends == sorted(ends)
    rule = report.rules[case.rule]
    assert rule.armed == (case.header("armed", "yes") == "yes")
    exercised, wanted = rule.exercised, case.header("exercised")
    assert exercised == int(wanted) if wanted else exercised > 0


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_word_of_the_report(case: Case):
    assert report_text.render(case.run()) == report_text.kept(case)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_name_says_the_verdict(case: Case):
    assert case.path.name.startswith("bad_" if case.expected else "good_")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_good_and_bad_traces(rule):
    names = [path.name for path in (CORPUS / rule.id).iterdir()]
    assert any(name.startswith("good_") for name in names)
    assert any(name.startswith("bad_") for name in names)
