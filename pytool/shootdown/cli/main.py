"""``shootdown``: the parser, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final, NoReturn

import shootdown
from shootdown.cli import (
    bisect,
    build_kernel,
    check,
    ci,
    demo,
    doctor,
    explain,
    fetch,
    race,
    record,
    replay,
    report,
    run,
    search,
    shrink,
)
from shootdown.errors import ExitCode, InfraError, ShootdownError, UsageError

COMMANDS: Final[tuple[ModuleType, ...]] = (
    *(run, race, replay, shrink, search, ci, bisect, record, check, report),
    *(explain, fetch, build_kernel, doctor, demo),
)
INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM

EPILOG: Final = """exit codes:
  0 pass            1 rule violation   2 usage         3 infrastructure
  4 skipped         5 guest crashed    6 timeout       7 inconclusive
  8 not reproduced  130 interrupted    143 terminated
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="shootdown",
        description=shootdown.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"shootdown {shootdown.__version__}")
    top.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    commands = top.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2].replace("_", "-")
        summary = (module.__doc__ or "").partition("\n")[0]
        sub = commands.add_parser(
            name,
            help=summary.partition(": ")[2],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
        module.add_arguments(sub)
        sub.set_defaults(execute=module.execute)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit code."""
    words, command = _split(sys.argv[1:] if argv is None else argv)
    if next((word for word in words if not word.startswith("-")), "") == "bisect":
        return bisect.guarded(lambda: _main(words, command))
    return _main(words, command)


def _main(words: list[str], command: list[str]) -> int:
    debug = "--debug" in words
    with _Sigterm() as sigterm:
        try:
            args = parser().parse_args(words)
            args.command = tuple(command)
            code: int = args.execute(args)
            sys.stdout.flush()
            return code
        except ShootdownError as error:
            return _tell(error, debug)
        except KeyboardInterrupt:
            print(f"shootdown: {sigterm.word}", file=sys.stderr)
            return sigterm.code
        except BrokenPipeError:
            # The reader of our output left; without this Python would complain at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.INFRA
        except Exception as error:  # Python's own code for it would be 1, that of a violation
            return _tell(_defect(error), debug)


class _Sigterm:
    # SIGTERM takes SIGINT's way, which asyncio knows to turn into an orderly end. Where SIGINT is
    # ignored, as in a shell's background job, asyncio would not: there it is held back instead.

    def __init__(self) -> None:
        self.code = INTERRUPTED
        self.word = "interrupted"

    def __enter__(self) -> _Sigterm:
        self._ours = threading.current_thread() is threading.main_thread()
        self._ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        if self._ours and self._ignored:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._ours:
            self._before = signal.signal(signal.SIGTERM, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            signal.signal(signal.SIGTERM, self._before)
        if self._ours and self._ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _arrived(self, _number: int, _frame: FrameType | None) -> None:
        self.code, self.word = TERMINATED, "terminated"
        if self._ignored:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.raise_signal(signal.SIGINT)


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    # Everything behind `--` is a guest's command. A lone --json must not swallow the next word,
    # which argparse's optional values do.
    own, command = list(words), []
    if "--" in own:
        at = own.index("--")
        own, command = own[:at], own[at + 1 :]
        command = command or [""]  # `--` with nothing behind it is refused by the commands
    return ["--json=-" if word == "--json" else word for word in own], command


def _defect(error: Exception) -> ShootdownError:
    """What no part of shootdown foresaw, as a sentence that can be reported."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    told = InfraError(
        f"this is a defect of shootdown: {type(error).__name__} in {where}: {error}; "
        "run the same with --debug and report what it prints"
    )
    told.__cause__ = error
    return told


def _tell(error: ShootdownError, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if error.tail:
        print("last words of the guest's console:", file=sys.stderr)
        for line in error.tail.splitlines():
            print(f"  | {line}", file=sys.stderr)
    print(f"shootdown: error: {error}", file=sys.stderr)
    return error.exit_code
