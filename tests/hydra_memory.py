"""Hydra and OmegaConf do in the tests' own processes once what they would do alike for every job; other processes have all of it.

What is kept of files is of `conf/` and of Hydra's own alone, which do not change while tests run. Half of the time of a short
job is theirs.
"""

import copy
import functools
from abc import ABCMeta
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import omegaconf.omegaconf
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository, IConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import (
    DictConfig,
    ListConfig,
    OmegaConf,
    SCMode,
    _utils,
    base,
    basecontainer,
    dictconfig,
    listconfig,
    nodes,
)
from omegaconf.base import Box, Container, Metadata, Node, UnionNode
from omegaconf.basecontainer import BaseContainer
from omegaconf.nodes import AnyNode, BooleanNode, FloatNode, IntegerNode, StringNode, ValueNode

Patch = tuple[Any, str, Any]
CONF = str(Path(__file__).resolve().parents[1] / "conf")


def begin() -> None:
    """Put it in place."""
    for (owner, name, own), memory in zip(AS_IT_COMES, MEMORIES, strict=True):
        setattr(owner, name, memory[2](own))


def is_ours(repository: IConfigRepository) -> bool:
    """Whether options come from `conf/`, from Hydra and from code, and from no other folder."""
    return [source.path for source in repository.get_sources() if source.scheme() == "file"] == [CONF]


