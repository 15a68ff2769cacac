"""QMP: QEMU's control channel."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from qemu.qmp import EventListener, ExecuteError, Message, QMPClient, QMPError

from shootdown.errors import InfraError
from shootdown.vm.process import PeerGoneError


class Qmp:
    """The commands we need of QMP. Methods raise InfraError when QEMU refuses.

    They raise PeerGoneError, a kind of InfraError, when QEMU is gone.
    """

    def __init__(self) -> None:
        self._client = QMPClient("shootdown")

    async def listen(self, path: Path) -> None:
        """Listen on a unix socket, before QEMU starts."""
        try:
            await self._client.start_server(str(path))
        except QMPError as error:
            raise InfraError(f"cannot listen for QMP on {path}: {error}") from error

    async def accept(self) -> None:
        """Wait for QEMU to connect and negotiate."""
        try:
            await self._client.accept()
        except QMPError as error:
            raise PeerGoneError(f"QEMU did not speak QMP: {error}") from error

    async def execute(self, name: str, arguments: Mapping[str, object] | None = None) -> object:
        """Execute any command and return what it returns."""
        try:
            return await self._client.execute(name, arguments)
        except ExecuteError as error:
            raise InfraError(f"QEMU refused the QMP command {name}: {error}") from error
        except (QMPError, EOFError, OSError) as error:
            raise PeerGoneError(f"QEMU is gone: {name} was not answered ({error})") from error

    async def stop(self) -> None:
        """Stop all vCPUs; they have stopped when this returns."""
        await self.execute("stop")

    async def cont(self) -> None:
        """Let the vCPUs run."""
        await self.execute("cont")

    async def quit(self) -> None:
        """Ask QEMU to exit the orderly way, which lets the plugin finish its files."""
        # QEMU may be gone before its answer is read; that is what was asked for.
        with contextlib.suppress(PeerGoneError):
            await self.execute("quit")

    async def save(self, path: Path) -> None:
        """Write the state of a stopped guest to a file, memory page by page at fixed places.

        Raises InfraError when that fails, for instance on a full disk.
        """
        await self._migrate("migrate", path)

    async def load(self, path: Path) -> None:
        """Read what ``save`` wrote, into a QEMU that waits for it (``-incoming defer``)."""
        await self._migrate("migrate-incoming", path)

    async def _migrate(self, command: str, path: Path) -> None:
        capabilities = [{"capability": c, "state": True} for c in ("events", "mapped-ram")]
        await self.execute("migrate-set-capabilities", {"capabilities": capabilities})
        with self._client.listener("MIGRATION") as listener:
            await self.execute(command, {"uri": f"file:{path}"})
            status = ""
            while status not in ("completed", "failed"):
                data = (await listener.get())["data"]
                assert isinstance(data, dict)
                status = data["status"]
        if status == "failed":
            reply = await self.execute("query-migrate")
            assert isinstance(reply, dict)
            raise InfraError(
                f"QEMU could not {command} {path}: {reply.get('error-desc', 'no reason given')}"
            )

    async def status(self) -> str:
        """QEMU's run state: running, paused, prelaunch, debug, ..."""
        reply = await self.execute("query-status")
        assert isinstance(reply, dict)
        return str(reply["status"])

    async def monitor(self, line: str) -> str:
        """Execute a command of the human monitor and return its output."""
        reply = await self.execute("human-monitor-command", {"command-line": line})
        return str(reply)

    async def wait_event(self, name: str) -> Message:
        """Wait for the next event of this name, such as STOP."""
        with self._client.listener(name) as listener:
            return await listener.get()

    @property
    def events(self) -> EventListener:
        """All events since the connection, in order."""
        return self._client.events

    async def close(self) -> None:
        """Disconnect; QEMU may be gone already."""
        with contextlib.suppress(QMPError, OSError, EOFError):
            await self._client.disconnect()
