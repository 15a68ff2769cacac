from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shootdown.errors import InfraError
from shootdown.vm.process import Child, check_qemu, qemu_version


def fake_qemu(directory: Path, output: str, monkeypatch: pytest.MonkeyPatch) -> str:
    program = directory / "qemu-system-fake"
    program.write_text(f"#!/bin/sh\n{output}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    qemu_version.cache_clear()
    return program.name


def test_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = fake_qemu(tmp_path, "echo QEMU emulator version 11.0.50 '(x)'", monkeypatch)
    assert qemu_version(name) == (11, 0, 50)
    check_qemu(name)


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("echo QEMU emulator version 7.2.17 '(Debian)'", "version 7.2.17, too old.*install QEMU"),
        ("echo hello", "is it QEMU"),
        ("exit 3", "status 3"),
    ],
)
def test_unusable_emulators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, complaint: str
) -> None:
    with pytest.raises(InfraError, match=complaint):
        check_qemu(fake_qemu(tmp_path, output, monkeypatch))


def test_missing_programs() -> None:
    with pytest.raises(InfraError, match="not in PATH: install QEMU 10"):
        check_qemu("qemu-system-none")
    with pytest.raises(InfraError, match="no-such-program is not in PATH"):
        asyncio.run(Child.start(["no-such-program"]))


def test_standard_error_becomes_one_line() -> None:
    async def main() -> tuple[int, str]:
        child = await Child.start(["sh", "-c", "echo one >&2; echo; echo ' two' >&2; exit 3"])
        return await child.wait(), child.stderr

    assert asyncio.run(main()) == (3, "one; two")


def test_kill_takes_the_whole_group() -> None:
    async def main() -> tuple[int | None, bytes]:
        # The grandchild holds standard output open: its end is the end of the pipe.
        child = await Child.start(["sh", "-c", "sleep 1000 & echo started; wait"])
        assert await child.stdout.readline() == b"started\n"
        await child.kill()
        await child.kill()
        return child.returncode, await child.stdout.read()

    assert asyncio.run(main()) == (-signal.SIGKILL, b"")


PARENT = """
import asyncio, os
from shootdown.vm.process import Child
async def main():
    child = await Child.start(["sleep", "1000"])
    print(child.pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


def test_children_die_with_us() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        ended, _, _ = select.select([child], [], [], 60)
        os.close(child)
    assert ended
