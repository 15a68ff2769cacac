from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

GUEST = Path(__file__).parents[2] / "guest"
PATIENCE_S = 120
"""A guard against a hung agent, never a measurement."""


@pytest.fixture(scope="session")
def guest_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both architectures' guest programs, built the way the Makefile says."""
    out = tmp_path_factory.mktemp("guest")
    subprocess.run(["make", "-s", "-j2", "-C", GUEST, f"OUT={out}"], check=True)
    return out


class Agent:
    """The agent's own loop, on this machine, behind a pseudo terminal."""

    def __init__(self, init: Path):
        self.controller, terminal = pty.openpty()
        tty.setraw(self.controller)
        self.process = subprocess.Popen([init, "serve", os.ttyname(terminal)])
        self.rest = b""
        self.ready = self.line()
        os.close(terminal)

    def line(self) -> str:
        while b"\n" not in self.rest:
            if not select.select([self.controller], [], [], PATIENCE_S)[0]:
                raise TimeoutError("the agent is silent")
            self.rest += os.read(self.controller, 4096)
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def ask(self, request: bytes | str) -> list[str]:
        """Send a line; the answer up to the word that ends it."""
        data = request if isinstance(request, bytes) else request.encode()
        for start in range(0, len(data), 1024):
            os.write(self.controller, data[start : start + 1024])
        os.write(self.controller, b"\n")
        answer = [self.line()]
        while answer[-1].split()[0] not in ("done", "end", "error", "bye"):
            answer.append(self.line())
        return answer

    def stats(self, request: str) -> dict[str, int]:
        """Run a workload that must succeed; its statistics."""
        answer = self.ask(request)
        name = request.split()[1]
        assert answer[0] == f"start {name}"
        assert answer[-1] == f"done {name} 0", answer
        words = [line.split() for line in answer[1:-1]]
        assert all(len(each) == 4 and each[:2] == ["stat", name] for each in words), answer
        found = {key: int(value) for _, _, key, value in words}
        assert len(found) == len(words), "a key was reported twice"
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.controller)


@pytest.fixture
def agent(guest_build: Path) -> Iterator[Agent]:
    if os.uname().machine != "x86_64":
        pytest.skip("the native build is for x86-64")
    agent = Agent(guest_build / "x86_64" / "init")
    yield agent
    agent.close()


@pytest.fixture(scope="session")
def needs_clang_format() -> None:
    if shutil.which("clang-format") is None:
        pytest.skip("clang-format is not installed")
