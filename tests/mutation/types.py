"""Asks mypy about mutants that no test notices, in a copy of the package."""

from __future__ import annotations

import shutil
import subprocess
import sys

from tests.mutation.mutants import PACKAGE, Mutant
from tests.mutation.outcomes import PLACE, ROOT

_COPY = PLACE / "typed"


class Refusals:
    """Whether mypy refuses mutants. The first question takes a minute, the others a few seconds."""

    def __init__(self) -> None:
        shutil.copytree(PACKAGE, _COPY / "pytool/shootdown", dirs_exist_ok=True)
        shutil.copy(ROOT / "pyproject.toml", _COPY)

    def refused(self, mutant: Mutant, text: str) -> bool:
        """Whether it has complaints about the file with the mutant's change."""
        path = _COPY / "pytool/shootdown" / mutant.file
        kept = path.read_text()
        path.write_text(text)
        try:
            return self._complains(mutant)
        finally:
            path.write_text(kept)

    def _complains(self, mutant: Mutant) -> bool:
        command = [sys.executable, "-m", "mypy", "--strict", "-m", mutant.module]
        done = subprocess.run(command, cwd=_COPY, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"mypy failed: {done.stdout}{done.stderr}")
        return done.returncode == 1
