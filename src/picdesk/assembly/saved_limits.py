"""What a saved config may not decide: keys that are never taken from one, addresses, and paths that lead out of the job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from picdesk.assembly.saved_text import OF_THIS_MACHINE
from picdesk.errors import ConfigError, first_line
from picdesk.process.foreign_folders import links_out

OPEN = "???"
DEEPEST = 80
OF_THE_COMMAND = (
    "skip_completed",
    *("resume", "reproduce", "save_index", "index_dir", "dir", "against"),
    *("query", "queries", "image", "subset", "submission", "captions_file", "ids"),
)
"""What is asked for, and where results go: this command's own. Older configs have at their top what stands below `task` now."""
SCORED = ("run_file", "qrels_file")
"""Of a saved task, what is taken: the files that it scored."""
NEVER = frozenset(
    (
        *("allow_code", "trust_remote_code", "base_url", "uri", "url", "endpoint", "address", "proxy"),
        *("key_variable", "token", "api_key", "answers", "default_root_dir", "save_dir", "cache_dir", "dirpath"),
        *("profiler", "plugins", "barebones"),
    )
)
"""Keys that are never taken from a saved config, wherever they stand in it."""
LANGUAGE_MODEL, SHARED = "language_model", ("answers", "base_url", "key_variable")
"""Of a language model that a saved reranker has of its own: what it takes of this command's where nothing stands in its place."""
FILES = frozenset(
    (
        *("root", "file", "folder", "model", "pretrained", "weights", "head", "ckpt", "run_file", "qrels_file"),
        *("captions_file", "token_file", "text_encoder", "image_names", "shards"),
    )
)
"""Keys whose value may name a file or a folder even where it does not look like one; at any other key its form decides."""
TEXTS = frozenset(
    ("template", "system", "question", "source", "obtain", "delimiter", "tag_separators", "protocol", "choices")
)
"""Keys of texts for people or models, in which a stroke is no path, unless the whole text is the path of what is there."""
FORM = re.compile(r"\s*(?!https?:)[A-Za-z][\w+.-]*:(?!\s)")
"""What some libraries write before a path: `local-dir:`, `file:`."""
AWAY = re.compile(r"(?:^|[{,])\s*[/~\\]|^[A-Za-z]:[\\/]|(?:^|[/\\{,])\.\.(?:$|[/\\},])")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|^pipe:", re.I)


