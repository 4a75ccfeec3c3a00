r"""What becomes text, and what does not. One rule for all that is read: only text is text.

A string is text. A list of strings is several. A cell that holds such a list as JSON, Python or numpy write it is taken
apart too (`written.py` has the rule). Nothing else is made into text: records, numbers, booleans, bytes and nested lists are
refused by what they are (a name such as `sentences.raw` leads into records), and `nan`, `None`, `null`, `N/A`, a spreadsheet's
errors (`#NAME?` where it took a text for a formula) and a database's `\N` alone in a cell are no value.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

from picdesk.errors import examples, short_repr
from picdesk.files import Doubled
from picdesk.text.written import CutShortError, NoValueError, Written, looks_written, read_written

NO_VALUE = {
    *("nan", "NaN", "None", "null", "NULL", "<NA>", "NaT", "N/A", "n/a", "\\N"),
    *("#N/A", "#NAME?", "#VALUE!", "#REF!", "#DIV/0!", "#NULL!", "#NUM!"),
}
MOST_DIGITS = 100  # of a decimal that is written without an exponent
NUL = "a NUL character in the text"
CLOSED = {"[": "]", "{": "}", "(": ")"}
BYTES = re.compile(r"""b(['"])(\\.|(?!\1)[^\\])*\1""", re.DOTALL)
THING = re.compile(r"<[\w.]+( [^<>]*)? at 0x[0-9a-fA-F]+>")
LIST_OF_TEXTS = re.compile(r"""(array\()?\[\s*['"].*['"]\s*\](, dtype=.*)?\)?""", re.DOTALL)
RECORD = re.compile(r"""[\[(]?\s*\{\s*(['"])\w+\1\s*:.*[\]})]""", re.DOTALL)


class NoTextError(Exception):
    """A value that is no text; the words say what it is."""


def walk(record: Mapping[str, Any], column: str) -> Any:
    """The value under a name: a key as it stands, else a way into records (`sentences.raw`, `image.path`, `captions.0`).

    Lists on the way give a list of the values of their items. None where the first key is absent. Raises `NoTextError`.
    """
    if column in record or "." not in column:
        return record.get(column)
    names = column.split(".")
    first = next((n for n in range(len(names) - 1, 0, -1) if ".".join(names[:n]) in record), 0)
    value: Any = record.get(".".join(names[:first])) if first else None
    for name in names[first:] if first else []:
        value = _step(parse_cell(value) if isinstance(value, str) else value, name)
    return value


def _step(value: Any, name: str) -> Any:
    if isinstance(value, Mapping) and not isinstance(value, Doubled):
        if name not in value:
            raise NoTextError(f"has no key {name!r} (there are {examples(value, 6)})")
        return value[name]
    if isinstance(value, list) and name.isdecimal():
        if int(name) >= len(value):
            raise NoTextError(f"has no item {name} (there are {len(value)})")
        return value[int(name)]
    if isinstance(value, list):
        found = [_step(item, name) for item in value]
        return [inner for item in found for inner in (item if isinstance(item, list) else [item])]
    if value is None:
        return None
    raise NoTextError(f"holds {what(value)} where a record with the key {name!r} is needed")


def parse_cell(text: str) -> Any:
    """A list, tuple or record that a cell holds in the form of JSON, Python or numpy; otherwise the text itself.

    Half of one (a cell that was cut) and other values as Python writes them are given as `Written`, which is no text.
    """
    cell = text.strip()
    if not cell or not looks_written(cell):
        return text
    if CLOSED.get(cell[0]) == cell[-1]:
        try:
            value = json.loads(cell)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, list | dict):
            return value
    try:
        return read_written(cell)
    except NoValueError:
        return text
    except CutShortError:
        return HalfWritten(text)


class HalfWritten(Written):
    """What begins as a list or a record and cannot be read as one."""


def one_text(value: Any) -> str:
    """A string without the spaces around it, "" for null and for the words that stand for no value. Raises `NoTextError`."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NoTextError(f"holds {what(value)}, which is no text{way(value)}")
    text = value.strip()
    if BYTES.fullmatch(text):
        raise NoTextError(f"holds bytes as Python writes them ({short_repr(text, 40)}), which is no text")
    if THING.fullmatch(text):
        raise NoTextError(f"holds {what(Written(text))}, which is no text")
    if LIST_OF_TEXTS.fullmatch(text) or RECORD.fullmatch(text):
        raise NoTextError(f"holds {what(HalfWritten(text))}")
    return "" if text in NO_VALUE else text


def value_text(value: Any) -> Any:
    """A number, a truth, a day, a moment, a time or a duration in text, the last four as ISO 8601 has them.

    A decimal keeps all its digits; nan is "", and anything else stays.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        written_out = abs(value.adjusted()) < MOST_DIGITS
        return "" if value.is_nan() else format(value, "f") if written_out else str(value)
    if isinstance(value, int | float):
        return "" if value != value else str(value)
    if isinstance(value, timedelta):
        return duration_text(value)
    return value.isoformat() if isinstance(value, date | time) else value


def duration_text(value: timedelta) -> str:
    """A duration as ISO 8601 has it: `P1DT2H3.5S`, `-PT90M` as `-PT1H30M`, and `PT0S` for none."""
    if value < timedelta(0):
        return f"-{duration_text(-value)}"
    minutes, seconds = divmod(value.seconds, 60)
    below = value.microseconds * 1000 + getattr(value, "nanoseconds", 0)  # those of pandas
    shown = f"{seconds}.{below:09}".rstrip("0") if below else str(seconds)
    days, hours = f"{value.days}D" if value.days else "", f"{minutes // 60}H" if minutes >= 60 else ""
    of_day = hours + (f"{minutes % 60}M" if minutes % 60 else "") + (f"{shown}S" if shown != "0" else "")
    return f"P{days}{'T' if of_day else ''}{of_day}" if days or of_day else "PT0S"


def plain_text(value: Any, key: str = "") -> str:
    """As `one_text`, where one text alone is meant: a list or record written out is none, nor what no encoding can write.

    The `NoTextError` begins with `key`, which says what holds the value.
    """
    try:
        text = one_text(parse_cell(value) if isinstance(value, str) else value)
    except NoTextError as error:
        raise NoTextError(f"{key} {error}".strip()) from None
    if fault_of(text):
        raise NoTextError(f"{key} holds {fault_of(text)}" if key else fault_of(text))
    return text


def name_of(value: Any, key: str = "") -> str:
    """An id or a file name: a string, or a whole number's digits; "" for null.

    Raises `NoTextError`, which begins with `key`, for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return (value or "").strip()
    raise NoTextError(f"{key} holds {what(value)}, which is no name{way(value)}".strip())


def names_under(column: str, records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The names in one column, without what is no name."""
    for record in records:
        try:
            yield name_of(walk(record, column))
        except NoTextError:
            continue


def way(value: Any) -> str:
    """How to name what lies inside records, for the end of a refusal."""
    record = value[0] if isinstance(value, list) and value else value
    if not isinstance(record, Mapping) or isinstance(record, Doubled):
        return ""
    key = next((key for key, inner in record.items() if isinstance(inner, str)), None)
    return f"; name the key in it, as in .{key}" if key is not None else ""


def what(value: Any) -> str:
    """The value in words: `a record with the keys raw, sentid`, `a list of 3 records`, `the number 5`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value!r:.30}"
    if isinstance(value, Doubled):
        return f"a record in which the key {value.twice!r} stands twice"
    if isinstance(value, HalfWritten):
        return f"what looks like a list or record but cannot be read as one ({short_repr(value.text, 40)})"
    if isinstance(value, Written):
        return f"a value as Python writes it ({short_repr(value.text, 40)})"
    if isinstance(value, Mapping):
        return f"a record with the keys {', '.join(map(str, list(value)[:6]))}"
    if isinstance(value, list | tuple | set):
        records = bool(value) and all(isinstance(item, Mapping) for item in value)
        return f"a list of {len(value)} records" if records else f"a list ({_short_text(value)})"
    return "bytes" if isinstance(value, bytes) else f"a {type(value).__name__} ({_short_text(value)})"


def _short_text(value: Any) -> str:
    try:
        return short_repr(value, 40)
    except RecursionError:
        return "nested too deeply to be shown"


def fault_of(text: str) -> str:
    """Why a string cannot be used: a NUL character, or half of one that no encoding can write; "" if it can."""
    if "\0" in text:
        return NUL
    return "half of a character (a lone surrogate such as \\ud800) in the text" if _halves(text) else ""


def _halves(text: str) -> bool:
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None
