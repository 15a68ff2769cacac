"""docs/trace.ipynb as data: a notebook is JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

PATH: Final = Path(__file__).resolve().parents[1] / "docs/trace.ipynb"


def cells() -> list[dict[str, Any]]:
    """The cells that hold code, with their outputs."""
    notebook = json.loads(PATH.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def sources() -> list[str]:
    """The code of each cell."""
    return ["".join(cell["source"]) for cell in cells()]
