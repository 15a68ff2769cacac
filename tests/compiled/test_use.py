"""When a process gets the extension modules, and when it does not."""

import pytest

from shootdown import compiled
from tests.compiled.conftest import Package

SAY = """
from shootdown.compiled import *
{first}
used = use()
from shootdown.model import entries, pagetables
from shootdown.rules import check  # the rest of the checker works with them
print(used, *(module.__file__.endswith(".so") for module in (entries, pagetables)))
"""


def says(package: Package, first: str = "", **env: str) -> str:
    done = package.run("-c", SAY.format(first=first), **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_modules_of_the_table_are_compiled(package: Package):
    assert says(package) == "True True True"
    assert says(package, "use()") == "True True True"


def test_an_edited_source_is_interpreted(package: Package):
    entries = package.package / "model/entries.py"
    before = entries.stat()
    text = entries.read_text()
    entries.write_text(text.replace("told: bool = True", "told: bool = None"))
    assert says(package) == "False False False"
    entries.write_text(text)
    assert entries.stat().st_mtime_ns != before.st_mtime_ns  # the content counts
    assert says(package) == "True True True"


@pytest.mark.parametrize("file", ["compiled/table.py", "compiled/prepare.py"])
def test_another_generator_may_make_others(package: Package, file: str):
    path = package.package / file
    text = path.read_text()
    path.write_text(f"{text}\n# another\n")
    try:
        assert says(package) == "False False False"
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    "first", ["from shootdown.model import pagetables", "import shootdown.rules.check", "refuse()"]
)
def test_nothing_is_mixed(package: Package, first: str):
    assert says(package, first) == "False False False"


def test_the_switch(package: Package):
    assert says(package, **{compiled.SWITCH: "0"}) == "False False False"


def test_commands_use_it(package: Package):
    say = "import shootdown.{}, sys; from shootdown.model import entries; print(entries.__file__)"
    for of_programs in ("cli", "bench"):
        assert package.run("-c", say.format(of_programs)).stdout.strip().endswith(".so")
    assert package.run("-c", say.format("rules")).stdout.strip().endswith(".py")
    (package.where / "program.py").write_text(
        "import sys; from shootdown.model import entries; print(sys.argv[1:], entries.__file__)"
    )
    said = package.run("-m", "shootdown.compiled.run", "program", "--word").stdout.strip()
    assert said.startswith("['--word'] ") and said.endswith(".so")


def test_these_tests_are_interpreted():
    assert compiled.use() is False
