from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shootdown.cli.main import main

Outcome = tuple[int, str, str]
Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run a command in an empty directory: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Outcome:
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def naughty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program for x86-64 guests that does the one bad thing it is told to."""
    out = tmp_path_factory.mktemp("naughty") / "naughty"
    source = Path(__file__).with_name("naughty.c")
    words = ["x86_64-linux-gnu-gcc", "-static", "-O1", "-Wall", "-Werror", "-o", out, source]
    subprocess.run(words, check=True)
    return out


@pytest.fixture
def background(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a command as a process of its own."""

    def start(*words: object) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "shootdown.cli", *map(str, words)]
        return subprocess.Popen(
            argv, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return start
