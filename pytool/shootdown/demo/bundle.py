"""The recorded race: from a run directory to one file, and back.

``python -m shootdown.demo.bundle RUN`` makes the file from the run directory of the demo's plan::

    shootdown race pytool/shootdown/demo/plan.toml --mutate no-flush --mem 256 --out DIR
    python -m shootdown.demo.bundle DIR/demo-x86_64-1

That is due when the format of traces changes.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from shootdown.errors import InfraError
from shootdown.kernel.symbols import SymbolTable
from shootdown.run import convert, directory
from shootdown.run.directory import RunDir
from shootdown.trace.reader import Trace

PLAN: Final = Path(__file__).with_name("plan.toml")
BUNDLE: Final = Path(__file__).with_name("run.tar.xz")
MUTATION: Final = "no-flush"
"""What was done to the kernel."""
MEM_MIB: Final = 256
_KEPT: Final = ("plan.toml", "race.toml", "guest.json", "audit.json", "trace")
_FOLDER: Final = re.compile(r"(?:/[^\s/,=]+)+/(?=[^\s/,=]+)")


def unpack(run: RunDir) -> None:
    """Put the recorded race into an empty run directory. Raises InfraError when it is not there."""
    try:
        with tarfile.open(BUNDLE) as file, directory.disk_errors(run.path):
            run.trace.mkdir()
            for member in file:
                if content := file.extractfile(member):
                    (run.path / member.name).write_bytes(content.read())
    except (OSError, tarfile.TarError) as error:
        raise InfraError(f"{BUNDLE} is damaged ({error}); install shootdown again") from error


def pack(run: RunDir, to: Path) -> None:
    """Make the file ``to`` of a run; what only its machine has is left out or shortened."""
    command = directory.read_json(run.command)
    symbols = convert.symbols_of(command)
    if symbols is None:
        raise InfraError(f"the kernel of {run.path} is gone, so its functions have no names")
    holds = directory.read_json(run.holds) | {"reproduce": "shootdown demo --live"}
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(to, "w:xz") as file:
        for name, text in (
            (run.command.name, json.dumps(_short(command), indent=1)),
            (run.holds.name, json.dumps(holds, indent=1)),
            (run.symbols.name, _used(run, symbols)),
        ):
            path = Path(scratch, name)
            path.write_text(text)
            file.add(path, name, filter=_nobody)
        for name in _KEPT:
            file.add(run.path / name, name, filter=_nobody)


def _short(value: Any) -> Any:
    """The value with every path in it cut down to its last part."""
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return _FOLDER.sub("", value) if isinstance(value, str) else value


def _used(run: RunDir, symbols: SymbolTable) -> str:
    """A System.map of the functions in which something was recorded, and those behind them."""
    wanted: dict[int, str] = {}
    for pc in np.unique(np.concatenate([e["pc"] for e in Trace(run.trace).per_cpu])).tolist():
        name, offset = symbols.at(pc)
        if name:
            wanted[pc - offset] = name
            after = symbols.next_after(pc)
            wanted.setdefault(after, symbols.at(after)[0])
    return "".join(f"{va:016x} t {name}\n" for va, name in sorted(wanted.items()))


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    pack(RunDir(Path(sys.argv[1])), BUNDLE)
