"""Changing a stock kernel's text at run time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shootdown.errors import InfraError
from shootdown.vm.gdb import Gdb, attach
from shootdown.vm.guest import BOOT_SECONDS, Guest


@dataclass(frozen=True)
class Patch:
    """Bytes of kernel text to replace."""

    va: int
    """VA of the first byte."""
    old: tuple[bytes, ...]
    """What may be there; anything else is an error. All as long as ``new``."""
    new: bytes


async def patch_text(
    guest: Guest, va: int, patches: Sequence[Patch], *, timeout: float = BOOT_SECONDS
) -> None:
    """Boot a PAUSED guest up to the instruction at ``va``, change its text, let it run on.

    ``va`` is a VA where the patched text is mapped and finished, such as that of ``rest_init``
    (init/main.c: the boot CPU alone, text patching of the boot done). Raises InfraError when the
    text is not the expected one or does not change, GuestTimeoutError when ``va`` is not reached.
    """
    async with attach(guest) as gdb:
        await guest.guard(_run_to(gdb, va), timeout, f"reach VA {va:#x}")
        for patch in patches:
            await _apply(gdb, patch, patch.va)
    await guest.resume()


def differs(patch: Patch, found: bytes) -> InfraError:
    """The error to raise when the text is not what the patch expects."""
    expected = " or ".join(old.hex(" ") for old in patch.old)
    return InfraError(
        f"the kernel text at VA {patch.va:#x} is {found.hex(' ')}, not {expected}: "
        f"this patch is for another kernel"
    )


async def patch_memory(guest: Guest, patches: Sequence[Patch], pa: Callable[[int], int]) -> None:
    """Change the text of a PAUSED guest in its RAM, whatever its CPUs have mapped.

    ``pa`` gives the PA of a VA. Raises InfraError when the text is not the expected one or does not
    change.
    """
    async with attach(guest) as gdb:
        await gdb.physical(True)
        try:
            for patch in patches:
                await _apply(gdb, patch, pa(patch.va))
        finally:
            await gdb.physical(False)


async def _run_to(gdb: Gdb, va: int) -> None:
    number = await gdb.break_at(va)
    await gdb.cont()
    stop = await gdb.wait_stopped()
    if stop.breakpoint != number:
        raise InfraError(f"the guest stopped at {stop.pc:#x} ({stop.reason}), not at VA {va:#x}")
    await gdb.delete_break(number)


async def _apply(gdb: Gdb, patch: Patch, address: int) -> None:
    found = await gdb.read_memory(address, len(patch.new))
    if found not in patch.old:
        raise differs(patch, found)
    await gdb.write_memory(address, patch.new)
    if await gdb.read_memory(address, len(patch.new)) != patch.new:
        raise InfraError(f"the kernel text at VA {patch.va:#x} did not change")
