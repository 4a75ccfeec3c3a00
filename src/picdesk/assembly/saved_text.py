"""The one reader of a saved config's text: plain values, and no order to this machine hidden among them.

Refused: resolvers (`${oc.env:...}`), whatever could become one when texts are joined, aliases and tags of YAML, letters that
steer a terminal, absurd sizes, also those that a text has only once it is resolved, and keys that no dotted path leads to: what
nobody can name, nobody looks at. What stands under `paths`, `logger` and the like is cut out first: it is never taken from a
saved config.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from picdesk import marks
from picdesk.assembly.shelf import take_or_make
from picdesk.errors import DataError, MissingFileError, first_line

MOST_BYTES = 4 << 20
MOST_DEPTH = 40
PLAIN = re.compile(r"\$\{[\w.\[\]]*\}")
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
CHOICES = "choices"
GROUP = re.compile(r"[\w./@-]+")
NO_KEY = re.compile(r"[.\[\]]")
OF_THIS_MACHINE = ("paths", "logger", "hydra", "plugins", "network")
"""Groups and keys that a saved config holds for people to read; they are never taken from it."""


def quick_loader() -> Any:
    """OmegaConf's rules for values over libyaml's parser: the same values in half the time. None where it is not there."""
    if not yaml.__with_libyaml__:
        return None
    from yaml.cyaml import CParser

    class QuickLoader(CParser, get_yaml_loader()):  # type: ignore[misc]
        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

    return QuickLoader


QUICK = quick_loader()


def yaml_of(plain: Mapping[str, Any]) -> str:
    """The text that plain values are saved as, interpolations as they are; equal nodes, of this job or of the next ones of a
    sweep, are turned into text once."""
    nodes = {key: f"{key}: {value!r}" for key, value in plain.items()}
    return "".join(take_or_make("yaml", nodes[key], partial(node_text, key, plain[key])) for key in plain)


def node_text(key: str, value: Any) -> str:
    """One node at the top of a config with its key."""
    return OmegaConf.to_yaml(OmegaConf.create({key: value}), resolve=False, sort_keys=False)


def read_text(path: Path) -> marks.Marked:
    """The text of a saved config. Raises `MissingFileError`, or `DataError` where it is damaged or no such text."""
    if not path.is_file():
        raise MissingFileError(f"ckpt: {path} is missing; a checkpoint needs the config that was saved beside it")
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path}: {path.stat().st_size:,} bytes; no config of a job is as large")
    try:
        return marks.read(path.read_bytes().decode("utf-8"), path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read ({error.reason} at byte {error.start})") from None


def read_values(path: Path) -> tuple[DictConfig, bool]:
    """A saved config, without what is never taken from one, and whether this user's picdesk wrote it.

    Read once by all jobs of a sweep while the file stays as it is; what comes is the caller's own copy.
    """
    about = path.stat() if path.is_file() else None
    cfg, own = _read_values(path, about and about.st_mtime_ns, about and about.st_size)
    return cfg.copy(), own


@functools.lru_cache(maxsize=8)
def _read_values(path: Path, changed: int | None, size: int | None) -> tuple[DictConfig, bool]:
    marked = read_text(path)
    plain = parse_values(marked.text, path)
    if not isinstance(plain, dict) or not isinstance(plain.get("backbone"), dict):
        raise DataError(f"{path} is not the config of a picdesk job: it has no backbone")
    data_root = plain["paths"].get("data_root") if isinstance(plain.get("paths"), dict) else None
    kept = {str(key): value for key, value in plain.items() if key not in OF_THIS_MACHINE}
    if marked.own and isinstance(data_root, str) and "${" not in data_root:
        kept["paths"] = {"data_root": data_root}
    for key, value in texts(kept):
        check_text(path, key, value)
    check_keys(path, kept)
    Weights(path, kept).check()
    try:
        return OmegaConf.create(kept), marked.own
    except OmegaConfBaseException as error:
        raise DataError(f"{path} cannot be read ({first_line(error)})") from None


def read_overrides(path: Path) -> list[str]:
    """What a job's command line set, as Hydra wrote it down beside the job. Raises `DataError` where that is no such list."""
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path}: {path.stat().st_size:,} bytes; no command line is as long")
    try:
        listed = parse_values(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read ({error.reason} at byte {error.start})") from None
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise DataError(f"{path}: wanted a list of overrides")
    if any(STEERING.search(item) or "\n" in item for item in listed):
        raise DataError(f"{path}: holds letters that no override has")
    return listed


def parse_values(text: str, path: Path) -> Any:
    """YAML of plain values. Raises `DataError` for anything else; nothing is built, and nothing stands for many.

    libyaml reads it, where it is there. What it refuses is read again by PyYAML's own parser, which says what is wrong, and so is
    a text with tabs or letters that steer: in those alone the two differ.
    """
    if QUICK is not None and "\t" not in text and not STEERING.search(text):
        with suppress(DataError):
            return values_of(text, path, QUICK)
    return values_of(text, path, get_yaml_loader())


def values_of(text: str, path: Path, loader: Any) -> Any:
    """The same by one parser, which looks for what is no plain value before it makes values."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or depth > MOST_DEPTH:
                raise DataError(
                    f"{path}: line {event.start_mark.line + 1}: aliases and deep nesting are no part of a config"
                )
            if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
                raise DataError(
                    f"{path}: line {event.start_mark.line + 1}: the tag {event.tag[:60]!r} is no part of a config"
                )
        found = yaml.load(text, Loader=loader)
        if not isinstance(found, dict | list | str | None):
            raise DataError(f"{path} holds {text.strip()[:60]!r}, where keys and values are needed")
        return OmegaConf.to_container(
            OmegaConf.create(found if isinstance(found, dict | list) else text), resolve=False
        )
    except DataError:
        raise
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({first_line(error, 160)})") from None


def texts(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and texts of a nested container; keys are texts too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}", str(key)
            yield from texts(value, f"{prefix}{key}.")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from texts(value, f"{prefix}{i}.")
    elif isinstance(node, str | bytes | Path):
        yield prefix.rstrip("."), node if isinstance(node, str) else str(node)


def check_text(path: Path, key: str, value: str) -> None:
    """Raise `DataError` for a text that would do more than stand there.

    The one thing that a text may do is name another key of the same config, `${seed}`: the rest must hold nothing that Hydra's
    grammar reads, nor a `$` at the end of a piece, which the next piece could complete.
    """
    if STEERING.search(value):
        raise DataError(f"{path}: {key!r}: holds letters that no config has ({value[:40]!r})")
    rest = PLAIN.sub("\0", value)
    if "${" in rest or "$\0" in rest or rest.endswith("$"):
        raise DataError(f"{path}: {key}: {value[:60]!r} asks this machine for something; a saved config may not")


def check_keys(path: Path, node: Any, where: str = "") -> None:
    """Raise `DataError` for a key that is no text, or that a dotted path would take apart: no limit would find what is below."""
    inside = list(node.items()) if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        if not where and key == CHOICES and isinstance(value, dict):
            check_choices(path, value)
            continue
        if isinstance(node, dict) and (not isinstance(key, str) or not key or NO_KEY.search(key)):
            raise DataError(f"{path}: {where}{str(key)[:40]!r}: a key of a config is a text without dots and brackets")
        check_keys(path, value, f"{where}{key}.")


def check_choices(path: Path, chosen: dict[Any, Any]) -> None:
    """Raise `DataError` unless the names of the chosen options are texts by group: `backbone@reranker.backbone` is a group."""
    for key, value in chosen.items():
        if not (isinstance(key, str) and GROUP.fullmatch(key) and isinstance(value, str)):
            raise DataError(f"{path}: {CHOICES}.{str(key)[:40]!r}: the name of an option by its group belongs there")


class Weights:
    """How large a saved config becomes when each `${key}` in it is replaced by what it names: a short text can stand for a
    billion letters."""

    def __init__(self, path: Path, whole: Any) -> None:
        self._path, self._whole = path, whole
        self._known: dict[tuple[Any, ...], int] = {}

    def check(self) -> None:
        """Raise `DataError` where it is absurd; what goes in a circle is left to those who resolve it."""
        self._weigh(self._whole, ())

    def _weigh(self, node: Any, at: tuple[Any, ...]) -> int:
        """Letters and items of a node whose keys are `at`."""
        if at in self._known:
            return self._known[at]
        self._known[at] = total = 0  # met again before it is known: a circle
        if isinstance(node, dict | list):
            pairs = node.items() if isinstance(node, dict) else enumerate(node)
            total = sum(1 + self._weigh(value, (*at, key)) for key, value in pairs)
        elif isinstance(node, str):
            total = len(node) + sum(self._weigh_named(found[0][2:-1], at) for found in PLAIN.finditer(node))
        if total > 2 * MOST_BYTES:
            raise DataError(
                f"{self._path}: {'.'.join(map(str, at))[:80]}: grows beyond all measure when it is resolved"
            )
        self._known[at] = total
        return total

    def _weigh_named(self, name: str, at: tuple[Any, ...]) -> int:
        """The same of what a text at `at` names, `a.b[0]` from the top or `.b` from where it stands; 0 where there is nothing."""
        rest = name.lstrip(".")
        up = len(name) - len(rest)
        way = [*(at[: max(len(at) - up, 0)] if up else ()), *re.findall(r"[^.\[\]]+", rest)]
        node, place = self._whole, []
        for step in way:
            if isinstance(node, list) and str(step).isdecimal() and int(step) < len(node):
                place.append(int(step))
            elif isinstance(node, dict) and step in node:
                place.append(step)
            elif isinstance(node, str) and PLAIN.search(node):
                raise DataError(f"{self._path}: ${{{name[:60]}}} leads on through another name; name the value itself")
            else:
                return 0
            node = node[place[-1]]
        return self._weigh(node, tuple(place))
