"""Writes docs/frames.md from the tables: ``python -m shootdown.frames.document [--check]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shootdown.errors import InfraError, ShootdownError
from shootdown.frames.column import COMMON, Column, Table
from shootdown.frames.recording import ALL

PATH: Final = Path("docs/frames.md")
ROOT: Final = Path(__file__).resolve().parents[3]
"""The source tree this module lies in; the document exists only there."""

_HEAD: Final = """\
<!-- Made from pytool/shootdown/frames by `python -m shootdown.frames.document`; do not edit. -->
# Tables of a recording

    import shootdown
    trace = shootdown.Trace("RUN-DIRECTORY")
    trace.ptes                      # a pandas frame
    trace.function(trace.ptes.pc)   # the kernel functions that wrote
    trace.operation(trace.ptes)     # what they were part of, with `--events functions`
    trace.to_parquet("out")         # out/ptes.parquet, ...; needs `pip install pyarrow`

`shootdown.Trace` takes a run directory or its `trace/`. The trace files are mapped; a table is made
when it is first asked for, and kept until `del trace.ptes`. An empty table has all its columns.
`trace.reader` has the events as arrays, and says whether any were lost.
[trace.ipynb](trace.ipynb) shows the tables at work.

* VA and PA are virtual and physical addresses of the guest, in bytes.
* Addresses are uint64. numpy turns uint64 mixed with int64 into float64, which has no room for an
  address: give constants as `np.uint64(...)`, and subtract `icount`s of one type.
* `category` columns hold names. Where they name members of an enumeration of
  [trace-format.md](trace-format.md), every member is a category, also one that does not occur.
* Rows are {order} unless the table says otherwise.
"""
_AGAIN: Final = """
## The notebook

`trace.ipynb` was executed on a real recording. To run it again, from the source tree:

    shootdown record --arch x86_64 --workload map_fixed --iterations 50 --out runs/notebook
    python3 -m venv build/jupyter && build/jupyter/bin/pip install nbconvert ipykernel -e .
    SHOOTDOWN_RUN=$PWD/runs/notebook build/jupyter/bin/jupyter nbconvert --to notebook \\
        --execute --inplace docs/trace.ipynb
"""


def text() -> str:
    """The text that docs/frames.md must have."""
    usual = Table.order
    parts = [
        _HEAD.format(order=usual),
        "## Columns of every table\n",
        *_rows(COMMON),
    ]
    for table in ALL.values():
        order = "" if table.order == usual else f" Rows are {table.order}."
        needs = f" Needs the event group `{table.group}`." if table.group else ""
        parts += [f"\n## `{table.name}`\n", f"{table.text}{needs}{order}\n", *_rows(table.own)]
    return "\n".join(parts) + "\n" + _AGAIN


def _rows(columns: Sequence[Column]) -> list[str]:
    head = ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    return head + [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.text} |" for c in columns]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the document, or with ``--check`` fail when it is out of date."""
    parser = argparse.ArgumentParser(prog="python -m shootdown.frames.document")
    parser.add_argument("--check", action="store_true", help="write nothing, fail on drift")
    check = parser.parse_args(argv).check
    try:
        if not (ROOT / "pyproject.toml").is_file():
            raise InfraError(f"{ROOT} is not a source tree of shootdown: run this from a checkout")
        path = ROOT / PATH
        current = path.read_text(encoding="utf-8") if path.is_file() else ""
        if check and current != text():
            raise InfraError(f"{PATH} differs from the tables: run {parser.prog} and commit")
    except ShootdownError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if current != text():
        path.write_text(text(), encoding="utf-8")
        print(f"wrote {PATH}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
