"""Tables as Parquet files, for other tools; pyarrow is asked for only here."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from shootdown.errors import InfraError, UsageError


def write(frames: Iterable[tuple[str, pd.DataFrame]], directory: Path) -> list[Path]:
    """Write ``directory/<name>.parquet`` for each frame, one at a time; returns the files.

    Raises UsageError when pyarrow is not installed, InfraError when a file cannot be written.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError("Parquet files need pyarrow, which is missing: run `pip install pyarrow`")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return [_write(frame, directory / f"{name}.parquet") for name, frame in frames]
    except OSError as error:
        where = error.filename or directory
        why = os.strerror(error.errno) if error.errno else str(error)
        raise InfraError(f"cannot write {where}: {why}; name another directory") from error


def _write(frame: pd.DataFrame, path: Path) -> Path:
    part = path.with_name(path.name + ".part")  # a reader never sees half a file
    frame.to_parquet(part, engine="pyarrow", index=False)
    return part.replace(path)
