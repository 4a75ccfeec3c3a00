"""What of a saved config is taken here: the choices that make a number, never what reaches beyond the job.

Every door by which somebody else's config comes in goes through `read_saved`: reproduce=, ckpt=, reranker.ckpt=, resume=,
index_dir=, compare. The command line gives again what is left out, and the job says in one line what that is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import AnyNode, Container, DictConfig, Node, OmegaConf, ValueNode, open_dict
from omegaconf.errors import OmegaConfBaseException

from picdesk.assembly.allowed import current
from picdesk.assembly.saved_limits import ADDRESS, AWAY, NEVER, OF_THE_COMMAND, SCORED, Limits
from picdesk.assembly.saved_text import OF_THIS_MACHINE, parse_values, read_values, texts
from picdesk.assembly.shelf import keep_in_job
from picdesk.errors import DataError, MissingFileError, first_line
from picdesk.files import digest_of

log = logging.getLogger(__name__)
VALUE = "value"
OF_THE_SEARCH = ("index", "scores", "reranker", "fusion", "choices", "top_k", "run_depth", "min_score", "share", "ckpt")
"""What no command takes from the config of a checkpoint: how things are searched, and the file itself."""


def as_written(path: Path) -> dict[str, Any]:
    """A saved config as it stands there, in plain values, interpolations as they are, less what is never taken from one: to be
    compared with a manifest, not to be used."""
    plain = OmegaConf.to_container(read_values(path)[0], resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def is_own(path: Path) -> bool:
    """Whether this user's picdesk wrote a saved config; False where it cannot be read."""
    try:
        return read_values(path)[1]
    except (DataError, MissingFileError):
        return False


def value_in(path: Path, key: str) -> Any:
    """What a saved config says under a dotted key, resolved; None where it says nothing."""
    return OmegaConf.select(read_values(path)[0], key, throw_on_resolution_failure=False)


def read_saved(path: Path, here: DictConfig, otherwise_searched: bool = False) -> DictConfig:
    """A saved config with this machine's paths, logger and the like in it; read only. `here` is the command's own config.

    What it may not decide is this command's; a path that leads neither into the job nor into this user's own data stands open
    (`???`), unless this user's picdesk wrote the config. Raises `DataError`, `MissingFileError`.

    `otherwise_searched`: whoever asks takes from it the backbone, the data and how things are encoded, and nothing else. Jobs of
    a sweep that differ in how things are searched alone then hold it against their own config once.
    """
    plain = OmegaConf.to_container(here, resolve=False)
    assert isinstance(plain, dict)

    def hold() -> tuple[DictConfig, list[str]]:
        saved, own = read_values(path)
        saved = with_current_names(saved)
        set_task(saved, here)
        check_kinds(path, saved, here)
        root = OmegaConf.select(saved, "paths.data_root")
        with open_dict(saved):
            for key in [*OF_THIS_MACHINE, *(key for key in OF_THE_COMMAND if key in saved)]:
                if key in plain:
                    saved[key] = plain[key]
            if root is not None:
                saved.paths.data_root = root
        limits = Limits(saved, here)
        left = [
            *limits.drop_never(),
            *limits.drop_addresses(),
            *(limits.drop_paths(path.parent) if not own else ()),
        ]
        return saved, left

    named = {str(name): value for name, value in plain.items()}
    saved, left = keep_in_job("saved", key_of(path, named), hold) if otherwise_searched else hold()
    if left:
        told = ", ".join(left[:6]) + (", ..." if len(left) > 6 else "")
        log.warning("%s: not taken from a saved config: %s; give again on the command line what is needed", path, told)
    return saved


