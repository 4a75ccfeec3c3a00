"""Values of the command line in quotes, where Hydra's grammar would read them as anything but what was typed; and the override
that a text without a key stands for.

The grammar makes a sweep of a comma, a function of a parenthesis, and an error of an apostrophe or a Chinese character. That
suits numbers and lists, and no headline. So a text to search for is always quoted before Hydra sees it; names of files, and texts
such as the names of columns, are quoted where the grammar would not read them as themselves, and so is any value that it cannot
read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from picdesk.data.spellings import PICTURES
from picdesk.errors import ConfigError
from picdesk.text.files import plain_suffix

OVERRIDE = re.compile(r"(?P<sign>\+{0,2})(?P<key>[A-Za-z_][\w./@:$-]*)=(?P<value>.*)", re.S)
TEXTS = ("query", "filter")
"""Keys whose value is always a text, `null` too."""
TEXT_LISTS = ("also", "ids")
"""Keys that take a list of texts."""
FREE_TEXTS = (*TEXTS, *TEXT_LISTS)
NAME_LISTS = re.compile(
    r"plugins|hosts|metrics\.(names|slices)|index\.words|data\.(suffixes|splits|picture_endings)"
    r"|reranker\.(.*\.)?(fields|trained_on|use)"
)
"""Keys that take a list of names."""
NAMES = (
    *(
        "image",
        "queries",
        "subset",
        "ckpt",
        "resume",
        "reproduce",
        "dir",
        "against",
        "save_index",
        "root",
        "outputs",
        "store",
    ),
    *("file", "folder", "weights", "model", "head", "answers", "other_runs", "image_names", "shards", "qrels", "uri"),
    *(
        "examples",
        "captions",
        "pictures",
        "name",
        "group",
        "approach",
        "project",
        "template",
        "system",
        "question",
        "instruction",
    ),
)
"""Last parts of the keys of files, folders and free texts."""
NAME_ENDS = ("_file", "_folder", "_dir", "_root", "_ckpt", "_column", "_array")
"""What the last parts of further such keys end in."""
TABLES = ("captions", "lists", "pictures", "more_columns", "prompts")
"""Tables of files and texts: what stands below one of them is one, but for the parts of `reranker=several`."""
NO_NAMES = ("loss.weights", "adaptation.head")
"""Keys that would be files by their last part, and are none."""
ADDED = ("data.more_columns", "index.params", "index.search_params", "data.limit")
"""Keys that need no `+`: tables whose names are the user's choice, and what every option of a group takes."""
PLACES = re.compile(r"paths\.\w+|hydra\.(run|sweep)\.dir")
"""Folders that are written into before the config is looked at, and what their names are made of."""
OF_THE_GRAMMAR = re.compile(r"[\[{]|(choice|range|interval|glob|sort|shuffle|tag|extend_list)\(")
"""How a value begins that is meant for Hydra."""


OPEN_ITEM = re.compile(r"^\[(.*,)?\s*\?\?\?\s*(,.*)?\]$", re.S)
"""A list with what OmegaConf takes for a value that is still to be given."""


def quoted_override(argument: str, sweep: bool) -> str:
    """The override, its value in quotes where Hydra would read it as something else."""
    match = OVERRIDE.fullmatch(argument)
    if match is None:
        return argument
    key, value = match["key"], folder_to_write(match["key"], match["value"])
    return with_its_sign(f"{match['sign']}{key}={quoted_value(key, value, sweep)}")


def folder_to_write(key: str, value: str) -> str:
    """The value, `~` written out where it is a folder that Hydra makes before anything of the project is asked, or stands in the
    name of one. Raises `ConfigError` where such a folder has no name: it would be made at the root of the disk."""
    if not PLACES.fullmatch(key):
        return value
    if value.strip(" '\"") in ("", "null", "???"):
        raise ConfigError(f"{key}={value}: a folder is wanted, as in {key}=FOLDER")
    return os.path.expanduser(value)  # noqa: PTH111 - leaves ~ before what is no user


