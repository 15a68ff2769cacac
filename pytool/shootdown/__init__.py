"""Watch a Linux guest's page tables, TLB flushes and mmap_lock under QEMU, and check them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shootdown.frames.recording import Trace

__version__ = "0.1.0"
__all__ = ["Trace", "__version__"]


def __getattr__(name: str) -> type[Trace]:
    # numpy and pandas take a second to import: only who asks for a trace pays for them.
    if name != "Trace":
        raise AttributeError(f"module 'shootdown' has no attribute '{name}'")
    from shootdown.frames.recording import Trace  # noqa: PLC0415

    return Trace


def __dir__() -> list[str]:
    return __all__
