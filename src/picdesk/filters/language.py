"""The filter language: `date > 2021-01-01 and credit = 'Reuters'`, read by a parser of its own; nothing of it is ever run.

    filter     = part { or part };  part = term { and term };  term = [ not ] ( "(" filter ")" | comparison )
    comparison = COLUMN (= | != | < | <= | > | >=) VALUE | COLUMN [not] in (VALUE, ...) | COLUMN [not] contains TEXT
               | COLUMN is [not] empty
    VALUE      = a number | a date, as in 2021-01-01 or 2021-01-01T18:30 | a text in single or double quotes

A column with other signs than letters, digits, dots and underscores in its name stands in backquotes. A quote in a text is
written twice. Words of the language may be written in any case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import isfinite

from picdesk.errors import ConfigError, short_repr

Value = str | float | date | datetime
LONGEST, DEEPEST = 10_000, 40
TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<name>`[^`]+`)
    | (?P<date>\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?(?!\w))
    | (?P<number>[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w-]))
    | (?P<sign><=|>=|!=|<>|==|[=<>(),])
    | (?P<word>[^\W\d][\w.]*)
    )""",
    re.VERBOSE,
)
SIGNS = {"==": "=", "<>": "!="}
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
WORDS = ("and", "or", "not", "in", "contains", "is", "empty")
WANTED = "a number, a date such as 2021-01-01, or a text in quotes"


@dataclass(frozen=True)
class Is:
    """A column is one of the values, or is `<`, `<=`, `>`, `>=` one of them, or `contains` the text, whatever its case."""

    column: str
    sign: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Empty:
    """A column says nothing of an item."""

    column: str


@dataclass(frozen=True)
class Not:
    """What does not fulfil a filter."""

    part: Filter


