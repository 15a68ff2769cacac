"""Why a guest ended, or did not do what was waited for: from what QEMU and its console said.

``doing`` completes the sentence "the guest did not ...".
"""

from __future__ import annotations

from shootdown.errors import GuestCrashError, GuestTimeoutError, InfraError, ShootdownError
from shootdown.vm.console import Console


def ended(console: Console, status: int, stderr: str, doing: str) -> ShootdownError:
    """QEMU has ended with ``status``, minus the signal's number if killed."""
    said = f": {stderr}" if stderr else ""
    if status:
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        return InfraError(f"QEMU ended with {how}, the guest did not {doing}{said}")
    if console.splats:
        return _crashed(console, doing)
    return GuestCrashError(
        f"the guest ended without a panic and did not {doing}: read console.log{said}",
        tail=console.tail,
    )


def late(console: Console, timeout: float, doing: str) -> ShootdownError:
    """``timeout`` seconds have passed, and QEMU is still there."""
    if console.splats:
        return _crashed(console, doing)
    flood = f", its console dropped {console.log.dropped} bytes of a flood"
    return GuestTimeoutError(
        f"the guest did not {doing} within {timeout:g} s"
        f"{flood if console.log.dropped else ''}: read console.log or allow more time",
        tail=console.tail,
    )


def _crashed(console: Console, doing: str) -> GuestCrashError:
    return GuestCrashError(
        f"the guest crashed and did not {doing}, read console.log: {console.splats[0]}",
        tail=console.tail,
    )
