"""The trace writer when the disk is full: whole records, and a trailer that says what is lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shootdown.trace.file import open_file
from shootdown.trace.schema import HEADER_BYTES, RECORD_BYTES, Kind
from tests.plugin.conftest import REPOSITORY, compile_with

BUFFER = 16384
"""Records that are written at once (SD_TRACE_RECORDS)."""
EVENTS = 3 * BUFFER + 100


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """trace_full.c with the plugin's writer."""
    out = tmp_path_factory.mktemp("trace") / "trace_full"
    here = Path(__file__).with_name("trace_full.c")
    plugin = REPOSITORY / "plugin"
    return compile_with(out, here, here.with_name("stubs.c"), plugin / "trace.c", plugin / "live.c")


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (1 << 30, EVENTS),
        # The third write fails, at once or after a part; a page is given up for the trailer.
        (HEADER_BYTES + 2 * BUFFER * RECORD_BYTES, 2 * BUFFER - 64),
        (HEADER_BYTES + 2 * BUFFER * RECORD_BYTES + 1001, 2 * BUFFER - 64),
        (HEADER_BYTES + BUFFER * RECORD_BYTES // 2, 100),  # the last write is a small one
        (HEADER_BYTES + 3 * RECORD_BYTES, 0),
    ],
)
def test_full_disk(writer: Path, tmp_path: Path, limit: int, kept: int) -> None:
    words = [str(writer), str(tmp_path), str(EVENTS), str(limit)]
    ended = subprocess.run(words, check=True, capture_output=True, text=True)
    assert ended.stderr.count("trace write failed") == (kept < EVENTS)
    file = open_file(tmp_path / "cpu0.trace", 0)
    assert len(file.events) == kept
    assert file.trailer
    assert file.trailer.counts == {Kind.MARK: EVENTS}
    assert file.trailer.lost == EVENTS - kept
