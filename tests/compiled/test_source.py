"""What the generator reads off a source, and what it leaves of it."""

import ast

import pytest

from shootdown.compiled.declare import declarations
from shootdown.compiled.prepare import prepared
from shootdown.compiled.source import Source
from shootdown.compiled.table import COMPILED

TYPES = {
    "shootdown.one": ("Base", "Data", "Heir", "Stranger", "Empty"),
    "shootdown.model.callstack": COMPILED["shootdown.model.callstack"],
}
TEXT = '''
from shootdown.model.callstack import CallStacks, Stack

@dataclass(slots=True, eq=False)
class Data:
    """Text."""
    number: int
    """What it is."""
    base: Base | None
    many: list[Base] = field(default_factory=list)
    of_all: ClassVar[int] = 1
    word = "no field"

class Base:
    kinds = frozenset()

    def __init__(self, data: Data, other: Data, *, stacks: CallStacks | None) -> None:
        self.data: Final = data
        self.made: Final = Data(1, None)
        self.data_too = other
        self.stacks: Final = stacks
        self.named: Final[Data] = self.data.base
        self.a, self.b = data, other
        self.any: object = data
        other.number = 1
        local: int = 2

    @staticmethod
    def make(data: Data) -> Base:
        data.number = 3

    def later(self, data: Data) -> None:
        self.data_too = data
        self.seen: Data | None = None
        self.unseen = None
        self.any = Data(2, None)

class Heir(Base):
    def __init__(self) -> None:
        self.data = None
        self.mine = 1

class Stranger(CallStacks):
    def __init__(self) -> None:
        self.unmatched = 0

class Empty:
    def nothing(self):
        return None
'''
DECLARED = """\
from shootdown.model.callstack cimport CallStacks

cdef class Data:
    cdef public object number
    cdef public Base base
    cdef public object many

cdef class Base:
    cdef public Data data
    cdef public Data made
    cdef public CallStacks stacks
    cdef public Data named
    cdef public object any
    cdef public Data seen
    cdef public Data data_too
    cdef public object a
    cdef public object b
    cdef public object unseen

cdef class Heir(Base):
    cdef public object mine

cdef class Stranger(CallStacks):
    pass

cdef class Empty:
    pass
"""


def source(text: str) -> Source:
    return Source("shootdown.one", text, TYPES)


def test_declarations():
    assert declarations(source(TEXT)) == DECLARED


def test_an_attribute_is_what_an_annotation_says_wherever_it_is():
    text = "class Base:\n  def __init__(self, x):\n    self.x = x\n    self.x: Base = x\n"
    assert "cdef public Base x" in declarations(source(text))


@pytest.mark.parametrize("bases", ["Protocol", "NamedTuple", "Base, Data"])
def test_other_bases_are_refused(bases: str):
    text = f"class Base: pass\nclass Data: pass\nclass Heir({bases}): pass\n"
    with pytest.raises(ValueError, match=r"shootdown.one.Heir: its base"):
        declarations(source(text))


def test_slots_go_and_other_words_stay():
    text = "@dataclass(slots=True, eq=False)\nclass Data: pass\n"
    text += "@dataclass(eq=False, slots=True)\nclass Heir: pass\n"
    text += "@dataclass(slots=True)\nclass Other: pass\n"
    words = [line.split() for line in prepared(source(text)).splitlines() if "@" in line]
    assert [" ".join(line) for line in words] == [
        "@dataclass( eq=False)",
        "@dataclass(eq=False, )",
        "@dataclass(slots=True)",
    ]


def test_annotations_go_but_those_of_extension_types():
    text = """
class Base: pass
class Data:
    number: int = 0
def function(a: int, ä: list[
        int] = (), *rest: tuple, data: Data, base: Base | None = None, **more: dict) -> dict[
    int, int
]:
    x: int = 1
    if a:
        y: str
        pass
    z: dict[
        int, str] = {}
    w: Data = data
    return {"ä": x}
ALL: Final[tuple[int, ...]] = (1,)
"""
    left = prepared(source(text))
    assert left.count("\n") == text.count("\n")
    tree = ast.parse(left)
    assert ast.unparse(tree) == ast.unparse(
        ast.parse("""
class Base: pass
class Data:
    number: int = 0
def function(a, ä = (), *rest, data: Data, base: Base | None = None, **more):
    x = 1
    if a:
        pass
    z = {}
    w = data
    return {"ä": x}
ALL = (1,)
""")
    )


@pytest.mark.parametrize("module", COMPILED)
def test_every_source_is_the_same_program(module: str):
    original = Source.read(module)
    copy = Source(module, prepared(original))
    assert list(original.classes) == list(COMPILED[module])
    assert list(map(len, copy.text.splitlines())) == list(map(len, original.text.splitlines()))
    assert _bare(copy.tree) == _bare(original.tree)


class _Barer(ast.NodeTransformer):
    """Takes away what is no program."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value:
            return ast.Assign([node.target], node.value, lineno=node.lineno)
        return node if isinstance(node.target, ast.Name) and node.col_offset == 4 else None

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg == "slots" else node


def _bare(tree: ast.Module) -> str:
    return ast.unparse(_Barer().visit(tree))
