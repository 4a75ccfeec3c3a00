"""Values in a cell as Python, numpy and pandas write them: lists, records, `array([...])`, nan. They are read, never run.

pandas writes exactly such cells where a column holds lists or records. Commas between items may lack, as numpy leaves them out. A
caption that merely begins with a bracket is none of these: a word that is no value ends the reading.
"""

import ast
import re
import warnings
from typing import Any

DEEPEST = 50
NAN = float("nan")
WORDS = {
    **{"None": None, "null": None, "NaT": None, "True": True, "true": True, "False": False, "false": False},
    **{"nan": NAN, "NaN": NAN, "inf": float("inf"), "Infinity": float("inf")},
}
LISTS = {"array", "list", "tuple", "set", "frozenset", "deque", "Index", "Series", "tensor"}
RECORDS = {"OrderedDict", "dict", "defaultdict", "Counter", "mappingproxy"}
TEXTS = {"str_", "str"}
OTHERS = {"Timestamp", "Timedelta", "Period", "Decimal", "UUID", "PosixPath", "WindowsPath", "date", "timedelta"}
MODULES = {"datetime", "np", "numpy", "pd", "pandas", "decimal", "uuid", "torch", "collections", "pathlib", "PIL"}
TOKEN = re.compile(
    r"""
      (?P<text>[bBuUrR]{0,2}(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"))
    | (?P<number>[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w))
    | (?P<infinite>-(?:inf|Infinity)\b)
    | (?P<thing><[^<>\n]*>)
    | (?P<dots>\.\.\.)
    | (?P<word>[A-Za-z_]\w*(?:\.\w+)*)
    | (?P<mark>[][(){},:=])
    """,
    re.VERBOSE | re.DOTALL,
)
NAME, KEYWORD = re.compile(r"[A-Za-z_][\w.]*"), re.compile(r"\s*(?:[A-Za-z_]\w*\s*=)?\s*")
CALL = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)\(\s*(\S?)")


class Written:
    """A value that Python wrote and that is neither text, number, list nor record (`datetime.date(2020, 1, 1)`)."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class NoValueError(Exception):
    """What stands there is no value: the cell is a text."""


class CutShortError(Exception):
    """A list or record that is not closed, or from which items were left out."""


def looks_written(cell: str) -> bool:
    """Whether a cell begins as a list, a record or a call of Python's does, so that `read_written` should be asked."""
    if cell[:1] in ("[", "{", "("):
        return True
    call = CALL.match(cell) if cell.endswith((")", "]", "}")) else None
    if call is None:
        return False
    name = call[1].rpartition(".")[2]
    known = call[1].split(".")[0] in MODULES and "." in call[1]
    return known or (name in LISTS | RECORDS | TEXTS | OTHERS and call[2] in tuple("[{('\"<"))


def read_written(cell: str) -> Any:
    """The value that a whole cell stands for. Raises `NoValueError` for a text, `CutShortError` for half of a value."""
    reading = _Reading(cell)
    value = reading.value(0)
    if reading.skip_space() or not reading.signs + reading.texts:  # words behind it; (1990), [1 2 3], {5}
        raise NoValueError
    return value


class _Reading:
    """Reads one cell from its beginning. `texts` counts quoted texts, `signs` what else tells a value from words in brackets."""

    def __init__(self, cell: str) -> None:
        self.cell, self.at = cell, 0
        self.texts, self.signs = 0, 0
        self.square = cell[:1] in ("[", "{")

    def skip_space(self) -> bool:
        """Go on behind the space; whether anything comes there."""
        while self.at < len(self.cell) and self.cell[self.at].isspace():
            self.at += 1
        return self.at < len(self.cell)

    def value(self, depth: int) -> Any:
        """The next value. Raises `NoValueError`, `CutShortError`."""
        kind, token = self._token()
        if depth > DEEPEST:
            raise NoValueError
        if kind == "text":
            self.texts += 1
            return _literal(token)
        if kind in ("number", "infinite"):
            return _literal(token) if kind == "number" else -float("inf")
        if kind == "thing":
            return None if token == "<NA>" else Written(token)
        if kind == "dots":
            raise CutShortError if self.texts else NoValueError
        if kind == "word":
            return self._call(token, depth) if self.cell[self.at : self.at + 1] == "(" else _word(token)
        if token == "[":
            return self._items("]", depth)
        if token == "(":
            return self._items(")", depth)
        if token == "{":
            return self._braces(depth)
        raise NoValueError

    def _token(self) -> tuple[str, str]:
        self.skip_space()
        found = TOKEN.match(self.cell, self.at)
        if found is None:
            self._refuse_cut()
            raise NoValueError
        self.at = found.end()
        return str(found.lastgroup), found[0]

    def _refuse_cut(self) -> None:
        """Raise `CutShortError` where the cell ends inside a list: behind an item, or within a text."""
        quote = self.cell[self.at : self.at + 1]
        if not self.square or quote not in ("", "'", '"'):
            return
        begun = self.texts and (self.signs or self.texts > 1 or '"' in self.cell)
        alone = quote == '"' and '"' not in self.cell[self.at + 1 :] and "]" not in self.cell[self.at :]
        if begun or alone:
            raise CutShortError

    def _next_is(self, mark: str) -> bool:
        if not self.skip_space():
            self._refuse_cut()
            raise NoValueError
        if not self.cell.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def _items(self, end: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self._next_is(end):
            if items and self._next_is(","):
                self.signs += 1
                if self._next_is(end):
                    break
            items.append(self.value(depth + 1))
        if not items:
            self.signs += 1  # an empty list is one
        return items

    def _braces(self, depth: int) -> Any:
        """A record or a set."""
        record: dict[Any, Any] = {}
        members: list[Any] = []
        while not self._next_is("}"):
            if (record or members) and self._next_is(","):
                self.signs += 1
                if self._next_is("}"):
                    break
            key = self.value(depth + 1)
            if self._next_is(":"):
                self.signs += 1
                record[key if isinstance(key, str | int | float) else repr(key)] = self.value(depth + 1)
            else:
                members.append(key)
        if record and members:
            raise NoValueError
        if not members:
            self.signs += 1
            return record
        try:
            return set(members)
        except TypeError:
            return members

    def _call(self, name: str, depth: int) -> Any:
        """What `array([...])`, `OrderedDict(...)` and the like hold; any other call as it is written."""
        start = self.at - len(name)
        self.at += 1
        values: list[Any] = []
        while not self._next_is(")"):
            if values and self._next_is(",") and self._next_is(")"):
                break
            values.append(self._argument(depth))
        kind = name.rpartition(".")[2]
        self.signs += name.split(".")[0] in MODULES or kind in OTHERS
        first = values[0] if values else None
        if kind in LISTS and isinstance(first, list | set):
            self.signs += 1
            return set(first) if kind in ("set", "frozenset") and _hashable(first) else list(first)
        if kind in RECORDS and _record_of(values) is not None:
            self.signs += 1
            return _record_of(values)
        if kind in TEXTS and isinstance(first, str):
            return first
        if kind.startswith(("float", "int", "uint", "bool")) and isinstance(first, int | float):
            return first
        return Written(self.cell[start : self.at])

    def _argument(self, depth: int) -> Any:
        """An argument of a call: a value, `dtype=object`, or a name that stands for a type."""
        named = KEYWORD.match(self.cell, self.at)
        self.at = named.end() if named is not None else self.at
        word = NAME.match(self.cell, self.at)
        if word is not None and word[0] not in WORDS and self.cell[word.end() : word.end() + 1] not in ("(", "'", '"'):
            self.at = word.end()
            return Written(word[0])
        return self.value(depth + 1)


def _word(token: str) -> Any:
    if token not in WORDS:
        raise NoValueError
    return WORDS[token]


def _literal(token: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in what may be no literal at all
            return ast.literal_eval(token)
    except (ValueError, SyntaxError, MemoryError):
        raise NoValueError from None


def _hashable(values: Any) -> bool:
    return all(isinstance(value, str | int | float | None) for value in values)


def _record_of(values: list[Any]) -> dict[Any, Any] | None:
    """The record that the arguments of `OrderedDict` or `defaultdict` hold; None if they hold none."""
    last = values[-1] if values else {}
    if isinstance(last, dict):
        return last
    pairs: list[Any] = last if isinstance(last, list) else [None]
    if all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        return {pair[0]: pair[1] for pair in pairs}
    return None
