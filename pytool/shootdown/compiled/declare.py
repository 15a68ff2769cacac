"""The declarations that make extension types of Python classes (``.pxd``), from their source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from shootdown.compiled.containers import containers
from shootdown.compiled.methods import methods
from shootdown.compiled.source import Source, arguments, of_class

_OBJECT: Final = "object"


def declarations(source: Source) -> str:
    """The text of the module's ``.pxd``.

    Raises ValueError where a class cannot be an extension type.
    """
    lines = [f"from {module} cimport {name}" for name, module in sorted(source.imported.items())]
    for node in source.classes.values():
        base = source.base(node)
        lines += ["", f"cdef class {node.name}{f'({base})' if base else ''}:"]
        lines += [f"    cdef public {kind} {name}" for name, kind in fields(source, node).items()]
        lines += [f"    {said}" for said in methods(source, node)]
        if lines[-1].endswith(":"):
            lines.append("    pass")
    return "\n".join(lines) + "\n"


def fields(source: Source, node: ast.ClassDef) -> dict[str, str]:
    """The attributes of a class, without those of its base, and the type of each.

    An attribute is what its annotation says; where it has none, what is assigned to it first. So it
    is for mypy, which has seen to it that nothing else is ever assigned.
    """
    found: dict[str, str] = {}
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=said) if not of_class(said):
                found[name] = source.type_of(said)
    with_self = [n for n in node.body if isinstance(n, ast.FunctionDef) and _has_self(n)]
    said_by = [said for method in with_self for said in _assigned(source, method)]
    for _, name, kind in sorted(said_by, key=lambda said: not said[0]):
        found.setdefault(name, kind)
    inherited = _inherited(source, source.base(node))
    known = containers(source, node)
    return {
        name: kind or known.get(name, _OBJECT)
        for name, kind in found.items()
        if name not in inherited
    }


def _has_self(method: ast.FunctionDef) -> bool:
    others = ("staticmethod", "classmethod")
    return not any(isinstance(n, ast.Name) and n.id in others for n in method.decorator_list)


def _inherited(source: Source, base: str) -> set[str]:
    if not base:
        return set()
    where, node = source.found(base)
    return {*fields(where, node), *_inherited(where, where.base(node))}


def _assigned(source: Source, method: ast.FunctionDef) -> Iterator[tuple[bool, str, str]]:
    """Attributes of ``self`` that a method assigns to, in order, and which type that tells.

    With it whether an annotation says so.
    """
    me = method.args.args[0].arg
    given = {arg.arg: source.type_of(arg.annotation) for arg in arguments(method)}
    nodes = [n for n in ast.walk(method) if isinstance(n, ast.Assign | ast.AnnAssign)]
    for node in sorted(nodes, key=lambda node: node.lineno):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    # Of several at once it is not looked which value is whose.
                    parts = target.elts if isinstance(target, ast.Tuple) else [target]
                    kind = _value(source, value, given) if parts == [target] else ""
                    yield from ((False, name, kind) for name in _attributes(parts, me))
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                bare = isinstance(annotation, ast.Name) and annotation.id == "Final"
                kind = _value(source, value, given) if bare else source.type_of(annotation)
                yield from ((True, name, kind) for name in _attributes([target], me))


def _attributes(targets: list[ast.expr], me: str) -> Iterator[str]:
    for target in targets:
        match target:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == me:
                yield attribute


def _value(source: Source, value: ast.expr | None, given: dict[str, str]) -> str:
    """The type of what is assigned, as far as it can be seen: a new object, or an argument."""
    match value:
        case ast.Call(func=function):
            return source.type_of(function)
        case ast.Name(id=name):
            return given.get(name, "")
    return ""
