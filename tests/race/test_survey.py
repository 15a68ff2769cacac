"""What a recording teaches, and what is kept of it."""

from __future__ import annotations

import pytest

from shootdown.arch.base import Arch
from shootdown.race import survey
from shootdown.race.survey import Site, Survey, belongs, entry_class

ENTRIES = {
    "x86_64": {"none": 0, "readonly": 0x8000_0000_0123_4005, "writable": 0x8000_0000_0123_4067},
    "arm64": {
        "none": 0,
        "readonly": 0x00E0_0000_4123_4FC3,
        "writable": 0x00E8_0000_4123_4F43,
    },
}


def test_classes_of_entries(arch: Arch) -> None:
    for name, entry in ENTRIES[arch.name].items():
        assert entry_class(entry, arch.mmu) == name
    gone = ENTRIES[arch.name]["writable"] & ~1
    assert entry_class(gone, arch.mmu) == "none"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [("none", "any"), ("none", "none"), ("readonly", "present"), ("writable", "present")],
)
def test_classes_that_belong(found: str, wanted: str) -> None:
    assert belongs(found, wanted)


@pytest.mark.parametrize(
    ("found", "wanted"), [("none", "present"), ("readonly", "none"), ("readonly", "writable")]
)
def test_classes_that_do_not(found: str, wanted: str) -> None:
    assert not belongs(found, wanted)


def test_kept() -> None:
    known = Survey((Site(1, "pte_write", "none", "writable", "mmap", "mapper"), Site(2, "range")))
    assert survey.of_json(known.to_json()) == known
    assert [site.pc for site in known.of("range")] == [2]
    assert survey.of_json({}) is None
    assert survey.of_json(known.to_json() | {"format": 0}) is None
    assert survey.of_json({"format": survey.FORMAT, "sites": [{"pc": 1}]}) is None
