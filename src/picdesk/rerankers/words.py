"""Texts as words to be matched: stems without case and accents, with names and numbers kept whole.

A name written with a hyphen, an apostrophe or dots is found by the whole and by its parts; a run of capitalised words is also one
word ("New York"), so that a picture of both counts more than one of either. Words in capitals are never taken for stop words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from picdesk.errors import ConfigError
from picdesk.text.alike import with_marks

WORD = re.compile(r"\w+(?:[-'’.&]\w+)*", re.UNICODE)
INSIDE = re.compile(r"[-'’.&]")
POSSESSIVE = re.compile(r"['’]s$", re.IGNORECASE)
JOINT = " "


class Words:
    """`language` names the stemmer (Snowball) and the stop words (of bm25s, where it has some); null for neither."""

    def __init__(self, language: str | None = "english") -> None:
        self._stem, self._stop = stemmer(language), stop_words(language)

    def __call__(self, text: str) -> list[str]:
        """The words of a text, in their order; names of several words stand after their parts."""
        found: list[str] = []
        for run in names_and_words(text):
            parts = [stem for word in run for stem in self._parts(word)]
            found += parts
            if len(run) > 1 and parts:
                found.append(JOINT.join(self._stem(fold_word(word)) for word in run))
        return found

    def entities(self, text: str) -> list[str]:
        """What names something: capitalised words, alone and in a row, acronyms and numbers."""
        found: dict[str, None] = {}
        for run in names_and_words(text):
            if any(word[0].isupper() or any(sign.isdigit() for sign in word) for word in run):
                words = [self._stem(fold_word(word)) for word in run if not self._is_stop(word)]
                found.update(dict.fromkeys([*words, *([JOINT.join(words)] if len(words) > 1 else [])]))
        return list(found)

    def _parts(self, word: str) -> list[str]:
        if self._is_stop(word):
            return []
        whole = fold_word(word)
        pieces = [piece for piece in INSIDE.split(whole) if len(piece) > 1] if INSIDE.search(whole) else []
        return [self._stem(one) for one in dict.fromkeys([INSIDE.sub("", whole), *pieces])]

    def _is_stop(self, word: str) -> bool:
        return word.lower() in self._stop and not (len(word) > 1 and word.isupper())


def names_and_words(text: str) -> list[list[str]]:
    """The words of a text: each by itself, but capitalised ones that stand next to each other together."""
    found: list[list[str]] = []
    end = -1
    for match in (WORD if text.isascii() else with_marks(WORD)).finditer(text):
        word = POSSESSIVE.sub("", match[0])
        joins = word[0].isupper() and text[end : match.start()] == " " and found and found[-1][-1][0].isupper()
        if joins:
            found[-1].append(word)
        else:
            found.append([word])
        end = match.end()
    return found


def fold_word(word: str) -> str:
    """Small letters without accents."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


def stemmer(language: str | None) -> Callable[[str], str]:
    """The stem of a word. Raises `ConfigError` for a language without a stemmer."""
    if language is None:
        return str
    import Stemmer

    if language not in Stemmer.algorithms():
        raise ConfigError(
            f"reranker.language={language}: choose one of {', '.join(Stemmer.algorithms())}, or null for words as they are"
        )
    made: Callable[[str], str] = lru_cache(1 << 18)(Stemmer.Stemmer(language).stemWord)
    return made


def stop_words(language: str | None) -> frozenset[str]:
    """Words that say nothing; none where the library has no list of the language."""
    from bm25s import stopwords

    name = "STOPWORDS_EN_PLUS" if language == "english" else f"STOPWORDS_{str(language).upper()}"
    return frozenset(getattr(stopwords, name, ()))
