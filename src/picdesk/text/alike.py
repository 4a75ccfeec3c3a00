"""Texts that say the same, whatever their case, and the spaces and signs between their words."""

from __future__ import annotations

import functools
import re
import unicodedata

WORD = re.compile(r"\w+")
LAST_MARK = 0x1FFFF
"""Behind it are marks that choose a form of a letter, and say nothing."""


def words_of(text: str) -> list[str]:
    """The words of a text, case folded, with the marks that follow a letter: the vowels of Hindi, Bengali or Tamil, which are no
    letters to `re`, so that words would come apart at them, and differ in nothing else."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return (WORD if folded.isascii() else with_marks(WORD)).findall(folded)


@functools.cache
def with_marks(pattern: re.Pattern[str]) -> re.Pattern[str]:
    r"""The pattern, marks (Unicode's category M) among the letters of each `\w+` in it."""
    marks = "".join(sign for sign in map(chr, range(LAST_MARK)) if unicodedata.category(sign).startswith("M"))
    return re.compile(pattern.pattern.replace(r"\w+", rf"\w[\w{marks}]*"), pattern.flags)


def said_by(text: str) -> str:
    """The words with one space between; the text itself where it has none (signs alone)."""
    return " ".join(words_of(text)) or text
