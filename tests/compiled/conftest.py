"""A process with the compiled checker, and a package with one small extension module."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest

from shootdown.compiled import SWITCH, place
from shootdown.rules.check import CheckReport
from tests.compiled.worker import Job, run_compiled

Checks = Callable[[Job], CheckReport | str]
TABLE = """
COMPILED = {
    "shootdown.model.pagetables": (),
    "shootdown.model.entries": ("Call", "Superseded", "Stale"),
}
"""


def need(there: bool, what: str) -> None:
    """Skip what cannot be tested, but where it has to be (``make test``)."""
    if not there:
        assert os.environ.get(SWITCH) != "1", what
        pytest.skip(what)


@pytest.fixture(scope="session")
def process() -> Iterator[ProcessPoolExecutor]:
    """A process that has the compiled checker."""
    need(place.built() is not None, "the source as it is now is not compiled: run `make compiled`")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def compiled(process: ProcessPoolExecutor) -> Checks:
    """The compiled checker."""
    return lambda job: process.submit(run_compiled, job).result()


class Package:
    """A copy of ``shootdown`` with a table of two modules."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.package = where / "shootdown"
        ours = place.PACKAGES / "shootdown"
        shutil.copytree(ours, self.package, ignore=shutil.ignore_patterns("_*d", "__pycache__"))
        (self.package / "compiled/table.py").write_text(TABLE)

    @property
    def built(self) -> list[str]:
        return sorted(path.name for path in (self.package / "_compiled").glob("*"))

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Python with these words, in a process that finds the copy."""
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.where,
            env={**os.environ, "PYTHONPATH": str(self.where), SWITCH: "", **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def build(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "shootdown.compiled", *words, **env)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Package:
    need(find_spec("Cython") is not None, "Cython is not there: run `make setup`")
    package = Package(tmp_path_factory.mktemp("package"))
    done = package.build()
    assert done.returncode == 0, done.stderr
    return package


@pytest.fixture
def package(once: Package) -> Iterator[Package]:
    """The copy, built; as it was afterwards."""
    entries = once.package / "model/entries.py"
    text = entries.read_text()
    yield once
    entries.write_text(text)
