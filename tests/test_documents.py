"""What documents say of the code, where code can tell whether it is so."""

import re
from pathlib import Path

import pytest

from shootdown.bench import campaign
from shootdown.rules.check import RULES
from shootdown.rules.live import looks_ahead

TOP = Path(__file__).parents[1]
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


def between(name: str, start: str, end: str) -> list[str]:
    """The words in backticks of a passage."""
    text = (TOP / "docs" / name).read_text(encoding="utf-8")
    found = re.search(f"{re.escape(start)}(.*?){re.escape(end)}", text, re.DOTALL)
    assert found, f"{name} has no passage from {start!r} to {end!r}"
    return re.findall(r"`([^`]*)`", found[1])


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("live.md", "rules which look at the whole trace:", "These do not stop a guest"),
        ("performance.md", "With rules that look at the whole trace (", ") it does"),
    ],
)
def test_rules_that_look_ahead(name: str, start: str, end: str) -> None:
    assert between(name, start, end) == [rule.id for rule in RULES if looks_ahead(rule)]


def test_own_workloads_of_the_campaign() -> None:
    assert between("verdicts.md", "The own workloads are", ".") == [*campaign.WORKLOADS]


def test_files_of_mutations() -> None:
    kernel = TOP / "pytool/shootdown/kernel"
    named = between("mutations.md", "They are in `pytool/shootdown/kernel`", "knows all by name")
    assert sorted(named) == sorted(path.name for path in kernel.glob("mutations*.py"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    for link in links:
        assert ":" in link or (document.parent / link).exists(), link
