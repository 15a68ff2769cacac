"""Generated files follow the schema, and a C compiler agrees with numpy."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shootdown.trace import generate, schema


def test_generated_files_are_current() -> None:
    assert generate.drifted() == []


def test_drift_is_seen(tmp_path: Path) -> None:
    for path, text in generate.outputs().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert generate.drifted(tmp_path) == []
    with (tmp_path / "plugin/schema.h").open("a", encoding="utf-8") as header:
        header.write("\n")
    (tmp_path / "docs/trace-format.md").unlink()
    assert len(generate.drifted(tmp_path)) == 2


def test_every_member_of_every_enumeration_is_written() -> None:
    enums = (
        schema.Kind,
        schema.Flag,
        schema.Use,
        schema.FlushOp,
        schema.BarrierOp,
        schema.RootReg,
        schema.Watch,
        schema.Probe,
        schema.Mark,
    )
    header = generate.c_header()
    for cls, doc in zip(enums, generate.ENUMS, strict=True):
        assert {(value, name) for value, name, _ in doc.rows} == {
            (member.value, member.name) for member in cls
        }
        for member in cls:
            assert f"\t{doc.prefix}_{member.name} = {member.value}," in header


def test_no_line_is_wider_than_the_style_allows() -> None:
    for line in generate.c_header().splitlines():
        assert len(re.sub("\t", " " * 8, line)) <= 100


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c_and_numpy_agree_on_the_layout(compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    offsets = schema.DTYPE.fields
    assert offsets
    checks = [
        f'_Static_assert(__builtin_offsetof(struct sd_event, {name}) == {field[1]}, "{name}");'
        for name, field in offsets.items()
    ]
    source = tmp_path / "layout.c"
    source.write_text('#include "schema.h"\n' + "\n".join(checks) + "\n", encoding="utf-8")
    flags = [
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "-I",
        generate.ROOT / "plugin",
    ]
    subprocess.run([compiler, *flags, "-c", source, "-o", tmp_path / "layout.o"], check=True)


@pytest.mark.skipif(not shutil.which("clang-format"), reason="clang-format is not installed")
def test_the_header_is_in_the_style_of_the_plugin() -> None:
    command = ["clang-format", "--dry-run", "-Werror", generate.ROOT / "plugin/schema.h"]
    subprocess.run(command, check=True)
