"""What may stand in a line on a terminal: text from elsewhere gives it no orders and turns no line around."""

from __future__ import annotations

import logging
import re

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
ONE_LINE = re.compile(rf"(?:{STEERING.pattern}|[\t\n]+)+")


def plain_line(text: object) -> str:
    """A text in one line, with `?` for line breaks and for what would steer a terminal: it may quote what somebody else wrote."""
    return ONE_LINE.sub("?", str(text))


class PlainFormatter(logging.Formatter):
    """Log lines in which a name or a text of somebody else's is only that."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with `?` for what would steer a terminal; line breaks and tabs stay."""
        return STEERING.sub("?", super().format(record))
