import logging

import pytest

from picdesk.embedding import progress as module
from picdesk.embedding.progress import pace, progress, span


def test_without_a_terminal_there_is_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO), progress("encoding images", 6000) as advance:
        for _ in range(50):
            now[0] += 2
            advance(24)
    assert [record.getMessage() for record in caplog.records] == [
        "encoding images: 360 of 6,000 (12/s, 8 min left)",
        "encoding images: 720 of 6,000 (12/s, 7 min left)",
        "encoding images: 1,080 of 6,000 (12/s, 7 min left)",
    ]


def test_paces_and_spans_read_well() -> None:
    assert [pace(0.05), pace(13.4)] == ["3.0/min", "13/s"]
    assert [span(40), span(600), span(9000)] == ["40 s", "10 min", "2.5 h"]
