"""The copy of a source that Cython reads: the same, line by line, with less written on it.

* Annotations go, but those that make fields of classes, and those of arguments and local variables
  that name an extension type. Cython would take the others at their word: a ``tuple`` that is a
  named tuple, or a ``dict`` that is a Counter, would be refused.
* Dataclasses that are extension types have no ``slots``: Cython does not know the word, and they
  have no ``__dict__`` anyway.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import accumulate

from shootdown.compiled.source import Source, arguments, of_class

Span = tuple[int, int]
"""Places in the text, in bytes; the second is behind the last."""


def prepared(source: Source) -> str:
    """The text of the copy."""
    text, place = source.text.encode(), _Places(source.text)
    for start, end in (*_annotations(source, place), *_slots(source, place)):
        text = text[:start] + _blank(text[start:end]) + text[end:]
    return text.decode()


def _blank(text: bytes) -> bytes:
    # What goes on in the next line does so without brackets, too.
    lines = [b" " * len(line) for line in text.split(b"\n")]
    return b"\n".join([*(line[:-1] + b"\\" for line in lines[:-1]), lines[-1]])


def _annotations(source: Source, place: _Places) -> Iterator[Span]:
    kept = {*_of_fields(source), *_of_variables(source)}
    for node in ast.walk(source.tree):
        match node:
            case ast.FunctionDef(returns=returns):
                if returns:
                    arrow = place.text.rindex(b"->", 0, place.start(returns))
                    yield arrow, place.end(returns)
                for arg in arguments(node):
                    if arg.annotation and not source.type_of(arg.annotation):
                        yield place.start(arg) + len(arg.arg.encode()), place.end(arg)
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                if node not in kept:
                    start = place.end(target) if value else place.start(target)
                    yield start, place.end(annotation)


def _of_fields(source: Source) -> Iterator[ast.stmt]:
    """What makes the fields of classes; without it a dataclass has none."""
    for node in ast.walk(source.tree):
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(inner, ast.AnnAssign) and not of_class(inner.annotation):
                yield inner


def _of_variables(source: Source) -> Iterator[ast.stmt]:
    """What says of a local variable that it is of an extension type."""
    for node in ast.walk(source.tree):
        for inner in ast.walk(node) if isinstance(node, ast.FunctionDef) else ():
            match inner:
                case ast.AnnAssign(target=ast.Name(), annotation=said) if source.type_of(said):
                    yield inner


def _slots(source: Source, place: _Places) -> Iterator[Span]:
    for node in source.classes.values():
        for decorator in node.decorator_list:
            for word in decorator.keywords if isinstance(decorator, ast.Call) else ():
                if word.arg == "slots":
                    end = place.end(word)
                    comma = place.text[end : end + 1] == b","
                    yield place.start(word), end + comma


class _Places:
    """Where nodes are in the text."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        lines = self.text.splitlines(keepends=True)
        self._lines = [0, *accumulate(map(len, lines))]

    def start(self, node: ast.expr | ast.arg | ast.keyword) -> int:
        return self._lines[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.arg | ast.keyword) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._lines[node.end_lineno - 1] + node.end_col_offset
