"""Outcomes that are kept: those of the very same sources and tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from tests.mutation.judge import JUDGES, Outcome

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build/mutation"
SOURCES = ("pyproject.toml", "pytool/shootdown/**/*", *JUDGES)


class Kept:
    """Outcomes by the name of the mutant, in a file that one line is added to for each."""

    def __init__(self) -> None:
        self._path = PLACE / f"{_state()}.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        self.outcomes = {one.name: one for one in (Outcome(**json.loads(line)) for line in lines)}

    def add(self, outcome: Outcome) -> None:
        """Keep one more; a later one of the same mutant takes its place."""
        self.outcomes[outcome.name] = outcome
        PLACE.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as stream:
            stream.write(json.dumps(asdict(outcome)) + "\n")


def _state() -> str:
    """A name for the sources and tests as they are."""
    digest = hashlib.sha256()
    for path in _files():
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _files() -> Iterator[Path]:
    found = {path for glob in SOURCES for path in ROOT.glob(glob) if path.is_file()}
    yield from (path for path in sorted(found) if "__pycache__" not in path.parts)
