"""The notebook in docs/ was executed, whole and in order, and says nothing of the machine."""

from __future__ import annotations

import re

from tests import notebook


def test_every_cell_was_executed_in_order() -> None:
    cells = notebook.cells()
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    for cell in cells:
        assert cell["outputs"]
        assert not [out for out in cell["outputs"] if out["output_type"] == "error"]
        assert not [out for out in cell["outputs"] if out.get("name") == "stderr"]


def test_outputs_are_small_and_name_no_place_of_a_machine() -> None:
    text = notebook.PATH.read_text(encoding="utf-8")
    assert len(text) < 64 << 10
    assert not re.findall(r"/(?:home|root|tmp|work|usr|Users)\b[^\"]*", text)
