"""Source edits: they fit exactly once, or are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown.errors import InfraError, UsageError
from shootdown.kernel import built_edits
from shootdown.kernel.built_edits import Edit, Form

SOURCE = """\
static int other(struct mm *mm);

static int flush(struct mm *mm);

#define wrap(mm) flush(mm)

static inline void
other_flush(struct mm *mm)
{
	flush(mm);
}

#ifdef CONFIG_A
int flush(struct mm *mm)
{
	lock(mm);
	if (mm->pending) {
		invalidate(mm);
	}
	return 0;
}
#else
int flush(struct mm *mm)
{
	return 1;
}
#endif

int other(struct mm *mm)
{
	invalidate(mm);
	lock(mm);
	lock(mm);
	return flush(mm);
}
"""


def edit(*forms: tuple[str, str, str, str]) -> Edit:
    return Edit("no flush", tuple(Form(*form) for form in forms))


def read(name: str) -> str | None:
    return SOURCE if name == "mm/a.c" else None


def test_only_the_named_function_is_changed() -> None:
    change = edit(("mm/a.c", "flush", "\t\tinvalidate(mm);\n", ""))
    changed = built_edits.apply([change], read)
    assert changed == {"mm/a.c": SOURCE.replace("\t\tinvalidate(mm);\n", "")}


def test_extents_are_definitions() -> None:
    bodies = [SOURCE[start:end] for start, end in built_edits.extents(SOURCE, "flush")]
    assert [body.splitlines()[0] for body in bodies] == ["int flush(struct mm *mm)"] * 2
    assert all(body.endswith("\n}") for body in bodies)
    assert "return 0" in bodies[0]
    assert bodies[1].count("\n") == 3
    (other,) = built_edits.extents(SOURCE, "other_flush")
    assert SOURCE[slice(*other)] == "other_flush(struct mm *mm)\n{\n\tflush(mm);\n}"


def test_edits_of_one_file_add_up() -> None:
    first = edit(("mm/a.c", "flush", "return 0", "return 2"))
    second = edit(("mm/a.c", "flush", "return 2", "return 3"))
    assert "return 3" in built_edits.apply([first, second], read)["mm/a.c"]


def test_the_form_that_fits_is_used() -> None:
    change = edit(("mm/b.c", "flush", "x", "y"), ("mm/a.c", "flush", "return 0", "return 5"))
    assert list(built_edits.apply([change], read)) == ["mm/a.c"]


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (("mm/b.c", "flush", "x", "y"), r"mm/b\.c: flush\(\): no such file"),
        (("mm/a.c", "gone", "x", "y"), r"mm/a\.c: gone\(\): no such function"),
        (("mm/a.c", "wrap", "flush", "y"), r"wrap\(\): no such function"),
        (("mm/a.c", "flush", "unlock", "y"), "its text is not there"),
        (("mm/a.c", "other", "lock(mm)", "y"), "its text is there 2 times"),
        (("mm/a.c", "flush", "return ", "y"), "its text is there 2 times"),
    ],
)
def test_edit_that_does_not_match_is_refused_by_name(
    form: tuple[str, str, str, str], why: str
) -> None:
    with pytest.raises(InfraError, match=f"'no flush' does not match this source .*{why}"):
        built_edits.apply([edit(form)], read)


def test_edit_of_which_two_forms_fit_is_refused() -> None:
    change = edit(("mm/a.c", "flush", "return 0", ""), ("mm/a.c", "flush", "return 1", ""))
    with pytest.raises(InfraError, match="several forms fit"):
        built_edits.apply([change], read)


def test_reader_reads_what_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_bytes(b"int f(void)\n{\n\t/* \xe9 */\n}\n")
    text = built_edits.reader(tmp_path)("a.c")
    assert text is not None
    assert text.encode(errors="surrogateescape") == (tmp_path / "a.c").read_bytes()
    assert built_edits.reader(tmp_path)("b.c") is None


FORM = {"file": "mm/a.c", "function": "f", "old": "a", "new": "b"}


@pytest.mark.parametrize(
    "table",
    [
        {"forms": [FORM]},
        {"why": "w", "forms": []},
        {"why": "w", "forms": [FORM], "more": 1},
        {"why": "w", "forms": [{"file": "mm/a.c"}]},
        {"why": "w", "forms": [FORM | {"old": ""}]},
        {"why": "w", "forms": [FORM | {"new": 3}]},
        {"why": "w", "forms": [FORM | {"file": "../a.c"}]},
        {"why": "w", "forms": [FORM | {"file": "/etc/passwd"}]},
    ],
)
def test_table_that_is_no_edit(table: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        built_edits.parse(table)


def test_table() -> None:
    parsed = built_edits.parse({"why": "w", "forms": [FORM]})
    assert parsed == Edit("w", (Form("mm/a.c", "f", "a", "b"),))
