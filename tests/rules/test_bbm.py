"""break-before-make for CPUs that take more: ``--bbm``."""

import pytest

from shootdown.model.known import Known, known
from shootdown.rules.check import CheckReport, check
from tests.rules.corpus import CORPUS, Case, TextTrace

SIZES = ("bad_block_of_the_same_memory", "bad_contiguous_in_place", "bad_e12_not_flushed")
OTHERS = (
    *("bad_no_flush", "bad_block_over_pages", "bad_becomes_global", "bad_memory_type_in_place"),
    *("bad_memory_type_not_flushed", "bad_shareability_in_place", "bad_output_address_in_place"),
)


def judged(name: str, bbm: int) -> CheckReport:
    case = Case(CORPUS / "break-before-make" / f"{name}.trace")
    return check(TextTrace("arm64", case.path.read_text()), kernel=Known(bbm=bbm))


@pytest.mark.parametrize("bbm", [0, 1])
@pytest.mark.parametrize("name", (*SIZES, *OTHERS))
def test_a_cpu_that_takes_nothing(name: str, bbm: int) -> None:
    assert judged(name, bbm).rules["break-before-make"].may > 0


@pytest.mark.parametrize("name", OTHERS)
def test_what_every_cpu_needs(name: str) -> None:
    report = judged(name, 2).rules["break-before-make"]
    assert report.may == judged(name, 0).rules["break-before-make"].may
    assert report.note == "for CPUs with FEAT_BBM of level 2"


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_one_translation(name: str) -> None:
    assert judged(name, 2).rules["break-before-make"].may == 0


def test_the_run_directory_says_which() -> None:
    assert known({"bbm": 2}).bbm == 2
    assert known({"bbm": "2"}).bbm == known({}).bbm == 0
