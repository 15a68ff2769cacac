"""What can be changed: mutmut's mutations of each function, and the source with one of them.

mutmut leaves functions with decorators alone, except static and class methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from functools import cached_property
from pathlib import Path

import libcst
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import Mutation, MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

PACKAGE = Path(__file__).resolve().parents[2] / "pytool/shootdown"
MUTATED = ("rules/*.py", "model/*.py")
NOT_JUDGING = ("rules/document.py", "model/audit.py")
"""What no trace as text reaches: a generator of documents, and what reads a guest's memory."""


@dataclass(frozen=True)
class Mutant:
    """One change of one function."""

    file: str
    """Path in the package."""
    function: str
    """``name`` or ``Class.name``."""
    number: int
    """Among the changes of the function, from 1."""

    @property
    def name(self) -> str:
        return f"{self.file}:{self.function}#{self.number}"

    @property
    def module(self) -> str:
        return "shootdown." + self.file.removesuffix(".py").replace("/", ".")


class Source:
    """A file of the package, and its mutants."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.text = (PACKAGE / file).read_text()

    @cached_property
    def _tree(self) -> tuple[libcst.Module, dict[Mutant, Mutation]]:
        visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
        module = MetadataWrapper(libcst.parse_module(self.text)).visit(visitor)
        names = dict(_functions(module))
        found: dict[Mutant, Mutation] = {}
        numbers = dict.fromkeys(names.values(), 0)
        for mutation in visitor.mutations:
            around = mutation.contained_by_top_level_function
            name = names.get(around) if around else None
            if name:
                numbers[name] += 1
                found[Mutant(self.file, name, numbers[name])] = mutation
        return module, found

    def mutants(self) -> list[Mutant]:
        """All of them, in the order of the source."""
        return list(self._tree[1])

    def changed(self, mutant: Mutant) -> str:
        """The text of the file with the change."""
        module, found = self._tree
        mutation = found[mutant]
        tree = deep_replace(module, mutation.original_node, mutation.mutated_node)
        assert isinstance(tree, libcst.Module)
        return tree.code

    def change(self, mutant: Mutant) -> list[str]:
        """The lines that differ, with ``-`` or ``+`` in front."""
        texts = self.text.splitlines(), self.changed(mutant).splitlines()
        lines = list(unified_diff(*texts, lineterm="", n=0))[2:]
        return [line for line in lines if not line.startswith("@@")]


def sources(only: str = "") -> list[Source]:
    """The files whose path in the package begins with ``only``."""
    files = {
        path.relative_to(PACKAGE).as_posix() for glob in MUTATED for path in PACKAGE.glob(glob)
    }
    return [Source(file) for file in sorted(files.difference(NOT_JUDGING)) if file.startswith(only)]


def _functions(module: libcst.Module) -> Iterator[tuple[libcst.CSTNode, str]]:
    for node in module.body:
        if isinstance(node, libcst.FunctionDef):
            yield node, node.name.value
        elif isinstance(node, libcst.ClassDef):
            for inner in node.body.body:
                if isinstance(inner, libcst.FunctionDef):
                    yield inner, f"{node.name.value}.{inner.name.value}"
