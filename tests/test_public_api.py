"""What `import shootdown` gives, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import shootdown
from shootdown.frames import recording


def test_the_public_names() -> None:
    assert sorted(shootdown.__all__) == sorted(dir(shootdown)) == ["Trace", "__version__"]
    assert shootdown.Trace is recording.Trace
    public = [name for name in vars(recording.Trace) if not name.startswith("_")]
    assert sorted(public) == ["function", "operation", "symbols", "tables", "to_parquet"]


def test_nothing_slow_is_imported_before_it_is_used() -> None:
    code = """if True:
        import sys, shootdown
        print(sorted({"numpy", "pandas", "pyarrow", "shootdown.frames"} & set(sys.modules)))
        shootdown.Trace
        print("pandas" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\nTrue\n"


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'shootdown' has no attribute 'Tracer'"):
        _ = shootdown.Tracer  # type: ignore[attr-defined]