def with_its_sign(override: str) -> str:
    """The override, with the sign by which Hydra takes keys that the option does not list where the key needs none."""
    key = override.partition("=")[0]
    return f"++{override}" if any(key == name or key.startswith(f"{name}.") for name in ADDED) else override


def quoted_value(key: str, value: str, sweep: bool) -> str:
    """The value of a key for Hydra; in a `sweep`, commas and `choice(...)` stay what they are to Hydra."""
    from picdesk.assembly.schema import task_keys

    tasks, (first, _, rest) = task_keys(), key.partition(".")
    own = rest if first == "task" or first in tasks else key
    is_choice = sweep and re.fullmatch(r"choice\(.*\)", value, re.S)
    if own in TEXTS:
        return value if is_choice else in_quotes(never_missing(value))
    if "${" in value or value in ("", "null", "???"):
        return value
    if own in TEXT_LISTS:
        return value if is_choice else quoted_list(value, never_missing)
    if OPEN_ITEM.search(value):
        raise ConfigError(f"{key}={value}: ??? stands for a value that is yet to be given; write it, or leave it out")
    if NAME_LISTS.fullmatch(own):
        return value if is_list_of_texts(value) else quoted_list(value)
    is_option = "/" in key or "@" in key or not (rest or any(key in keys for keys in tasks.values()))
    stays = stays_itself(value, sweep) if is_name(key) else is_option or is_readable(value, sweep)
    return value if stays else in_quotes(value)


def never_missing(text: str) -> str:
    """A text to search for, told from the three question marks by which OmegaConf has a value that is still to be given: by a
    space behind them, which no search reads."""
    return f"{text} " if text == "???" else text


def is_name(key: str) -> bool:
    """Whether this is the key of a file, a folder or a free text."""
    table, _, last = key.rpartition(".")
    in_table = table.rpartition(".")[2] in TABLES and not table.startswith("reranker.parts.")
    listed = last in NAMES or last.endswith(NAME_ENDS) or in_table
    return listed and key not in NO_NAMES and "@" not in key and "/" not in key


def read(value: str) -> tuple[bool, Any]:
    """Whether Hydra's grammar takes the value for a sweep, and what it takes it for. Raises `HydraException` where it cannot."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    made = OverridesParser.create().parse_override(f"key={value}")
    return made.is_sweep_override(), made.value()


def plain_value(value: str) -> Any:
    """What Hydra reads in the value of an override. Raises `ConfigError` where it can read nothing, or reads several, be it in a
    list, or lists too deep in others."""
    from hydra.errors import HydraException

    try:
        is_sweep, found = read(value)
        json.dumps(found)
    except HydraException as error:
        raise ConfigError(f"{value}: {error}") from None
    except (TypeError, RecursionError):
        raise ConfigError(f"{value[:80]}: a choice within a value, or lists too deep in lists") from None
    if is_sweep:
        raise ConfigError(f"{value}: several values")
    return found


def as_config(values: Mapping[str, Any]) -> str:
    """Values by their dotted keys as the text of a config file, from which OmegaConf reads the same: a text that YAML takes for
    true or a number stands in quotes. Raises `ConfigError` for keys that cannot stand together."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    made = OmegaConf.create()
    try:
        for key, value in values.items():
            OmegaConf.update(made, key, value, merge=True)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise ConfigError(f"{', '.join(values)}: {error}") from None
    return OmegaConf.to_yaml(made) if values else ""


def stays_itself(value: str, sweep: bool) -> bool:
    """Whether Hydra takes the value of a name for this very text, for a list or a quoted text, or for a sweep that is asked for.

    Of lists and quoted texts the file system decides: a file whose name really has brackets or quotes around it is meant.
    """
    from hydra.errors import HydraException

    try:
        is_sweep, found = read(value)
    except HydraException:
        return False
    if is_sweep:
        return sweep
    if isinstance(found, list | dict) or is_quoted(value):
        return not Path(value).expanduser().exists()
    return isinstance(found, str) and found == value