def without_first_look(get_mode: Callable[..., Any]) -> Callable[..., Any]:
    """Hydra composes a whole config before it begins, to see whether that asks for a sweep; only where something given could."""

    def mode(hydra: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        asks = any(given.lstrip("+~").startswith(("hydra", "hparams_search")) for given in overrides)
        return get_mode(hydra, config_name, overrides) if asks else None

    return mode


def parse_once(load: Callable[..., Any]) -> Callable[..., Any]:
    """Options of `conf/` and Hydra's own are parsed once, and copied for each config that they go into."""
    known: dict[str, Any] = {}

    def load_once(repository: ConfigRepository, config_path: str) -> Any:
        if not is_ours(repository):
            return load(repository, config_path)
        if config_path not in known:
            found = load(repository, config_path)
            if found is None or found.provider not in ("main", "hydra"):
                return found
            known[config_path] = found
        return copy.deepcopy(known[config_path])

    return load_once


def choose_once(choose: Callable[..., Any]) -> Callable[..., Any]:
    """Which options a config is made of depends on the groups that are chosen, and not on single values."""
    known: dict[Any, Any] = {}

    def choose_again(
        repo: IConfigRepository, config_name: str | None, overrides_list: Sequence[Any], **other: Any
    ) -> Any:
        given = [one for one in overrides_list if not one.is_sweep_override()]
        values = [one for one in given if isinstance(one.value(), dict) or not repo.group_exists(one.key_or_group)]
        if not is_ours(repo) or len(given) < len(overrides_list):
            return choose(repo=repo, config_name=config_name, overrides_list=overrides_list, **other)
        groups = [one for one in given if not any(one is value for value in values)]
        key = (config_name, tuple(one.input_line for one in groups), tuple(sorted(other.items())))
        if key not in known:
            known[key] = choose(repo=repo, config_name=config_name, overrides_list=groups, **other)
        return replace(copy.copy(known[key]), config_overrides=values)

    return choose_again


def merge_once(merge: Callable[..., Any]) -> Callable[..., Any]:
    """The same options in the same order make the same config; it is copied."""
    known: dict[Any, Any] = {}

    def merge_again(loader: ConfigLoaderImpl, defaults: Sequence[Any], repo: IConfigRepository) -> Any:
        key = tuple((one.config_path, one.parent, one.package, one.is_self, one.primary) for one in defaults)
        if not is_ours(repo):
            return merge(loader, defaults=defaults, repo=repo)
        if key not in known:
            known[key] = merge(loader, defaults=defaults, repo=repo)
        return copy.deepcopy(known[key])

    return merge_again


def copy_shallowly(_: Callable[..., None]) -> Callable[..., None]:
    """Sources of options are put anew into the copy of a repository, and not changed: they need no copies of their own."""

    def begin_copy(repository: CachingConfigRepository, delegate: IConfigRepository) -> None:
        repository.delegate = copy.copy(delegate)
        repository.cache = {}

    return begin_copy


def without_idle_maps(build: Callable[..., Any]) -> Callable[..., Any]:
    """What names of options may be made of is gathered only where a name is made of another."""

    def build_if_asked(overrides: Any, defaults: list[Any], self_added: bool) -> Any:
        asked = any(default.is_interpolation() for default in defaults)
        return build(overrides, defaults, self_added) if asked else None

    return build_if_asked


def read_overrides_once(parse: Callable[..., Any]) -> Callable[..., Any]:
    """A word of a command line means the same each time, unless it calls a function: `shuffle` does not."""
    known: dict[str, Any] = {}

    def parse_once(parser: OverridesParser, text: str, rule: str) -> Any:
        if rule != "override" or "(" in text:
            return parse(parser, text, rule)
        if text not in known:
            known[text] = parse(parser, text, rule)
        return copy.deepcopy(known[text])

    return parse_once


def make_one_parser(create: Callable[..., OverridesParser]) -> Callable[..., OverridesParser]:
    """A parser of words is the same each time; to make one is to look at the signatures of all functions of the grammar."""
    known = functools.cache(create)
    return lambda config_loader=None: known() if config_loader is None else create(config_loader)


def write_nodes_once(to_yaml: Callable[..., str]) -> Callable[..., str]:
    """The text of a config is that of its nodes one below the other, and equal nodes have equal texts; so it is in a group."""
    known: dict[str, str] = {}

    def text_of(key: Any, value: Any) -> str:
        node = repr((key, value))
        if node not in known:
            known[node] = to_yaml({key: value})
        return known[node]

    def group_text(key: Any, value: Any) -> str:
        if not isinstance(value, dict) or len(value) < 2:
            return text_of(key, value)
        parts = [text_of(key, {own: child}).partition("\n") for own, child in value.items()]
        return f"{parts[0][0]}\n" + "".join(below for _, _, below in parts)

    def write(cfg: Any, *, resolve: bool = False, sort_keys: bool = False) -> str:
        if not isinstance(cfg, DictConfig) or not cfg or resolve or sort_keys:
            return to_yaml(cfg, resolve=resolve, sort_keys=sort_keys)
        plain = OmegaConf.to_container(cfg, enum_to_str=True)
        assert isinstance(plain, dict)
        return "".join(group_text(key, value) for key, value in plain.items())

    return write


def load_once(load: Callable[..., Any]) -> Callable[..., Any]:
    """A file of `conf/` is parsed once, and copied for whoever reads it."""
    known: dict[str, Any] = {}

    def load_again(file: Any) -> Any:
        if not isinstance(file, str | Path) or not str(file).startswith(CONF):
            return load(file)
        if str(file) not in known:
            known[str(file)] = load(file)
        return copy.deepcopy(known[str(file)])

    return load_again


def know_plain_values(is_class: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Texts, numbers, tables and lists, and nodes, are no structured config; all else is looked at."""
    plain = {str, int, float, bool, type(None), dict, list, *COPIED}

    def is_such_a_class(thing: Any) -> bool:
        return type(thing) not in plain and is_class(thing)

    return is_such_a_class


def is_missing(value: Any) -> bool:
    """As OmegaConf's, which looks up `Node` in its package at each call."""
    if isinstance(value, Node):
        value = value._value()
    return isinstance(value, str) and value == "???"


def is_interpolation(value: Any, strict_interpolation_validation: bool = False) -> bool:
    """As OmegaConf's, which looks up `Node` in its package at each call."""
    if isinstance(value, Node):
        value = value._value()
    return isinstance(value, str) and _utils._is_interpolation_string(value, strict_interpolation_validation)


def is_none(value: Any, resolve: bool = False, throw_on_resolution_failure: bool = True) -> bool:
    """As OmegaConf's, which looks up `Node` in its package at each call."""
    if not isinstance(value, Node):
        return value is None
    if resolve:
        value = value._maybe_dereference_node(throw_on_resolution_failure=throw_on_resolution_failure)
        if not throw_on_resolution_failure and value is None:
            return False
    return bool(value._is_none())


def asked_of(kind: type) -> Callable[..., Any]:
    """Whether a thing is of a kind, without a look into OmegaConf's package at each call."""
    return lambda _: lambda thing: isinstance(thing, kind)


def look_for_mistakes_alone(validate: Callable[..., None]) -> Callable[..., None]:
    """A key that is there may be read, whatever else holds of its table."""

    def validate_what_is_missing(config: DictConfig, key: Any, value: Any = None) -> None:
        content = config.__dict__["_content"]
        if not (isinstance(content, dict) and key in content):
            validate(config, key, value)

    return validate_what_is_missing


def write_plainly(to_content: Callable[..., Any]) -> Callable[..., Any]:
    """Tables, lists and single values of a config as Python's own, each in one go, where nothing is to be resolved."""

    def content_of(
        conf: Any,
        resolve: bool,
        throw_on_missing: bool,
        enum_to_str: bool = False,
        structured_config_mode: Any = SCMode.DICT,
    ) -> Any:
        if not (resolve or throw_on_missing) and structured_config_mode == SCMode.DICT:
            with suppress(UnlikeError):
                return plain_of(conf)
        return to_content(
            conf,
            resolve=resolve,
            throw_on_missing=throw_on_missing,
            enum_to_str=enum_to_str,
            structured_config_mode=structured_config_mode,
        )

    return content_of


class UnlikeError(Exception):
    """A node is of a kind that is left to OmegaConf."""


def plain_of(node: Any) -> Any:
    """The value of a node whose insides are of the common kinds."""
    kind = type(node)
    if kind in LEAVES and type(node.__dict__["_val"]) in PLAIN:
        return node.__dict__["_val"]
    if kind is DictConfig and isinstance(node.__dict__["_content"], dict):
        content = node.__dict__["_content"]
        if all(type(key) in NAMES for key in content):
            return {key: plain_of(child) for key, child in content.items()}
    elif kind is ListConfig and isinstance(node.__dict__["_content"], list):
        return [plain_of(child) for child in node.__dict__["_content"]]
    raise UnlikeError


def note_flatly(_: None) -> Callable[..., Any]:
    """What OmegaConf notes about a node is copied at once, and not field by field."""

    def copy_notes(noted: Metadata, memo: dict[int, Any]) -> Metadata:
        new, own = object.__new__(type(noted)), noted.__dict__.copy()
        if own["flags"] is not None:
            own["flags"] = dict(own["flags"])
        own["resolver_cache"] = copy.deepcopy(noted.resolver_cache, memo) if noted.resolver_cache else defaultdict(dict)
        new.__dict__ = own
        return new

    return copy_notes


def copy_flatly(_: Callable[..., Any]) -> Callable[..., Any]:
    """A single value is copied without making an empty node first."""

    def copy_node(node: ValueNode, memo: dict[int, Any]) -> ValueNode:
        new = type(node).__new__(type(node))
        new.__dict__.update(node.__dict__, _metadata=node._metadata.__deepcopy__(memo), _flags_cache=None)  # type: ignore[attr-defined]
        return new

    return copy_node


def copy_tree(copy_slowly: Callable[..., Any]) -> Callable[..., Any]:
    """A table or a list is copied with all that is in it in one go, each child below its parent."""

    def copy_box(node: Any, memo: dict[int, Any]) -> Any:
        content = node.__dict__["_content"]
        children = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
        if any(type(child) not in COPIED for child in children):
            return copy_slowly(node, memo)
        new = type(node).__new__(type(node))
        flags = node.__dict__["_flags_cache"]
        new.__dict__.update(
            node.__dict__, _metadata=node._metadata.__deepcopy__(memo), _flags_cache=flags and dict(flags)
        )
        if not children:
            new.__dict__["_content"] = copy.copy(content)
            return new
        copies = [child.__deepcopy__(memo) for child in children]
        for child in copies:
            child.__dict__["_parent"] = new
        new.__dict__["_content"] = dict(zip(content, copies, strict=True)) if isinstance(content, dict) else copies
        return new

    return copy_box


def set_parents(_: Callable[..., Any]) -> Callable[..., Any]:
    """After each merge every node below is told its parent: without a call for each."""

    def tell_below(box: Any) -> None:
        content = box.__dict__["_content"]
        children = (
            content.values() if isinstance(content, dict) else content if isinstance(content, list) else (content,)
        )
        for child in children:
            if not isinstance(child, Node):
                continue
            child.__dict__["_parent"] = box
            if child.__dict__["_flags_cache"] is not None:
                child._invalidate_flags_cache()
            if "_content" in child.__dict__:
                tell_below(child)

    return tell_below


def wrap_flatly(wrap: Callable[..., Node]) -> Callable[..., Node]:
    """Tables, lists and single values of Python's own kinds become nodes in one go, without an empty node and flags for each."""

    def wrap_node(parent: Any, is_optional: bool, value: Any, key: Any, ref_type: Any = Any) -> Node:
        freely = ref_type is Any and is_optional and is_plain(value)
        if not freely or (parent is not None and parent._get_flag("convert") is False):
            return wrap(parent=parent, is_optional=is_optional, value=value, key=key, ref_type=ref_type)
        return node_of(value, key, parent)

    return wrap_node


def is_plain(value: Any) -> bool:
    """Whether a value is made of Python's own kinds alone, and names no other value: such names are read for mistakes."""
    kind = type(value)
    if kind is dict:
        return all(type(key) in NAMES and is_plain(child) for key, child in value.items())
    if kind is list:
        return all(map(is_plain, value))
    return (kind is str and "${" not in value) or kind in NUMBERS


def node_of(value: Any, key: Any, parent: Any) -> Node:
    """The node of a plain value, with what OmegaConf notes about such a one."""
    kind = type(value)
    example = EXAMPLES.get(kind, EXAMPLES[str])
    new = object.__new__(type(example))
    noted = example._metadata.__deepcopy__({})
    noted.key = key
    new.__dict__.update(_metadata=noted, _parent=parent, _flags_cache=None)
    if kind is dict:
        new.__dict__["_content"] = {name: node_of(child, name, new) for name, child in value.items()}
    elif kind is list:
        new.__dict__["_content"] = [node_of(child, i, new) for i, child in enumerate(value)]
    else:
        new.__dict__["_val"] = value
    return new


class AskedPlainly(ABCMeta):
    """A class whose instances are those of it and of what is made of it: nothing is registered with the classes of OmegaConf."""

    __instancecheck__ = type.__instancecheck__
    __subclasscheck__ = type.__subclasscheck__


LEAVES = (AnyNode, BooleanNode, FloatNode, IntegerNode, StringNode)
USERS = (_utils, base, basecontainer, dictconfig, listconfig, nodes, omegaconf.omegaconf)
NAMES = {str, int, float, bool}
NUMBERS = {int, float, bool, type(None)}
EXAMPLES: dict[type, Any] = {
    kind: OmegaConf.create({"k": value})._get_node("k") for kind, value in ((dict, {}), (list, []), (str, ""))
}
COPIED = {DictConfig, ListConfig, *LEAVES}
PLAIN = {*NAMES, type(None)}
KINDS = {"list": ListConfig, "dict": DictConfig, "config": Container}
MEMORIES: list[Patch] = [
    (Hydra, "get_mode", without_first_look),
    (ConfigRepository, "load_config", parse_once),
    (CachingConfigRepository, "__init__", copy_shallowly),
    (config_loader_impl, "create_defaults_list", choose_once),
    (ConfigLoaderImpl, "_compose_config_from_defaults_list", merge_once),
    (defaults_list, "_create_interpolation_map", without_idle_maps),
    (OverridesParser, "parse_rule", read_overrides_once),
    (OverridesParser, "create", make_one_parser),
    (base, "parse", functools.cache),
    (_utils, "parse", functools.cache),
    (OmegaConf, "to_yaml", write_nodes_once),
    (OmegaConf, "load", load_once),
    *((_utils, name, know_plain_values) for name in ("is_attr_class", "is_dataclass")),
    *((room, "_is_missing_value", lambda _: is_missing) for room in USERS if hasattr(room, "_is_missing_value")),
    *((room, "_is_interpolation", lambda _: is_interpolation) for room in USERS if hasattr(room, "_is_interpolation")),
    *((room, "_is_none", lambda _: is_none) for room in USERS if hasattr(room, "_is_none")),
    *((OmegaConf, f"is_{name}", asked_of(kind)) for name, kind in KINDS.items()),
    (DictConfig, "_validate_get", look_for_mistakes_alone),
    (BaseContainer, "_to_content", write_plainly),
    (Metadata, "__deepcopy__", note_flatly),
    *((kind, "__deepcopy__", copy_flatly) for kind in LEAVES),
    *((kind, "__deepcopy__", copy_tree) for kind in (DictConfig, ListConfig)),
    (Box, "_re_parent", set_parents),
    (omegaconf.omegaconf, "_node_wrap", wrap_flatly),
    *((kind, "__class__", lambda _: AskedPlainly) for kind in (Node, Box, Container, BaseContainer, ValueNode)),
    *((kind, "__class__", lambda _: AskedPlainly) for kind in (DictConfig, ListConfig, UnionNode, *LEAVES)),
]
AS_IT_COMES: list[Patch] = [(owner, name, getattr(owner, name, None)) for owner, name, _ in MEMORIES]
"""Where each stands, and their own."""
