"""Asking a running kernel for its symbols, where its files do not give them."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from shootdown import arch as architectures
from shootdown.errors import InfraError
from shootdown.kernel import asked, symbols
from shootdown.kernel import image as images
from shootdown.kernel.kallsyms import agrees
from shootdown.run import artifacts
from shootdown.vm import initramfs
from shootdown.vm.command import GuestConfig
from shootdown.vm.guest import Guest

_LINES: Final = 1 << 20
"""More than a kernel has symbols."""
_SECONDS: Final = 600.0


def kallsyms(image: Path, cache: Path) -> Path:
    """Boot the image without KASLR, read /proc/kallsyms, and keep it for ``facts.load``.

    Returns the file in the cache. Raises InfraError when the image cannot be booted, or the kernel
    lists no symbols or hides their addresses; GuestCrashError and GuestTimeoutError.
    """
    kernel = images.load(image)
    if kernel.obstacle:
        raise InfraError(f"{image} does not boot: {kernel.obstacle}.")
    arch = architectures.get(kernel.arch)
    with tempfile.TemporaryDirectory(prefix="shootdown-ask-") as scratch:
        archive = Path(scratch) / "initramfs.cpio"
        initramfs.build(archive, artifacts.agent(arch.name))
        config = GuestConfig(
            arch=arch,
            kernel=kernel.boot_path,
            initramfs=archive,
            run_dir=Path(scratch),
            cmdline=("nokaslr",),
        )
        text = asyncio.run(_read(config))
    what = f"/proc/kallsyms of {image}"
    table = symbols.read_map(text.encode(), what)
    if table is None:
        raise InfraError(f"{what} lists no symbols; build the kernel with CONFIG_KALLSYMS.")
    if not agrees(table, kernel):
        raise InfraError(f"{what} disagrees with the image's text; is it the kernel that booted?")
    try:
        return asked.keep(image, cache, text)
    except OSError as error:
        raise InfraError(f"cannot keep {what} in {cache}: {error.strerror}") from error


async def _read(config: GuestConfig) -> str:
    async with Guest(config) as guest:
        await guest.wait_ready()
        text = await guest.show("/proc/kallsyms", _SECONDS, _LINES)
        await guest.shutdown()
        return text
