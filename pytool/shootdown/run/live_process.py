"""The process that checks a trace while it is recorded; ``run.livestage`` starts it.

It is a process of its own, and a nice one, so that neither QEMU nor whoever directs the guest waits
for it. Arguments: the trace's directory, the architecture, the policy, for how many seconds it
waits for a silent vCPU, and the file to write the report to. It says on standard output, a JSON
object a line, what it finds, and ends when its standard input does or says that the trace is
complete: only then does it write the report.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from shootdown.model.known import known
from shootdown.model.stream import Window
from shootdown.rules.check import CheckReport
from shootdown.rules.live import LiveCheck
from shootdown.run.directory import RunDir, read_json
from shootdown.run.traced import Traced
from shootdown.trace.follow import Follower
from shootdown.trace.reader import Trace

COMPLETE: Final = b"complete\n"
"""What standard input says when nobody writes to the trace any more."""
_NICENESS: Final = 10
_PAUSE: Final = 0.02
"""Seconds between looks at a trace that has nothing new."""


def main(words: Sequence[str]) -> int:
    """Follow the trace to its end."""
    directory, arch, policy, patience, out = words
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us decides
    os.nice(_NICENESS)
    kernel = known(read_json(RunDir(Path(directory).parent).command))
    checker, ended = LiveCheck(arch, policy, kernel), False
    with Follower(Path(directory), patience=float(patience)) as follower:
        while True:
            stretch = follower.stretch(ended=ended)
            if stretch is not None:
                checker.feed(Window(*stretch))
                for violation in checker.news():
                    _say(violation=_told(violation.rule, violation.summary, violation.seq[-1]))
            elif ended:
                break
            if not ended and (said := _said(0 if stretch else _PAUSE)) is not None:
                if not said:
                    return 0
                ended = True
    _finish(checker, Traced(arch, Trace(Path(directory))), Path(out))
    return 0


def _finish(checker: LiveCheck, traced: Traced, out: Path) -> None:
    trace = traced.trace
    if not trace.complete or trace.lost or trace.gaps:
        _say(doubt="the trace is not whole")
        return
    report: CheckReport = checker.finish(traced)
    with out.open("wb") as file:
        pickle.dump(report, file)
    _say(report=str(out), doubt=checker.doubt)


def _told(rule: str, summary: str, seq: int) -> dict[str, Any]:
    return {"rule": rule, "summary": summary, "seq": seq}


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def _said(seconds: float) -> bytes | None:
    """What standard input says; empty when it has ended, None when nothing came."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), len(COMPLETE)) if ready else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