class Limits:
    """A saved config, held against the command's own (`here`): what it may not decide is taken out of it."""

    def __init__(self, saved: DictConfig, here: DictConfig) -> None:
        self.saved, self.here = saved, here

    def drop_never(self) -> list[str]:
        """Put this command's own value, or none, where a key is never taken from a saved config; the keys that lost something."""
        lost = []
        for key in [key for key in self.keys(whole=NEVER) if key.rpartition(".")[2] in NEVER]:
            if key.split(".")[0] in OF_THIS_MACHINE:
                continue
            theirs = select(self.saved, key)
            if theirs in (None, False, ""):
                continue
            parent, _, last = key.rpartition(".")
            owner = OmegaConf.select(self.saved, parent) if parent else self.saved
            place = str(owner._get_full_key(last))  # of a table that is named by an interpolation, its own place
            shared = parent.rpartition(".")[2] == LANGUAGE_MODEL and last in SHARED
            places = (key, place, *((f"{LANGUAGE_MODEL}.{last}",) if shared else ()))
            own = next((one for one in places if select(self.here, one) is not None), place)
            ours = select(self.here, own)
            if theirs == ours:
                continue
            lost.append(place)
            with open_dict(self.saved):
                if ours is not None:
                    owner[last] = raw_node(self.here, own)
                elif isinstance(theirs, bool):
                    owner[last] = False
                elif last == "uri":
                    owner[last] = OPEN
                else:
                    del owner[last]
        return lost

    def drop_addresses(self) -> list[str]:
        """Leave open every value that is an address of something on a network; their keys."""
        return self.leave_open(
            [key for key, value in self.leaves() if ADDRESS.search(value) and self.could_reach_out(key, value)]
        )

    def drop_paths(self, folder: Path) -> list[str]:
        """Leave open every path that leads neither into the job's own folder nor into this user's own data; their keys."""
        roots = self.own_roots(folder)
        return self.leave_open(
            [
                key
                for key, value in self.leaves()
                if self.could_reach_out(key, value) and self.leads_away(key, value, roots)
            ]
        )

    def could_reach_out(self, key: str, value: str) -> bool:
        """Whether the text at a key could: one for people does not, and what this command says anyway is its own."""
        if key.rpartition(".")[2] in NEVER or value == select(self.here, key):
            return False
        return not of_text(key) or is_place(value)

    def own_roots(self, folder: Path) -> list[Path]:
        """The folders that a saved config may name: its job's, which comes first, and those that this user's own paths name."""
        paths = self.saved.paths
        own = [
            Path(str(paths.data_root)),
            Path(str(paths.data_root)) / ".." / "weights",
            Path(str(paths.project)) / "data",
        ]
        return [
            root.expanduser().resolve() for root in (folder.parent if folder.name == "checkpoint" else folder, *own)
        ]

    def leads_away(self, key: str, value: str, roots: list[Path]) -> bool:
        """Whether a value names something outside these folders, whatever its key is called."""
        last = re.sub(r"(\.\d+)+$", "", key).rpartition(".")[2]
        base = self.root_above(key) if last != "root" else None
        value = FORM.sub("", value, count=1) if not re.match(r"[A-Za-z]:[\\/]", value) else value
        looks = AWAY.search(value) is not None
        if any(mark in value for mark in "{}*?[") and looks and not value.startswith("/"):
            return True  # a pattern that climbs
        try:
            whole = (Path(str(base)) if isinstance(base, str) else Path()) / Path(value).expanduser()
            if not looks and (base is not None or not names_file(whole, value, last)):
                return False  # below its root, which is looked at by itself, or a word, or the name of a model
            found = whole.expanduser().resolve()
            job, *own = roots
            if any(found.is_relative_to(root) for root in own):
                return False
            return not found.is_relative_to(job) or bool(links_out(found, job))
        except (OSError, ValueError, RuntimeError):
            return True

    def root_above(self, key: str) -> Any:
        """The `root` of the object around a key: what relative names in it are read below. None where that object has none."""
        parent = key.rpartition(".")[0]
        while parent and select(self.saved, f"{parent}._target_") is None:
            parent = parent.rpartition(".")[0]
        return select(self.saved, f"{parent}.root") if parent else None

    def leave_open(self, keys: list[str]) -> list[str]:
        """Make the values of these keys `???`, which the command line must fill where they are needed."""
        done = []
        for key in keys:
            if select(self.saved, key) == OPEN:
                continue
            parent, _, last = key.rpartition(".")
            owner = OmegaConf.select(self.saved, parent) if parent else self.saved
            with open_dict(self.saved):
                owner[int(last) if OmegaConf.is_list(owner) else last] = OPEN
            done.append(key)
        return done

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Dotted keys and texts of all that stands in a saved config, resolved.

        Raises `ConfigError` where a text of it leads nowhere.
        """
        for key in self.keys():
            value = select(self.saved, key)
            if isinstance(value, str):
                yield key, value

    def keys(self, whole: frozenset[str] = frozenset()) -> Iterator[str]:
        """Dotted keys of all that stands in a saved config; nodes whose key is in `whole` are not entered."""
        for key in list(self.saved):
            if key not in OF_THIS_MACHINE and key not in OF_THE_COMMAND:
                yield from self._keys(self.saved._get_node(key), str(key), whole)

    def _keys(self, node: Any, key: str, whole: frozenset[str]) -> Iterator[str]:
        if key.count(".") > DEEPEST:
            raise ConfigError(f"{key[:80]}... of a saved config: nested beyond all measure")
        node = follow_reference(node, key)
        if key.rpartition(".")[2] in whole:
            yield key
        elif OmegaConf.is_dict(node) and node._value() is not None and isinstance(node._value(), dict):
            for name in list(node.keys()):
                yield from self._keys(node._get_node(name), f"{key}.{name}", whole)
        elif OmegaConf.is_list(node) and isinstance(node._value(), list):
            for i in range(len(node)):
                yield from self._keys(node._get_node(i), f"{key}.{i}", whole)
        else:
            yield key


def is_place(value: str) -> bool:
    """Whether a text is nothing but the path of something that lies on this machine, and longer than a mark between words."""
    text = value.strip()
    if len(text) < len("/xy") or AWAY.search(text) is None:
        return False
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def names_file(path: Path, value: str, last: str) -> bool:
    """Whether a value that does not look like a path is one all the same: by its key, or because such a file is there."""
    if last in FILES:
        return path.exists()
    return bool(re.search(r"[./\\]", value)) and path.is_file()


def follow_reference(node: Any, key: str) -> Any:
    """A node, or the table or list that it names by an interpolation: its keys are then those of the place that names it."""
    if node is None or not node._is_interpolation():
        return node
    try:
        found = node._maybe_dereference_node(throw_on_resolution_failure=True)
    except InterpolationToMissingValueError:
        return node
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(f"{key} of a saved config cannot be read ({first_line(error, 120)})") from None
    return found if OmegaConf.is_config(found) else node


def select(cfg: DictConfig, key: str) -> Any:
    """The value of a key, resolved; None where there is none, `???` where it is open."""
    owner: Any = cfg
    try:
        for name in key.split("."):
            node = child_of(owner, name)
            node = None if node is None else node._maybe_dereference_node(throw_on_resolution_failure=True)
            if node is None:
                return None
            owner = node if OmegaConf.is_config(node) else node._value()
    except InterpolationToMissingValueError:
        return OPEN
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(f"{key} of a saved config cannot be read ({first_line(error, 120)})") from None
    return OmegaConf.to_container(owner, resolve=False) if OmegaConf.is_config(owner) else owner


def child_of(owner: Any, name: str) -> Any:
    """The node of this name, or number, inside another; None where there is none."""
    if OmegaConf.is_list(owner) and isinstance(owner._value(), list):
        return owner._get_node(int(name)) if name.isdecimal() and int(name) < len(owner) else None
    inside = OmegaConf.is_dict(owner) and isinstance(owner._value(), dict)
    return owner._get_node(name, validate_access=False) if inside else None


def raw_node(cfg: DictConfig, key: str) -> Any:
    """The value of a key as it stands there."""
    parent, _, last = key.rpartition(".")
    owner = OmegaConf.select(cfg, parent) if parent else cfg
    node = owner._get_node(last, validate_access=False)
    if node is None:
        raise KeyError(key)
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()


def of_text(key: str) -> bool:
    """Whether a key holds a text for people or models."""
    parts = re.sub(r"(\.\d+)+$", "", key).split(".")
    return parts[-1] in TEXTS or parts[0] in TEXTS
