from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from shootdown.errors import GuestCrashError, UsageError
from shootdown.vm.agent import Agent, Hello
from shootdown.vm.console import CappedLog
from shootdown.vm.process import PeerGoneError

T = TypeVar("T")


def converse(directory: Path, said: bytes, talk: Callable[[Agent], Awaitable[T]]) -> tuple[T, str]:
    """Let a guest say some bytes and close; return the talk's result and what the guest heard."""

    async def main() -> tuple[T, str]:
        agent = Agent(CappedLog(directory / "agent.log"))
        await agent.listen(directory / "socket")
        reader, writer = await asyncio.open_unix_connection(str(directory / "socket"))
        await agent.accept()
        writer.write(said)
        writer.write_eof()
        try:
            result = await talk(agent)
            await agent.close()
            return result, (await reader.read()).decode()
        finally:
            await agent.close()
            writer.close()
            await writer.wait_closed()

    return asyncio.run(main())


def test_ready(tmp_path: Path) -> None:
    hello, _ = converse(tmp_path, b"note early\r\nready arm64 6.12.1+deb13\r\n", Agent.ready)
    assert hello == Hello("arm64", "6.12.1+deb13")


def test_run_collects_stats_and_notes(tmp_path: Path) -> None:
    said = b"start a\nstat a replaced 12\nstat a seen old new\nnote hear me\ndone a 137\n"
    result, heard = converse(tmp_path, said, lambda agent: agent.run("a", 5, 9, threads=2))
    assert heard == "run a 5 9 threads=2\n"
    assert (result.name, result.status) == ("a", 137)
    assert result.stats == {"replaced": "12", "seen": "old new"}
    assert result.notes == ["hear me"]
    log = (tmp_path / "agent.log").read_text()
    assert "> run a 5 9 threads=2\n" in log
    assert "< note hear me\n" in log


def test_list_and_exec(tmp_path: Path) -> None:
    async def talk(agent: Agent) -> tuple[dict[str, str], int]:
        workloads = await agent.list()
        return workloads, (await agent.exec("/bin/a", "-x")).status

    said = b"workload a flips a page\nworkload b\nend\nstart a\ndone a 0\n"
    (workloads, status), heard = converse(tmp_path, said, talk)
    assert workloads == {"a": "flips a page", "b": ""}
    assert status == 0
    assert heard == "list\nexec /bin/a -x\n"


def test_load_and_show(tmp_path: Path) -> None:
    async def talk(agent: Agent) -> tuple[int, str]:
        status = (await agent.load("mremap", "/usr/bin/a", "--mremap", "2")).status
        return status, await agent.show("/tmp/figures")

    said = b"start mremap\ndone mremap 2\nline metrics:\nline \nline     - a: 1\nend\n"
    (status, text), heard = converse(tmp_path, said, talk)
    assert status == 2
    assert text == "metrics:\n\n    - a: 1\n"
    assert heard == "load mremap /usr/bin/a --mremap 2\nshow /tmp/figures\n"


def test_show_asks_for_lines_and_takes_no_more(tmp_path: Path) -> None:
    async def talk(agent: Agent) -> str:
        return await agent.show("/proc/kallsyms", 2)

    text, heard = converse(tmp_path, b"line a\nline b\nend\n", talk)
    assert (text, heard) == ("a\nb\n", "show /proc/kallsyms 2\n")
    with pytest.raises(GuestCrashError, match="more of /proc/kallsyms than 2 lines"):
        converse(tmp_path, b"line a\n" * 3 + b"end\n", talk)


def test_refusal_is_a_usage_error_and_not_the_end(tmp_path: Path) -> None:
    async def talk(agent: Agent) -> int:
        with pytest.raises(UsageError, match="refused 'run b 1 1': no workload b"):
            await agent.run("b", 1, 1)
        return (await agent.run("a", 1, 1)).status

    status, _ = converse(tmp_path, b"error no workload b\ndone a 3\n", talk)
    assert status == 3


@pytest.mark.parametrize(
    "said",
    [b"done\n", b"done a\n", b"done a x\n", b"done a 256\n", b"done a -1\n", b"stat a\n",
     b"done a \xb2\n", b"x" * 100_000 + b"\n"],
)  # fmt: skip
def test_nonsense_is_the_guests_fault(tmp_path: Path, said: bytes) -> None:
    with pytest.raises(GuestCrashError, match="agent"):
        converse(tmp_path, said, lambda agent: agent.run("a", 1, 1))


@pytest.mark.parametrize("said", [b"", b"start a\n", b"done a 0"])
def test_end_of_the_channel(tmp_path: Path, said: bytes) -> None:
    with pytest.raises(PeerGoneError):
        converse(tmp_path, said, lambda agent: agent.run("a", 1, 1))


@pytest.mark.parametrize("word", ["", "a b", "a\nquit", "a\tb"])
def test_words_cannot_smuggle_commands(tmp_path: Path, word: str) -> None:
    with pytest.raises(UsageError, match="without spaces"):
        converse(tmp_path, b"", lambda agent: agent.exec(word))


def test_after_an_abandoned_command_no_other_can_start(tmp_path: Path) -> None:
    async def talk(agent: Agent) -> None:
        run = asyncio.create_task(agent.run("a", 1, 1))
        await asyncio.sleep(0)
        run.cancel()
        await asyncio.wait({run})
        await agent.list()

    with pytest.raises(UsageError, match="still busy with 'run a 1 1'"):
        converse(tmp_path, b"", talk)


def pipe(directory: Path, said: bytes, talk: Callable[[Agent], Awaitable[T]], *known: str) -> T:
    """As ``converse``, with an agent that is not spoken to and knows its commands."""

    async def main() -> T:
        agent = Agent(CappedLog(directory / "agent.log"), known)
        await agent.listen_only(directory / "pipe")
        await agent.accept()
        with (directory / "pipe.out").open("wb", buffering=0) as out:
            out.write(said)
        try:
            return await talk(agent)
        finally:
            await agent.close()

    return asyncio.run(main())


def test_commands_that_the_guest_was_started_with(tmp_path: Path) -> None:
    async def talk(agent: Agent) -> list[int]:
        await agent.ready()
        return [(await agent.run(name, 5, 9)).status for name in ("a", "b")]

    said = b"ready x 6.12\nstart a\ndone a 0\nstart b\ndone b 3\n"
    assert pipe(tmp_path, said, talk, "run a 5 9", "run b 5 9") == [0, 3]
    assert "= run b 5 9\n" in (tmp_path / "agent.log").read_text()


@pytest.mark.parametrize(
    ("known", "why"),
    [((), "cannot be sent"), (("run a 5 8",), "was started to do 'run a 5 8', not 'run a 5 9'")],
)
def test_and_no_others(tmp_path: Path, known: tuple[str, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        pipe(tmp_path, b"done a 0\n", lambda agent: agent.run("a", 5, 9), *known)


def test_a_pipe_takes_what_nobody_reads(tmp_path: Path) -> None:
    """Byte by byte, as a serial port writes."""

    async def main() -> None:
        agent = Agent(CappedLog(tmp_path / "agent.log"))
        await agent.listen_only(tmp_path / "pipe")
        out = os.open(tmp_path / "pipe.out", os.O_WRONLY | os.O_NONBLOCK)
        for _ in range(200_000):
            assert os.write(out, b"x") == 1
        os.close(out)
        await agent.close()

    asyncio.run(main())
