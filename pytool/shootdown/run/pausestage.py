"""A guest that a violation has stopped, and people who look at it with gdb or drgn."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shootdown.errors import ShootdownError
from shootdown.kernel import symbol_file
from shootdown.model.tasks_walk import KernelSpace
from shootdown.run import auditstage, directory, identity, locate
from shootdown.run.auditstage import Stand
from shootdown.run.directory import RunDir
from shootdown.run.prepared import Prepared
from shootdown.vm.gdb import GDB
from shootdown.vm.guest import Guest, State

Tell = Callable[[str], None]
_DRGN: Final = """\
# drgn on the guest that stands still. The program is `prog`.
import pathlib

import drgn
from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

prog = drgn.Program()
prog.set_qemu_qmp({monitor!r})
prog.set_linux_kernel_custom(pathlib.Path({info!r}).read_bytes(), True)
prog.register_symbol_finder("kallsyms", load_vmlinux_kallsyms(prog), enable_index=0)
for file in {files!r}:
    try:
        prog.load_debug_info([file])
    except drgn.MissingDebugInfoError as error:
        print(error)
"""
_FOREVER: Final = 1e7
"""Seconds."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def hold(guest: Guest, prepared: Prepared, run: RunDir, stand: Stand, tell: Tell) -> Stand:
    """Leave a paused guest to the user until SIGINT or SIGTERM; it is paused again then.

    Tells how to look at it. Returns how it stands in the end, for the audit. Nothing that the user
    does to the guest is an error, nor that QEMU is ended.
    """
    for line in _lines(guest, prepared, run, stand):
        tell(line)
    resumed = asyncio.create_task(guest.qmp.wait_event("RESUME"))
    try:
        with _asked_to_end() as asked, contextlib.suppress(ShootdownError):
            await guest.guard(asked.wait(), _FOREVER, "wait for its user")
        if guest.state is State.DEAD:
            tell("the guest was ended from outside")
        elif resumed.done():
            tell("the guest has run since")
            await guest.qmp.stop()
            return await auditstage.take(guest)
        return stand
    finally:
        resumed.cancel()
        await asyncio.gather(resumed, return_exceptions=True)


def _lines(guest: Guest, prepared: Prepared, run: RunDir, stand: Stand) -> Iterator[str]:
    place = locate.find(stand.memory, prepared.facts)
    slide = place.slide if place else 0
    with directory.disk_errors(run.symbol_file):
        symbol_file.write(run.symbol_file, prepared.facts, slide)
    vmlinux = prepared.facts.files.vmlinux
    told = vmlinux if vmlinux and not slide else run.symbol_file
    connect = shlex.quote(f"target remote {guest.sockets.gdb}")
    yield "the guest stands still; look at it from another terminal:"
    yield f"  {GDB} {shlex.quote(str(told))} -ex {connect}"
    yield "  (there is a thread for each vCPU; `disconnect` leaves the guest stopped, `detach` and"
    yield "  `continue` let it run on, recorded)"
    info = _vmcoreinfo(prepared, stand, slide)
    if info:
        with directory.disk_errors(run.path):
            run.vmcoreinfo.write_bytes(info)
            run.drgn.write_text(_drgn(guest, run, vmlinux))
        yield f"  python3 -i {shlex.quote(str(run.drgn))}   # drgn 0.3 or newer; prog is the guest"
    yield "press ^C here, or send SIGTERM, to end the run in order"


def _drgn(guest: Guest, run: RunDir, vmlinux: Path | None) -> str:
    """A script that has drgn look at the guest's memory; types need a vmlinux with DWARF."""
    return _DRGN.format(
        monitor=str(guest.sockets.monitor),
        info=str(run.vmcoreinfo),
        files=[str(vmlinux)] if vmlinux else [],
    )


def _vmcoreinfo(prepared: Prepared, stand: Stand, slide: int) -> bytes:
    """What the kernel tells debuggers of itself (kernel/vmcore_info.c); empty where it does not."""
    facts = prepared.facts
    if "vmcoreinfo_data" not in facts.symbols or "vmcoreinfo_size" not in facts.symbols:
        return b""
    try:
        spaces = auditstage.loaded_spaces(stand, prepared.arch)
        space: KernelSpace = identity.check(stand.memory, spaces, facts, slide=slide)
        text = space.word(facts.va("vmcoreinfo_data") + slide)
        size = space.word(facts.va("vmcoreinfo_size") + slide)
        return stand.memory.read(space.translate(text), min(size, 4096)) if text else b""
    except ShootdownError:
        return b""


@contextmanager
def _asked_to_end() -> Iterator[asyncio.Event]:
    """Set by the first of the signals, which otherwise would end everything at once."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, asked.set)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
