"""Text from elsewhere gives a terminal no orders."""

import logging

from picdesk.text.lines import PlainFormatter


def test_a_log_line_steers_no_terminal() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", ("\x1b]0;owned\x07 \u202egnp.exe\r",), None)
    assert PlainFormatter("%(message)s").format(record) == "?]0;owned? ?gnp.exe?"


def test_texts_of_all_scripts_and_several_lines_stay() -> None:
    text = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u00e9 \U0001f468\u200d\U0001f469\n\tnext"
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (text,), None)
    assert PlainFormatter("%(message)s").format(record) == text
