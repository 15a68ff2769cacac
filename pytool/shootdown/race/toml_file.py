"""What plans and delays have in common as TOML files: how they are read, and how they begin."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from shootdown.errors import UsageError

Value = TypeVar("Value")


def load(what: str, path: Path, of_toml: Callable[[str], Value]) -> Value:
    """``of_toml`` of a file. Raises UsageError that names ``what``, the file and what is wrong."""
    try:
        return of_toml(path.read_text())
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from None
    except (UsageError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} {path}: {error}") from None


def table(text: str, schema: int) -> dict[str, Any]:
    """What a text of this schema holds besides. Raises UsageError for another, and for no TOML."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"this is no TOML: {error}") from None
    given = found.pop("schema", None)
    if given != schema:
        raise UsageError(f"schema is {given}, and this shootdown reads {schema}")
    return found
