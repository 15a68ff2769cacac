"""What the generator reads off a source, and what it leaves of it."""

import ast
import textwrap

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
    cpdef later(self, Data data)

cdef class Heir(Base):
    cdef public object mine

cdef class Stranger(CallStacks):
    pass

cdef class Empty:
    cpdef nothing(self)
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


def body(text: str) -> list[str]:
    """What is declared of ``Base``, whose source has this in it."""
    said = declarations(source(f"class Base:\n{textwrap.indent(text, '  ')}\nclass Data: pass\n"))
    lines = said.split("cdef class Base:\n")[1].split("\n\n")[0].splitlines()
    return [line.strip() for line in lines if line.strip() != "pass"]


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("def do(self): pass", "cpdef do(self)"),
        ("def do(self, a: Data, b: int = 1): pass", "cpdef do(self, Data a, b=*)"),
        ("def do(self, a: Data | None = None): pass", "cpdef do(self, Data a=*)"),
        ("def do(self) -> Data | None: pass", "cpdef Data do(self)"),
        ("def do(self) -> list[Data]: return [x for x in self.y]", "cpdef do(self)"),
        ("def do(self, *, a): pass", ""),
        ("def do(self, *a): pass", ""),
        ("def do(self, **a): pass", ""),
        ("def __len__(self): return 1", ""),
        ("@property\ndef do(self): return 1", ""),
        ("def do(self): yield 1", ""),
        ("def do(self): yield from ()", ""),
        ("def do(self): return any(x for x in self.y)", ""),
        ("def do(self): return lambda: 1", ""),
        ("def do(self):\n  def inner(): pass\n  return inner", ""),
        ("def do(self): return super().do()", ""),
    ],
)
def test_methods_that_can_be_are_declared(text: str, declared: str):
    assert body(text) == ([declared] if declared else [])


@pytest.mark.parametrize(
    ("inherited", "mine", "declared"),
    [
        ("self", "self", 2),
        ("self, a", "self, a", 2),
        ("self, a", "self, a: Data", 0),
        ("self, a", "self, a=1", 0),
        ("self, a", "self, *a", 0),
    ],
)
def test_what_is_inherited_is_declared_everywhere_alike_or_nowhere(
    inherited: str, mine: str, declared: int
):
    text = f"class Data: pass\nclass Base:\n  def do({inherited}): pass\n"
    text += f"class Heir(Base):\n  def do({mine}): pass\n  def other(self): pass\n"
    said = declarations(source(text))
    assert (said.count("cpdef do("), said.count("cpdef other(")) == (declared, 1)


def test_unrelated_classes_may_have_a_name_in_common():
    text = "class Base:\n  def do(self, a): pass\nclass Data:\n  def do(self, *a): pass\n"
    assert declarations(source(text)).count("cpdef do(") == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("self._x: dict[int, int] = {}", "dict"),
        ("self._x = {y: y for y in z}", "dict"),
        ("self._x = dict[int, int]()", "dict"),
        ("self._x = [1]", "list"),
        ("self._x = []\nself._x = list(z)", "list"),
        ("self._x = {1}", "set"),
        ("self._x: Final[set[int]] = set()", "set"),
        ("self.x: Final[dict[int, int]] = {}", "dict"),
        ("self.x: dict[int, int] = {}", "object"),
        ("self._x: dict[int, int] = Counter()", "object"),
        ("self._x: dict[int, int] = z", "object"),
        ("self._x = {}\nself._x = z", "object"),
        ("self._x = {}\nself._x = []", "object"),
        ("self._x, y = {}, 1", "object"),
        ("self._x: dict[int, int] = {}\nfor self._x in z: pass", "object"),
        ("self._x = {}\nz._x = 1", "object"),
        ("self._x = ()", "object"),
    ],
)
def test_an_attribute_that_is_certainly_a_container_is_declared_so(text: str, kind: str):
    made = f"def __init__(self, z):\n{textwrap.indent(text, '  ')}"
    assert body(made) == [f"cdef public {kind} {'_x' if '_x' in text else 'x'}"]


def test_what_an_heir_assigns_counts_too():
    text = "class Data: pass\nclass Base:\n  def __init__(self):\n    self._x = {}\n"
    heir = "class Heir(Base):\n  def other(self, z):\n    self._x = z\n"
    assert "cdef public dict _x" in declarations(source(text))
    assert "cdef public object _x" in declarations(source(text + heir))


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


def test_annotations_go_but_those_of_fields_and_of_extension_types():
    text = """
class Base: pass
class Data:
    number: int = 0
    of_all: ClassVar[int] = 1
    unset: ClassVar[int]
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
    v: Data | None
    data.number: Data = 1
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
    of_all = 1
def function(a, ä = (), *rest, data: Data, base: Base | None = None, **more):
    x = 1
    if a:
        pass
    z = {}
    w: Data = data
    v: Data | None
    data.number = 1
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
        field = node.col_offset == 4 and "ClassVar" not in ast.unparse(node.annotation)
        return node if isinstance(node.target, ast.Name) and field else None

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg == "slots" else node


def _bare(tree: ast.Module) -> str:
    return ast.unparse(_Barer().visit(tree))
