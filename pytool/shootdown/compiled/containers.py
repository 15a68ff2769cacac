"""Which attributes of extension types are declared as a ``dict``, a ``list`` or a ``set``.

C code asks such an object without looking for its method first, and refuses one of a class derived
from them. So every assignment to the attribute must be there to see, and be of a new object that is
certainly none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from shootdown.compiled.source import Source, says

_NEW: Final[dict[str, tuple[type[ast.expr], ...]]] = {
    "dict": (ast.Dict, ast.DictComp),
    "list": (ast.List, ast.ListComp),
    "set": (ast.Set, ast.SetComp),
}
"""What makes a new object of each."""


def containers(source: Source, node: ast.ClassDef) -> dict[str, str]:
    """The type of each such attribute that the class assigns to.

    Others than the class and its relatives do not assign to it: it is private, or Final. Relatives
    that are not compiled are not looked at; they have attributes of their own.
    """
    mine = dict[str, set[str]]()
    for name, kind in _stores(node):
        mine.setdefault(name, set()).add(kind)
    for _, relative in source.relatives(node):
        for name, kind in _stores(relative):
            if name in mine:
                mine[name].add(kind)
    final = set(_final(node))
    return {
        name: kind
        for name, kinds in mine.items()
        for kind in kinds
        if len(kinds) == 1 and kind and (name.startswith("_") or name in final)
    }


def _stores(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Whatever a class assigns to attributes, of any object, and its kind; empty for any other."""
    known = dict[int, str]()
    for statement in ast.walk(node):
        match statement:
            case ast.Assign(targets=[ast.Attribute() as target], value=value):
                known[id(target)] = _kind(value)
            case ast.AnnAssign(target=ast.Attribute() as target, value=value):
                known[id(target)] = _kind(value)
    for inner in ast.walk(node):
        match inner:
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, ""
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, known.get(id(inner), "")


def _kind(value: ast.expr | None) -> str:
    match value:
        case ast.Call(func=ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name))):
            return name if name in _NEW else ""
    return next((kind for kind, made in _NEW.items() if isinstance(value, made)), "")


def _final(node: ast.ClassDef) -> Iterator[str]:
    for inner in ast.walk(node):
        match inner:
            case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=said):
                if says(said, "Final"):
                    yield name
