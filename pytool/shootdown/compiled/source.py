"""A module that is compiled, as the table has it: its text, and which names are extension types."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cached_property
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
    def read(cls, module: str) -> Source:
        """As it is now."""
        return cls(module, (PACKAGES / path_of(module)).read_text())

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