def is_readable(value: str, sweep: bool) -> bool:
    """Whether Hydra can read the value of any other key, and does not cut a sentence at its commas."""
    from hydra.errors import HydraException

    try:
        is_sweep, found = read(value)
    except HydraException:
        return bool(OF_THE_GRAMMAR.match(value))
    if is_sweep:
        return sweep or bool(OF_THE_GRAMMAR.match(value)) or not re.search(r",\s.*[^\W\d_]", value)
    return not isinstance(found, str) or is_quoted(value) or found == value


def is_list_of_texts(value: str) -> bool:
    """Whether Hydra takes the value of a list of names for a list of texts, or for a sweep or a function of its own; not for one
    name alone, nor for numbers and words such as `true`, which are names there."""
    from hydra.errors import HydraException

    try:
        is_sweep, found = read(value)
    except HydraException:
        return bool(OF_THE_GRAMMAR.match(value)) and not value.endswith("]")  # a bracket is lacking, and Hydra says so
    if isinstance(found, list):
        return all(isinstance(one, str | list | dict) for one in found)
    return is_sweep or not isinstance(found, str | int | float)


def is_quoted(value: str) -> bool:
    """Whether quotes stand around the value."""
    return len(value) > 1 and value[0] in "'\"" and value[0] == value[-1]


def quoted_list(value: str, as_text: Callable[[str], str] = str) -> str:
    """A list of texts: `[a, 'b, c', 'it''s']`, or one text without brackets; each becomes what `as_text` makes of it.

    In a list a comma ends a text unless quotes stand around it; in quotes, a quote is written twice or after a backslash.
    """
    if not (value.startswith("[") and value.endswith("]")):
        return f"[{in_quotes(as_text(unquoted(value)))}]"
    items = re.findall(r"""\s*('(?:\\.|''|[^'\\])*'|"(?:\\.|""|[^"\\])*"|[^,]+?)\s*(?:,|$)""", value[1:-1], re.S)
    return f"[{','.join(in_quotes(as_text(unquoted(item))) for item in items)}]"


def unquoted(item: str) -> str:
    """A text without the quotes around it."""
    if not is_quoted(item):
        return item
    mark = item[0]
    return re.sub(rf"\\([\\{mark}])|{mark}({mark})", lambda found: found[1] or found[2], item[1:-1])


def in_quotes(text: str) -> str:
    """A text as Hydra's grammar and OmegaConf's interpolations both read it back unchanged.

    Raises `ConfigError` for what is not UTF-8.
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise ConfigError(f"{shown}: not UTF-8; type the text in a terminal whose encoding is UTF-8") from None
    escaped = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    return QuotedString(text=escaped, quote=Quote.single).with_quotes()


def as_question(bare: Sequence[str], beside: Sequence[str] = ()) -> str:
    """The override that asks what was typed without a key. Raises `ConfigError` where several words stand alone, or where an
    override `beside` it asks the like."""
    if len(bare) > 1:
        together = " ".join(bare)
        raise ConfigError(f'{len(bare)} texts without a key; write one in quotes, "{together}", or give queries=FILE')
    question = question_of(bare[0])
    key = question.partition("=")[0]
    given = next((one for one in beside if re.fullmatch(rf"\+*(task\.|retrieve\.)?{key}=.*", one, re.S)), None)
    if given is not None:
        raise ConfigError(f"{bare[0]!r} and {given} are asked: give one of them, or further ones by also=[TEXT,...]")
    return question


def question_of(text: str) -> str:
    """The override that asks what was typed: a picture, a file of queries or a text."""
    from picdesk.readers.queries import SUFFIXES

    name = Path(text if not re.search(r"\s$", text) else "")
    if plain_suffix(name) in SUFFIXES and is_there(name):
        return f"queries={in_quotes(text)}"
    is_picture = name.suffix[1:].lower() in PICTURES and (is_there(name) or not re.search(r"\s", text))
    return f"{'image' if is_picture else 'query'}={in_quotes(text if is_picture else never_missing(text))}"


def is_there(name: Path) -> bool:
    """Whether there is a file of that name; a text that is too long for one is none."""
    try:
        return name.expanduser().is_file()
    except (OSError, RuntimeError):
        return False
