"""Makes the extension modules: Cython, then the C compiler, in a directory of their own.

What is finished is moved to its place as a whole; a build that is stopped leaves nothing there.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from shootdown.compiled import place
from shootdown.compiled.declare import declarations
from shootdown.compiled.prepare import prepared
from shootdown.compiled.source import Source, path_of
from shootdown.compiled.table import COMPILED
from shootdown.errors import InfraError

_JOBS: Final = 2
_DIRECTIVES: Final = {
    "language_level": "3",
    "annotation_typing": "True",
    "nonecheck": "True",
}
"""An attribute of None is an error, as it is in Python; without ``nonecheck`` it is anything."""
_FLAGS: Final = ("-shared", "-fPIC", "-O2", "-g0", "-fwrapv", "-DNDEBUG", "-w")
_KEPT_S: Final = 86400
"""How long earlier builds stay: a process that has begun with one may not have loaded all of it."""


def build(tell: Callable[[str], None]) -> Path:
    """Make what is not there yet; returns where it is.

    Raises InfraError where something is missing that it takes, or the source cannot be compiled.
    """
    cython = _cython()
    target = place.directory(cython)
    if target.is_dir():
        return target
    compiler = _compiler()
    tell(f"compiling {len(COMPILED)} modules of the checker")
    try:
        place.BUILT.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="building-", dir=place.BUILT) as scratch:
            _compile(Path(scratch), compiler)
            if place.directory(cython) != target:
                raise InfraError("the source has changed while it was compiled: do it again")
            _clear(target)
            _move(Path(scratch) / "done", target)
    except OSError as error:
        raise InfraError(f"the checker could not be compiled: {error}") from error
    return target


def _cython() -> str:
    try:
        return version("Cython")
    except PackageNotFoundError:
        raise _missing("Cython") from None


def _compiler() -> list[str]:
    """The C compiler that Python was built with, or gcc, and its options."""
    configured = shlex.split(str(sysconfig.get_config_var("CC")))
    words = next((words for words in (configured, ["gcc"]) if shutil.which(words[0])), None)
    if words is None:
        raise _missing("a C compiler")
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        raise _missing(f"{include / 'Python.h'} (Debian: python3-dev)")
    return [*words, *_FLAGS, f"-I{include}"]


def _missing(what: str) -> InfraError:
    return InfraError(
        f"the checker is not compiled, for this is missing: {what}; `make setup` installs it, and "
        "until then the checker is interpreted, which is slower and says the same"
    )


def _compile(scratch: Path, compiler: list[str]) -> None:
    work, done = scratch / "work", scratch / "done"
    done.mkdir()
    Source.read.cache_clear()
    for module in COMPILED:
        source, path = Source.read(module), work / path_of(module)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(prepared(source))
        path.with_suffix(".pxd").write_text(declarations(source))
    # Cython takes a directory for a package where it has this file.
    for path in work.rglob("*"):
        if path.is_dir():
            (path / "__init__.pxd").touch()
    options = [word for item in _DIRECTIVES.items() for word in ("-X", "=".join(item))]

    def one(module: str) -> None:
        file = path_of(module)
        made = file.with_suffix(".c")
        words = [sys.executable, "-m", "cython", *options, str(file), "-o", str(made)]
        _run(words, work, module)
        extension = str(done / place.extension(module))
        _run([*compiler, str(made), "-o", extension], work, module)

    with ThreadPoolExecutor(_JOBS) as pool:
        list(pool.map(one, COMPILED))


def _move(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # another build was faster
            raise


def _run(words: Sequence[str], where: Path, module: str) -> None:
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InfraError(
            f"the checker could not be compiled: {Path(words[0]).name} gave up on {module}:\n"
            f"{done.stderr.strip()}"
        )


def _clear(target: Path) -> None:
    for other in place.BUILT.iterdir():
        if other != target and time.time() - other.stat().st_mtime > _KEPT_S:
            shutil.rmtree(other, ignore_errors=True)
