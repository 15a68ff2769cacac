"""Changes to a kernel's source, each found by file, function and text: exactly once or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from shootdown.errors import InfraError, UsageError

Read = Callable[[str], str | None]
"""The text of a file of the source tree, by its path there; None when there is none."""


@dataclass(frozen=True)
class Form:
    """One way the code to be changed may look."""

    file: str
    """Path in the source tree."""
    function: str
    """The function whose definition holds ``old``."""
    old: str
    """The text that goes; it must occur exactly once in the function."""
    new: str
    """The text in its place."""

    def __str__(self) -> str:
        return f"{self.file}: {self.function}()"


@dataclass(frozen=True)
class Edit:
    """One change. Kernels differ: exactly one of its forms has to fit."""

    why: str
    forms: tuple[Form, ...]


def parse(table: object) -> Edit:
    """An edit from its TOML table, ``why`` and a list ``forms``. Raises UsageError."""
    keys = {"file", "function", "old", "new"}
    if not isinstance(table, dict):
        raise UsageError("an edit is a table")
    forms = table.get("forms")
    if set(table) != {"why", "forms"} or not isinstance(forms, list) or not forms:
        raise UsageError("an edit has the keys why and forms, a list that is not empty")
    for form in forms:
        if not isinstance(form, dict) or set(form) != keys:
            raise UsageError(f"a form of an edit has the keys {', '.join(sorted(keys))}")
        if not all(isinstance(value, str) for value in form.values()) or not form["old"]:
            raise UsageError("the values in a form of an edit are texts, and old is not empty")
        path = PurePosixPath(form["file"])
        if path.is_absolute() or ".." in path.parts:
            raise UsageError(f"{path} is no path in a source tree")
    return Edit(str(table["why"]), tuple(Form(**form) for form in forms))


def apply(edits: Iterable[Edit], read: Read) -> dict[str, str]:
    """The new text of each file that the edits change, by its path in the source tree.

    Edits of one file are applied one after another. Raises InfraError that names the edit when
    none of its forms fits, or several do.
    """
    changed: dict[str, str] = {}

    def current(name: str) -> str | None:
        return changed[name] if name in changed else read(name)

    for edit in edits:
        tried = [(form, _attempt(form, current(form.file))) for form in edit.forms]
        fitting = [(form, text) for form, text in tried if isinstance(text, _New)]
        if len(fitting) != 1:
            raise InfraError(_refusal(edit, tried))
        ((form, text),) = fitting
        changed[form.file] = text.text
    return changed


def reader(tree: Path) -> Read:
    """Reads the files below ``tree``."""

    def read(name: str) -> str | None:
        path = tree / name
        return path.read_text(errors="surrogateescape") if path.is_file() else None

    return read


@dataclass(frozen=True)
class _New:
    text: str


def _attempt(form: Form, text: str | None) -> _New | str:
    """The text with the form applied, or why it does not fit."""
    if text is None:
        return "no such file"
    bodies = extents(text, form.function)
    if not bodies:
        return "no such function"
    places = [
        start + match.start()
        for start, end in bodies
        for match in re.finditer(re.escape(form.old), text[start:end])
    ]
    if len(places) != 1:
        return f"its text is there {len(places)} times" if places else "its text is not there"
    (at,) = places
    return _New(text[:at] + form.new + text[at + len(form.old) :])


def _refusal(edit: Edit, tried: list[tuple[Form, _New | str]]) -> str:
    reasons = "; ".join(
        f"{form}: {'fits' if isinstance(result, _New) else result}" for form, result in tried
    )
    fits = sum(isinstance(result, _New) for _, result in tried)
    what = "several forms fit" if fits else "does not match this source"
    return f"The edit '{edit.why}' {what} ({reasons}); correct it in images/variants."


_NOT_A_HEAD: Final = re.compile(r"[\s#/}*]")


def extents(text: str, function: str) -> list[tuple[int, int]]:
    """Offsets of the first and behind the last character of each definition of the function.

    Several when a file has one for each configuration. It relies on the kernel's coding style: the
    head of a definition begins in the first column, and ``}`` stands there alone at its end.
    """
    found = []
    for match in re.finditer(rf"\b{re.escape(function)}\(", text):
        start = text.rfind("\n", 0, match.start()) + 1
        # The type may stand on a line of its own; that line does not matter here.
        if _NOT_A_HEAD.match(text, start):
            continue
        brace, end = text.find("\n{", match.end()), text.find(";", match.end())
        if brace < 0 or 0 <= end < brace:  # a declaration, or a call in a macro
            continue
        close = text.find("\n}", brace)
        if close >= 0:
            found.append((start, close + 2))
    return found