def key_of(path: Path, here: Mapping[str, Any]) -> str:
    """Digest of a file's place, size and times, and of a command's plain config less how things are searched."""
    about = path.stat() if path.is_file() else None
    times = about and (about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return digest_of(
        [str(path), times, {name: repr(value) for name, value in here.items() if name not in OF_THE_SEARCH}]
    )


def set_task(saved: DictConfig, here: DictConfig) -> None:
    """Put this command's own task into a saved config; of the saved one remain the files that it scored.

    Configs that are older than `conf/task/` name the task alone, and have its values at their top.
    """
    former = saved.task if OmegaConf.is_dict(saved.get("task")) else saved
    files = {key: former._get_node(key) for key in SCORED if key in former}
    with open_dict(saved):
        if not OmegaConf.is_dict(here.get("task")):
            return
        saved.task = OmegaConf.to_container(here, resolve=False)["task"]  # type: ignore[call-overload,index]
        for key, node in files.items():
            if key in saved.task and saved.task[key] is None:
                saved.task[key] = node
        for key in (*OF_THE_COMMAND, *SCORED):
            if key not in here:
                saved.pop(key, None)


def with_current_names(saved: DictConfig) -> DictConfig:
    """The config with each part under the name that it has now, so that it equals the same choice made today."""

    def rename_targets(node: Any) -> Any:
        if isinstance(node, list):
            return [rename_targets(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {k: current(v) if k == "_target_" and isinstance(v, str) else rename_targets(v) for k, v in node.items()}

    plain = OmegaConf.to_container(saved, resolve=False)
    renamed = rename_targets(plain)
    if renamed == plain:
        return saved
    named: DictConfig = OmegaConf.create(renamed)
    return named


def may_be_repeated(key: str, value: str, own: bool, read: Any = None) -> bool:
    """Whether an override of a finished job may stand in a YAML file ready for use: it decides what a saved config may.

    Looked at is what YAML makes of the value, and what Hydra `read` in it; `own`: this user's picdesk wrote the job, whose paths
    may lead out of it.
    """
    parts = re.split(r"[./@]", key)
    if not re.fullmatch(r"[\w./@-]+", key) or parts[0] in ("task", *OF_THIS_MACHINE, *OF_THE_COMMAND):
        return False
    try:
        found = parse_values(f"{VALUE}: {value}", Path(key))
    except DataError:
        return False
    if not isinstance(found, dict) or list(found) != [VALUE] or "\n" in value:
        return False
    told = list(texts(found | {"read": read}))
    keys = {part for place, _ in told for part in place.split(".")}
    reaches = any("$" in text or ADDRESS.search(text) or (AWAY.search(text) and not own) for _, text in told)
    return NEVER.isdisjoint({*parts, *keys}) and not reaches


def check_kinds(path: Path, saved: DictConfig, here: DictConfig) -> None:
    """Raise `DataError` where a value is of another kind than the schema's: a list for a number, a text for a group."""
    trial = here.copy()
    OmegaConf.set_struct(trial, False)
    for key in map(str, here):
        node, value = here._get_node(key), saved._get_node(key) if key in saved else None
        if not isinstance(value, Node) or key in OF_THIS_MACHINE:
            continue
        if kind_of(node) != kind_of(value) and (OmegaConf.is_config(node) or OmegaConf.is_config(value)):
            raise DataError(f"{path}: {key}: {kind_of(value)}, where {kind_of(node)} belongs")
        known = content_of(value)
        if repr(known) == repr(content_of(node)):  # the command's own, of the right kind
            continue
        typed = isinstance(node, DictConfig) and is_dataclass(OmegaConf.get_type(node))
        if isinstance(node, DictConfig) and not typed and node._metadata.element_type is Any:
            continue
        try:
            wanted = {name: child for name, child in known.items() if name in node} if typed else known  # type: ignore[operator]
            OmegaConf.update(trial, key, wanted, merge=True)
        except OmegaConfBaseException as error:
            raise DataError(f"{path}: {key}: {first_line(error, 160)}") from None
        as_kind_of(trial, saved, key)
        for name in known if typed else ():
            as_kind_of(trial._get_node(key), value, str(name))


def as_kind_of(typed: Any, saved: Any, key: str) -> None:
    """A number that a saved config holds as a text becomes the number that the schema takes it for."""
    fresh, there = typed._get_node(key) if key in typed else None, saved._get_node(key)
    if isinstance(fresh, AnyNode | Container) or not isinstance(fresh, ValueNode) or not isinstance(there, ValueNode):
        return
    if isinstance(there._value(), str) and not there._is_interpolation() and not isinstance(fresh._value(), str):
        saved[key] = fresh._value()


def content_of(node: Any) -> Any:
    """A node in plain values, interpolations as they are."""
    return OmegaConf.to_container(node) if isinstance(node, Container) else node._value()


def kind_of(node: Any) -> str:
    """What a node is, in a word."""
    return "a table" if OmegaConf.is_dict(node) else "a list" if OmegaConf.is_list(node) else "a value"
