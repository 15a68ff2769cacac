"""The one tree of errors, and the exit code each of them means.

::

    ShootdownError
    |-- UsageError            2  the command line, a name or a plan is wrong
    |-- InfraError            3  QEMU, an image, the disk or the plugin let us down
    |-- SkippedError          4  the check does not apply here
    |-- GuestCrashError       5  the guest panicked, oopsed or died
    |-- GuestTimeoutError     6  the guest did not finish in time
    |-- InconclusiveError     7  events lost, audit mismatch, nothing exercised
    `-- NotReproducedError    8  a saved finding did not come back

Every message is one sentence that says what is wrong, where, and what to do.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes; a contract with every script that calls shootdown."""

    PASS = 0
    VIOLATION = 1
    USAGE = 2
    INFRA = 3
    SKIPPED = 4
    CRASH = 5
    TIMEOUT = 6
    INCONCLUSIVE = 7
    NOT_REPRODUCED = 8


class ShootdownError(Exception):
    """Base of every error the tool raises on purpose.

    ``tail`` holds the last lines of the guest console where the guest is at fault.
    """

    exit_code = ExitCode.INFRA

    def __init__(self, message: str, *, tail: str = "") -> None:
        super().__init__(message)
        self.tail = tail


class UsageError(ShootdownError):
    """The command line, a name or a plan is wrong."""

    exit_code = ExitCode.USAGE


class InfraError(ShootdownError):
    """QEMU, an image, the disk or the plugin let us down."""

    exit_code = ExitCode.INFRA


class SkippedError(ShootdownError):
    """The check does not apply here."""

    exit_code = ExitCode.SKIPPED


class GuestCrashError(ShootdownError):
    """The guest panicked, oopsed or died."""

    exit_code = ExitCode.CRASH


class GuestTimeoutError(ShootdownError):
    """The guest did not finish in time."""

    exit_code = ExitCode.TIMEOUT


class InconclusiveError(ShootdownError):
    """The evidence is incomplete: events lost, audit mismatch, nothing exercised."""

    exit_code = ExitCode.INCONCLUSIVE


class NotReproducedError(ShootdownError):
    """A saved finding did not come back."""

    exit_code = ExitCode.NOT_REPRODUCED
