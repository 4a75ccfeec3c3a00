"""Mistakes that a user can mend: one line on the terminal, exit status 2, never a traceback."""

from __future__ import annotations

import math
from collections.abc import Iterable


class UserError(Exception):
    """Something in the config or in a file is wrong; the text names the key or file, the value and what would be right."""


class DataError(UserError, ValueError):
    """A data set, run, qrels or embedding file whose content cannot be used."""


class ConfigError(UserError, ValueError):
    """A config value that cannot be used."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that is not there; the text says what makes it."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MachineError(UserError):
    """The machine cannot do it: no room, no permission, no memory; the text says what helps."""


class NoAnswerError(Exception):
    """A language model gave no answer to one question; the others can still be asked."""


def refuse_nan(value: object, key: str, infinite: bool = False) -> None:
    """Raise `ConfigError` for nan, wherever in a plain value it stands: no comparison tells it from a number that is good.

    `infinite`: for what is not finite as well.
    """
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            refuse_nan(inner, f"{key}.{name}" if key else str(name), infinite)
    elif isinstance(value, float) and value != value:
        raise ConfigError(f"{key}=nan: a number is wanted")
    elif infinite and isinstance(value, float) and math.isinf(value):
        raise ConfigError(f"{key}={value}: a finite number is wanted")


def check_fraction(key: str, value: float) -> None:
    """Raise `ConfigError` for what is no fraction, nan included."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{key}={value}: a fraction is between 0 and 1")


def broken_picture(name: str | int, error: DataError) -> DataError:
    """For a picture, by its id or (where that is not known) its position, that cannot be decoded: which, why, what helps."""
    return DataError(f"picture {name!r}: {error}; check=full leaves such pictures out, task=check lists them")


def short_repr(value: object, most: int = 200) -> str:
    """A value as Python writes it, cut where it is long: a cell of two million characters is no error message."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 20]}... ({len(text):,} characters)"


def readable(name: str) -> str:
    """A name from a disk or an archive that can be shown and written: bytes that are no UTF-8 become `\\xe9`."""
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a character that stands for no byte
        raw = name.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def first_line(error: BaseException, most: int | None = 200) -> str:
    """The first line of an error's text, or its kind where that is empty, cut to `most` characters: for a line of ours."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[0].split())[:most].rstrip(" .:")


def kind_and_line(error: BaseException, most: int = 160) -> str:
    """As `first_line`, behind the kind of the error."""
    kind = type(error).__name__
    return f"{kind}: {first_line(error, most)}" if str(error).strip() else kind


def examples(items: object, most: int = 3) -> str:
    """At most `most` of the items, for the end of an error line: `'a', 'b', 'c', ...`."""
    listed = list(items)  # type: ignore[call-overload]
    shown = ", ".join(short_repr(item) for item in listed[:most])
    return shown + (", ..." if len(listed) > most else "")


class UniqueIds(tuple[str, ...]):
    """Ids of which none stands twice, which is looked at once: a list of a million is not gone through at each query."""

    __slots__ = ()

    def __new__(cls, ids: Iterable[str], what: str) -> UniqueIds:
        """Raises `DataError` as `check_unique` does."""
        made = super().__new__(cls, ids)
        check_unique(tuple(made), what)
        return made

    def __reduce__(self) -> tuple[type[tuple[str, ...]], tuple[tuple[str, ...]]]:
        """Pickled, or copied, as any tuple."""
        return tuple, (tuple(self),)


def check_new(there: set[str] | frozenset[str], ids: list[str] | tuple[str, ...]) -> None:
    """Raise `DataError` with a count and examples if an id that is to be added to an index is in it already, or stands twice."""
    check_unique(ids, "index: adding")
    known = [item for item in ids if item in there]
    if known:
        every = "all" if len(known) == len(ids) else f"{len(known)} of"
        raise DataError(
            f"index: {every} {len(ids)} ids to add are there already, for example {examples(known)}; "
            "nothing was added (task=index_remove takes items out)"
        )


def check_unique(ids: list[str] | tuple[str, ...], what: str) -> None:
    """Raise `DataError` with a count and examples if an id stands twice."""
    if isinstance(ids, UniqueIds) or len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    twice = [item for item in ids if item in seen or seen.add(item)]  # type: ignore[func-returns-value]
    raise DataError(f"{what}: {len(twice)} ids stand more than once, for example {examples(dict.fromkeys(twice))}")