@dataclass(frozen=True)
class Every:
    """What fulfils all parts."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Some:
    """What fulfils one part at least."""

    parts: tuple[Filter, ...]


Filter = Is | Empty | Not | Every | Some


@dataclass(frozen=True)
class Token:
    """One word, sign or value, and where it stands."""

    kind: str
    text: str
    place: int


def parse_filter(text: str) -> Filter:
    """The filter that a text stands for. Raises `ConfigError` saying where it cannot be read and what was expected."""
    if len(text) > LONGEST:
        raise ConfigError(f"filter: {len(text):,} characters; at most {LONGEST:,} are read")
    return Reading(text, tuple(tokens(text))).read_all()


def columns_in(wanted: Filter) -> tuple[str, ...]:
    """The columns that a filter asks about, each once."""
    if isinstance(wanted, Is | Empty):
        return (wanted.column,)
    parts: Sequence[Filter] = (wanted.part,) if isinstance(wanted, Not) else wanted.parts
    return tuple(dict.fromkeys(name for part in parts for name in columns_in(part)))


def tokens(text: str) -> Iterator[Token]:
    """The words, signs and values of a text, and at last one that stands for its end."""
    place, end = 0, len(text.rstrip())
    while place < end:
        found = TOKEN.match(text, place)
        if found is None or found.lastgroup is None:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            raise fault(text, start, unreadable(text[start:]))
        yield Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup))
        place = found.end()
    yield Token("end", "", end)


def unreadable(rest: str) -> str:
    """Why a filter cannot be read from here."""
    if rest[0] in "'\"`":
        return f"{rest[0]} is opened and never closed"
    word = rest.split()[0]
    return f"{short_repr(word, 40)} cannot be read; a text stands in quotes, another name of a column in `backquotes`"


def fault(text: str, place: int, told: str) -> ConfigError:
    """The error for what stands at a place of a filter."""
    return ConfigError(f"filter={short_repr(text)[1:-1]}: character {place + 1}: {told}")


class Reading:
    """The tokens of a filter, read one by one."""

    def __init__(self, text: str, found: tuple[Token, ...]) -> None:
        self.text, self.found, self.at, self.depth = text, found, 0, 0

    def read_all(self) -> Filter:
        """All of it."""
        made = self.some()
        if self.next_token.kind != "end":
            raise self.error_expecting("and, or, or the end")
        return made

    @property
    def next_token(self) -> Token:
        """The token that is read next."""
        return self.found[self.at]

    def take(self) -> Token:
        """That token; the one behind it is next."""
        self.at += 1
        return self.found[self.at - 1]

    def error_expecting(self, what: str) -> ConfigError:
        """The error where something else stands."""
        there = "it ends here" if self.next_token.kind == "end" else f"found {short_repr(self.next_token.text, 40)}"
        return fault(self.text, self.next_token.place, f"{what} is expected; {there}")

    def take_word(self, *words: str) -> bool:
        """Take a word of the language, or a sign, if it stands next."""
        said = self.next_token.kind in ("word", "sign") and self.next_token.text.lower() in words
        self.at += said
        return said

    def some(self) -> Filter:
        """Parts joined by `or`."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise fault(self.text, self.next_token.place, f"brackets and not more than {DEEPEST} deep")
        parts = [self.every()]
        while self.take_word("or"):
            parts.append(self.every())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def every(self) -> Filter:
        """Parts joined by `and`."""
        parts = [self.term()]
        while self.take_word("and"):
            parts.append(self.term())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def term(self) -> Filter:
        """A comparison, something in brackets, or either with `not` before it."""
        if self.take_word("not"):
            self.depth += 1
            if self.depth > DEEPEST:
                raise fault(self.text, self.next_token.place, f"brackets and not more than {DEEPEST} deep")
            made = Not(self.term())
            self.depth -= 1
            return made
        if not self.take_word("("):
            return self.comparison()
        inner = self.some()
        if not self.take_word(")"):
            raise self.error_expecting("and, or, or )")
        return inner

    def comparison(self) -> Filter:
        """What is said of one column."""
        column = self.column()
        if self.take_word("is"):
            negative = self.take_word("not")
            if not self.take_word("empty", "null"):
                raise self.error_expecting("empty")
            return Not(Empty(column)) if negative else Empty(column)
        negative = self.take_word("not")
        if self.take_word("contains"):
            return negate_if(Is(column, "contains", (self.of_text(),)), negative)
        if self.take_word("in"):
            return negate_if(Is(column, "=", self.values()), negative)
        sign = SIGNS.get(self.next_token.text, self.next_token.text)
        if negative or self.next_token.kind != "sign" or sign not in COMPARISONS:
            raise self.error_expecting("in or contains" if negative else "a comparison (= != < <= > >= in contains is)")
        self.take()
        return negate_if(Is(column, "=" if sign == "!=" else sign, (self.value(),)), sign == "!=")

    def column(self) -> str:
        """The name of a column."""
        if self.next_token.kind not in ("word", "name") or self.next_token.text.lower() in WORDS:
            raise self.error_expecting("the name of a column")
        return self.take().text.strip("`")

    def values(self) -> tuple[Value, ...]:
        """Values in brackets."""
        if not self.take_word("("):
            raise self.error_expecting("(")
        found = [self.value()]
        while self.take_word(","):
            found.append(self.value())
        if not self.take_word(")"):
            raise self.error_expecting(", or )")
        return tuple(found)

    def of_text(self) -> str:
        """A text in quotes."""
        if self.next_token.kind != "text":
            raise self.error_expecting("a text in quotes")
        return unquote(self.take().text)

    def value(self) -> Value:
        """A number, a date or a text."""
        if self.next_token.kind == "text":
            return self.of_text()
        if self.next_token.kind == "number":
            found = float(self.next_token.text)
            if not isfinite(found):
                raise fault(self.text, self.next_token.place, f"{self.next_token.text} is too large")
            self.take()
            return found
        if self.next_token.kind != "date":
            raise self.error_expecting(WANTED)
        day = moment(self.next_token.text)
        if day is None:
            raise fault(self.text, self.next_token.place, f"{self.next_token.text} is no date")
        self.take()
        return day


def negate_if(made: Is, negative: bool) -> Filter:
    """The comparison, or its opposite."""
    return Not(made) if negative else made


def unquote(text: str) -> str:
    """A text without its quotes."""
    return text[1:-1].replace(text[0] * 2, text[0])


def moment(text: str) -> date | datetime | None:
    """A day, or a day with a time (of UTC where it names no zone), in any form of ISO 8601; None for anything else."""
    try:
        return date.fromisoformat(text)  # refuses a time, be it an hour alone
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
