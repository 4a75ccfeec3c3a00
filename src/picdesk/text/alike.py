"""Texts that say the same, whatever their case, and the spaces and signs between their words."""

from __future__ import annotations

import re
import unicodedata

WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The words of a text, case folded."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def said_by(text: str) -> str:
    """The words with one space between; the text itself where it has none (signs alone)."""
    return " ".join(words_of(text)) or text
