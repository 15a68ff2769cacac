"""Writes the files that are made from ``schema.py``: the C header and the document.

``python -m shootdown.trace.generate`` writes ``plugin/schema.h`` and
``docs/trace-format.md`` into the source tree; ``--check`` changes nothing and fails
when either differs from what would be written.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntFlag
from pathlib import Path
from typing import Final, TypeVar

from shootdown.errors import InfraError, ShootdownError
from shootdown.trace import schema

ROOT: Final = Path(__file__).resolve().parents[3]
"""The source tree this module lies in; the generated files exist only there."""

_WIDTH: Final = 100
_TAB: Final = 8

_Member = TypeVar("_Member", bound=Enum)


@dataclass(frozen=True)
class HeaderField:
    """One field of the file header, which is zero padded to ``HEADER_BYTES``."""

    name: str
    c: str
    array: int
    text: str


HEADER_FIELDS: Final = (
    HeaderField("magic", "char", 8, f'"{schema.MAGIC.decode()}", no NUL'),
    HeaderField("version", "uint32_t", 0, "version of the schema"),
    HeaderField("header_bytes", "uint32_t", 0, "offset of the first record"),
    HeaderField("record_bytes", "uint32_t", 0, "size of a record"),
    HeaderField("cpu", "uint32_t", 0, "vCPU index"),
    HeaderField("start_realtime_ns", "uint64_t", 0, "host CLOCK_REALTIME when the file was opened"),
    HeaderField(
        "slide",
        "uint64_t",
        0,
        "bytes that KASLR added to the VAs of the kernel's image, once ARMED",
    ),
)

_FLUSH_TEXT: Final = {
    schema.FlushOp.INVLPG: "x86 INVLPG: one VA on this vCPU, all page sizes, global entries too",
    schema.FlushOp.CR4_WRITE: "x86 CR4 write that flips PGE, PCIDE or SMEP: everything here",
    schema.FlushOp.INVPCID: "x86 INVPCID",
    schema.FlushOp.INVLPGB: "x86 INVLPGB: broadcast, complete at the issuer's TLBSYNC",
    schema.FlushOp.TLBI_VA: "arm64 TLBI by VA in one ASID",
    schema.FlushOp.TLBI_RANGE: "arm64 TLBI by VA range in one ASID",
    schema.FlushOp.TLBI_ASID: "arm64 TLBI of one ASID",
    schema.FlushOp.TLBI_ALL: "arm64 TLBI of everything",
    schema.FlushOp.TLBI_VA_ALL_ASID: "arm64 TLBI by VA in every ASID",
    schema.FlushOp.TLBI_RANGE_ALL_ASID: "arm64 TLBI by VA range in every ASID",
}
_BARRIER_TEXT: Final = {
    schema.BarrierOp.DSB: "arm64 DSB",
    schema.BarrierOp.ISB: "arm64 ISB",
    schema.BarrierOp.TLBSYNC: "x86 TLBSYNC",
}
_ROOT_TEXT: Final = {
    schema.RootReg.CR3: "x86 CR3",
    schema.RootReg.TTBR0: "arm64 TTBR0_EL1: the user half",
    schema.RootReg.TTBR1: "arm64 TTBR1_EL1: the kernel half",
}


def _flag_texts(cls: type[IntFlag]) -> dict[IntFlag, str]:
    # Python itself forgets the string below each member.
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts: dict[IntFlag, str] = {}
    for member, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            name = member.targets[0]
            assert isinstance(name, ast.Name)
            assert isinstance(text.value, ast.Constant)
            sentence = " ".join(str(text.value.value).split()).rstrip(".").replace("``", "")
            texts[cls[name.id]] = sentence
    return texts


@dataclass(frozen=True)
class EnumDoc:
    """An enumeration of the schema with the text of each member."""

    c_name: str
    prefix: str
    about: str
    rows: tuple[tuple[int, str, str], ...]
    """Value, name, text."""


def _enum(c_name: str, prefix: str, about: str, texts: dict[_Member, str]) -> EnumDoc:
    rows = sorted((int(member.value), member.name, text) for member, text in texts.items())
    return EnumDoc(c_name, prefix, about, tuple(rows))


ENUMS: Final = (
    _enum("sd_kind", "SD_KIND", "kind: what happened", schema.KIND_TEXT),
    _enum("sd_flag", "SD_FLAG", "flags: bits", _flag_texts(schema.Flag)),
    _enum("sd_use", "SD_USE", "use of a frame: bits of c in PAGE_FREED", _flag_texts(schema.Use)),
    _enum("sd_flush", "SD_FLUSH", "id of FLUSH", _FLUSH_TEXT),
    _enum("sd_barrier", "SD_BARRIER", "id of BARRIER", _BARRIER_TEXT),
    _enum("sd_root", "SD_ROOT", "id of ROOT_LOAD", _ROOT_TEXT),
    _enum("sd_watch", "SD_WATCH", "id of WATCH and WATCH_INIT", schema.WATCH_TEXT),
    _enum("sd_probe", "SD_PROBE", "id of PROBE and PROBE_MORE", schema.PROBE_TEXT),
    _enum("sd_mark", "SD_MARK", "id of MARK", schema.MARK_TEXT),
)


def _comment(text: str, tabs: int) -> list[str]:
    """A kernel-style C comment, indented by ``tabs``, no line wider than 100 columns."""
    indent = "\t" * tabs
    if tabs * _TAB + len(text) + 6 <= _WIDTH:
        return [f"{indent}/* {text} */"]
    lines = textwrap.wrap(text, _WIDTH - tabs * _TAB - 3, break_on_hyphens=False)
    return [f"{indent}/*", *(f"{indent} * {line}" for line in lines), f"{indent} */"]


def _c_enum(enum: EnumDoc) -> list[str]:
    lines = [*_comment(enum.about, 0), f"enum {enum.c_name} {{"]
    for value, name, text in enum.rows:
        lines += [*_comment(text, 1), f"\t{enum.prefix}_{name} = {value},"]
    return [*lines, "};", ""]


def _c_event() -> list[str]:
    lines = ["/* One record. */", "struct sd_event {"]
    for field in schema.FIELDS:
        lines += [*_comment(field.text, 1), f"\t{field.c} {field.name};"]
    return [
        *lines,
        "} __attribute__((packed));",
        "",
        '_Static_assert(sizeof(struct sd_event) == SD_RECORD_BYTES, "a record is packed");',
        "",
    ]


def _c_file_header() -> list[str]:
    lines = [
        "/* The first bytes of a trace file; zeros follow up to SD_HEADER_BYTES. */",
        "struct sd_file_header {",
    ]
    for field in HEADER_FIELDS:
        array = f"[{field.array}]" if field.array else ""
        lines += [*_comment(field.text, 1), f"\t{field.c} {field.name}{array};"]
    return [*lines, "} __attribute__((packed));", ""]


def c_header() -> str:
    """The text of ``plugin/schema.h``."""
    lines = [
        "/* SPDX-License-Identifier: GPL-2.0-or-later */",
        "/*",
        " * The trace format. Made from pytool/shootdown/trace/schema.py; do not edit:",
        " * python -m shootdown.trace.generate",
        " */",
        "#ifndef SHOOTDOWN_SCHEMA_H",
        "#define SHOOTDOWN_SCHEMA_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define SD_VERSION\t{schema.VERSION}",
        f'#define SD_MAGIC\t"{schema.MAGIC.decode()}"',
        f"#define SD_HEADER_BYTES {schema.HEADER_BYTES}",
        f"#define SD_RECORD_BYTES {schema.RECORD_BYTES}",
        "",
    ]
    for enum in ENUMS:
        lines += _c_enum(enum)
    return "\n".join([*lines, *_c_event(), *_c_file_header(), "#endif", ""])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells]


def document() -> str:
    """The text of ``docs/trace-format.md``."""
    lines = [
        "<!-- Made from pytool/shootdown/trace/schema.py by `python -m shootdown.trace.generate`;"
        " do not edit. -->",
        "# Trace format",
        "",
        f"Version {schema.VERSION}. A trace is a directory with one file per vCPU, `cpu<N>.trace`. "
        f"A file is a header of {schema.HEADER_BYTES} bytes and then records of "
        f"{schema.RECORD_BYTES} bytes, little endian, packed, append only. A file whose writer was "
        "killed is valid up to its last whole record; a complete one ends with one `COUNT` record "
        "for each kind it holds and a `TRAILER`.",
        "",
        "Numbers (`seq`) are drawn after the access, from one counter for all vCPUs, each given "
        "out once. In one file they rise. When nothing was lost and every file is complete, the "
        "numbers of all records together have no gap.",
        "",
        "## File header",
        "",
        "The rest is zeros.",
        "",
        *_table(
            ("field", "type", "meaning"),
            [
                (f"`{f.name}`", f"`{f.c}{f'[{f.array}]' if f.array else ''}`", f.text)
                for f in HEADER_FIELDS
            ],
        ),
        "",
        "## Record",
        "",
        *_table(
            ("offset", "field", "type", "meaning"),
            [
                (str(schema.DTYPE.fields[f.name][1]), f"`{f.name}`", f"`{f.c}`", f.text)
                for f in schema.FIELDS
                if schema.DTYPE.fields
            ],
        ),
        "",
        "`PROBE_MORE` continues the `PROBE` before it on the same vCPU. Fields that a kind does "
        "not speak of are zero.",
    ]
    for enum in ENUMS:
        rows = [(str(value), f"`{name}`", text) for value, name, text in enum.rows]
        lines += ["", f"## `{enum.c_name}`: {enum.about}", ""]
        lines += _table(("value", "name", "meaning"), rows)
    return "\n".join([*lines, ""])


def outputs() -> dict[Path, str]:
    """Every generated file, relative to the source tree, with the text it must have."""
    return {Path("plugin/schema.h"): c_header(), Path("docs/trace-format.md"): document()}


def drifted(root: Path = ROOT) -> list[Path]:
    """The generated files below ``root`` that differ from the schema or are absent."""

    def current(path: Path) -> str | None:
        return path.read_text(encoding="utf-8") if path.is_file() else None

    return [path for path, text in outputs().items() if current(root / path) != text]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the generated files, or with ``--check`` say which are out of date."""
    parser = argparse.ArgumentParser(prog="python -m shootdown.trace.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on drift")
    check = parser.parse_args(argv).check
    try:
        if not (ROOT / "pyproject.toml").is_file():
            raise InfraError(
                f"{ROOT} is not a source tree of shootdown: run this from a checkout, "
                "installed in place (pip install -e)"
            )
        stale = drifted()
        if check and stale:
            names = ", ".join(map(str, stale))
            raise InfraError(f"{names} differ from schema.py: run {parser.prog} and commit")
    except ShootdownError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for path in stale:
        (ROOT / path).write_text(outputs()[path], encoding="utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
