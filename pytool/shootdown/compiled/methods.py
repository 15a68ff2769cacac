"""Which methods of extension types are declared: compiled code calls those without looking them up.

Such a method has a place in a table of its type. It takes arguments by position only, nothing in it
outlives the call, no generator and no function, and it does not say ``super()``. Where a type
inherits it or overrides it, all types that have it must be able to declare it alike.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from shootdown.compiled.source import Source

_OUTLIVES: Final = (
    *(ast.FunctionDef, ast.Lambda, ast.GeneratorExp),
    *(ast.Yield, ast.YieldFrom),
)


def methods(source: Source, node: ast.ClassDef) -> Iterator[str]:
    """The declarations of a class's methods, in the order of the text."""
    relatives = [*source.relatives(node)]
    for method in _of(node):
        said = _declaration(source, method)
        others = {
            _declaration(where, other)
            for where, relative in relatives
            for other in _of(relative)
            if other.name == method.name
        }
        if said and others <= {said}:
            yield said


def _of(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [method for method in node.body if isinstance(method, ast.FunctionDef)]


def _declaration(source: Source, method: ast.FunctionDef) -> str:
    """Empty where there can be none."""
    given = method.args
    if method.decorator_list or given.kwonlyargs or given.vararg or given.kwarg:
        return ""
    if method.name.startswith("__") or any(map(_forbids, _inside(method))):
        return ""
    needed = len(given.args) - len(given.defaults)
    words = [
        f"{source.type_of(arg.annotation)} {arg.arg}".strip() + "=*" * (number >= needed)
        for number, arg in enumerate(given.args)
    ]
    kind = source.type_of(method.returns)
    return f"cpdef {kind} {method.name}({', '.join(words)})".replace("  ", " ")


def _forbids(node: ast.AST) -> bool:
    return isinstance(node, _OUTLIVES) or (isinstance(node, ast.Name) and node.id == "super")


def _inside(method: ast.FunctionDef) -> Iterator[ast.AST]:
    return (inner for statement in method.body for inner in ast.walk(statement))
