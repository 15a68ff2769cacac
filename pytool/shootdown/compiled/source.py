"""A module that is compiled, as the table has it: its text, and which names are extension types."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from shootdown.compiled.table import COMPILED

Types = Mapping[str, tuple[str, ...]]
PACKAGES: Final = Path(__file__).resolve().parents[2]
"""Where the package ``shootdown`` is."""


def path_of(module: str) -> Path:
    """Where the source of a module is, below ``PACKAGES``."""
    return Path(*module.split(".")).with_suffix(".py")


class Source:
    """The text of a module; ``types`` are the extension types of all."""

    def __init__(self, module: str, text: str, types: Types = COMPILED) -> None:
        self.module: Final = module
        self.text: Final = text
        self._types: Final = types
        self.tree: Final = ast.parse(text)

    @classmethod
    @cache
    def read(cls, module: str) -> Source:
        """As it was when it was read first, or since ``read.cache_clear()``."""
        return cls(module, (PACKAGES / path_of(module)).read_text())

    def all(self) -> Iterator[Source]:
        """Itself, and the other modules that have extension types."""
        yield self
        yield from (Source.read(module) for module in self._types if module != self.module)

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """Its extension types, in the order of the text."""
        mine = self._types[self.module]
        found = [node for node in self.tree.body if isinstance(node, ast.ClassDef)]
        return {node.name: node for node in found if node.name in mine}

    @cached_property
    def imported(self) -> dict[str, str]:
        """Extension types of other modules that it imports, and from which."""
        return {
            alias.name: node.module
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
            if alias.name in self._types.get(node.module, ()) and not alias.asname
        }

    def base(self, node: ast.ClassDef) -> str:
        """The extension type that one of ``classes`` inherits from; empty for none.

        Raises ValueError where it inherits from anything else.
        """
        bases = [self.type_of(base) for base in node.bases]
        if not all(bases) or len(bases) > 1:
            raise ValueError(f"{self.module}.{node.name}: its base is not an extension type")
        return bases[0] if bases else ""

    def found(self, name: str) -> tuple[Source, ast.ClassDef]:
        """Where an extension type that the module speaks of is defined, and how."""
        where = self if name in self.classes else Source.read(self.imported[name])
        return where, where.classes[name]

    def first_of(self, node: ast.ClassDef) -> tuple[str, str]:
        """The module and name of the first of those that a class inherits from, or of itself."""
        base = self.base(node)
        if not base:
            return self.module, node.name
        where, inherited = self.found(base)
        return where.first_of(inherited)

    def relatives(self, node: ast.ClassDef) -> Iterator[tuple[Source, ast.ClassDef]]:
        """The extension types that inherit from the same one as a class, and that one."""
        first = self.first_of(node)
        for where in self.all():
            for other in where.classes.values():
                if other is not node and where.first_of(other) == first:
                    yield where, other

    def type_of(self, annotation: ast.expr | None) -> str:
        """The extension type that an annotation names, with or without None; else empty."""
        match annotation:
            case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
                return self.type_of(left)
            case ast.Subscript(value=ast.Name(id="Final"), slice=inner):
                return self.type_of(inner)
            case ast.Name(id=name) if name in self.classes or name in self.imported:
                return name
        return ""


def arguments(function: ast.FunctionDef) -> Iterator[ast.arg]:
    """All arguments of a function."""
    every = function.args
    yield from (*every.posonlyargs, *every.args, *every.kwonlyargs)
    yield from (one for one in (every.vararg, every.kwarg) if one)


def of_class(annotation: ast.expr) -> bool:
    """Whether an annotation says that the class has it, and not its objects."""
    return says(annotation, "ClassVar")


def says(annotation: ast.expr, word: str) -> bool:
    """Whether a name is anywhere in an annotation."""
    return any(isinstance(n, ast.Name) and n.id == word for n in ast.walk(annotation))
