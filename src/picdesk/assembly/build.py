"""From a config node to an object: the `_target_` picks a class of the list, its signature is the schema.

Nothing is built that `assembly.allowed` does not know, wherever in the node it stands: the node is resolved first, and what is
checked then is what is built. Hydra has no share in it, so a value of the node is never read as an instruction.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from picdesk.assembly import named
from picdesk.assembly.allowed import FOREIGN, OWN, class_of, installed_plugins
from picdesk.collection import Fields
from picdesk.errors import ConfigError, UserError, refuse_nan

TRAINING = ("trainer", "callbacks", "adaptation", "augmentation", "loss", "optimizer", "scheduler", "forget_on")
TARGET, PARTIAL = "_target_", "_partial_"
FINISHED_LATER = ("optimizer", "scheduler")
"""Groups whose class is called by the fit, with what it trains; no other is left unfinished."""
DO = {
    **{"backbone": "facing", "data": "read", "prompt": "choose", "split": "assign", "index": "build"},
    **{"fusion": "fuse", "task": "run"},
}
"""What every class of a group can do, by the group."""
FIXED = {"_convert_": "all", "_recursive_": True}
"""Keys that Hydra knows, with the one value each that says what is done here anyway."""
WRONG = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)
Extra = Mapping[str, Any]
OF_THE_JOB = {"data": ("qrels", "qrels_only")}
"""Keys of a group that no class takes: the job reads them itself."""

LIMIT = "limit"
TEXT, NUMBERS, LISTS = (str, Path), (int, float), (list, tuple, set, frozenset, Sequence, Iterable)
OPEN, OTHER = ("???", "${"), "something else"


def build(cfg: DictConfig, key: str, **extra: Any) -> Any:
    """What `cfg[key]` stands for, with `extra` arguments; all unknown and missing keys are told in one `ConfigError`."""
    node = resolve_node(cfg, key)
    plugins = plugins_of(cfg)
    for part in parts_of(node):
        check(part, key, extra if part is node else {}, plugins)
    check_group(node, key, plugins)
    return make(node, key, plugins, extra)


def resolve_node(cfg: DictConfig, key: str) -> Any:
    """A node as plain values, nothing in it open. Raises `ConfigError` naming a value that must be given."""
    try:
        node = cfg[key]
        if not OmegaConf.is_config(node):
            raise ConfigError(f"{key}={node}: one of the options of the group {key} is needed")
        return without_limit(OmegaConf.to_container(node, resolve=True, throw_on_missing=True), key)
    except MissingMandatoryValue as error:
        full = str(error.full_key or key)
        raise ConfigError(f"{full} must be given: add {full}=VALUE") from None


def plain_of(cfg: DictConfig, name: str) -> Any:
    """One node as plain values."""
    node = cfg[name]
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def plugins_of(cfg: DictConfig) -> tuple[str, ...]:
    """The packages of the user's own: those that the command line or the user's config names, and those that are installed so."""
    top = OmegaConf.select(cfg._get_root(), "plugins")
    return tuple(dict.fromkeys([*(top if OmegaConf.is_list(top) else ()), *installed_plugins()]))


def make(node: Any, key: str, plugins: Sequence[str], extra: Extra) -> Any:
    """The object of a checked node of plain values; lists and tables keep their form."""
    if isinstance(node, list):
        return [make(item, f"{key}[{i}]", plugins, {}) for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    left = (TARGET, PARTIAL, *FIXED, *OF_THE_JOB.get(key, ()))
    if TARGET not in node:
        return {name: make(value, f"{key}.{name}", plugins, {}) for name, value in node.items()}
    kind = class_of(node[TARGET], key, plugins)
    hints = hints_of(kind)
    own = {str(name): as_meant(value, hints.get(str(name))) for name, value in node.items() if name not in left}
    values = {name: make(value, f"{key}.{name}", plugins, {}) for name, value in own.items()} | dict(extra)
    if node.get(PARTIAL):
        check_values(kind, own, key)
        return functools.partial(kind, **values)
    try:
        made = kind(**values)
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, WRONG) and node[TARGET] not in FOREIGN:  # other libraries have errors of their own
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{key}: {node[TARGET]} does not take these values ({reason})") from error
    check_values(kind, own, key)  # behind the class, whose own words say more
    return made


def rendering(cfg: DictConfig, field_names: Sequence[str]) -> Callable[[Fields], str] | None:
    """How the prompt makes texts of these fields; None where it does not suit them, which is said once texts are needed."""
    prompt = build(cfg, "prompt")
    try:
        chosen = prompt.choose(field_names) if field_names else None
    except ConfigError:
        return None
    render: Callable[[Fields], str] | None = chosen.render if chosen is not None else None
    return render


def check_all(cfg: DictConfig, training: bool = False) -> None:
    """Check every part of the config at once, before anything costly is begun.

    A job that trains nothing checks the parts of training only where the command names them: looking at them imports Lightning.
    """
    left_out = () if training else set(TRAINING) - named_groups()
    plugins = plugins_of(cfg)
    for key in cfg:
        for part in parts_of(as_far_as_known(cfg, str(key))) if key not in left_out else ():
            check(part, str(key), {}, plugins)


def as_far_as_known(cfg: DictConfig, key: str) -> Any:
    """A node as plain values, resolved where that is possible yet."""
    node = cfg._get_node(key)
    if not OmegaConf.is_config(node):
        return None
    try:
        plain = OmegaConf.to_container(cfg[key], resolve=True)
    except OmegaConfBaseException:
        plain = OmegaConf.to_container(node, resolve=False)
    return without_limit(plain, key)


def without_limit(plain: Any, key: str) -> Any:
    """A node without what is of the data set, whatever its reader."""
    if isinstance(plain, dict) and key == "data":
        plain.pop(LIMIT, None)
    return plain


def named_groups() -> set[str]:
    """Groups that the command line sets, or sets something in."""
    return {re.split(r"[./@]", key)[0] for key in named.named_keys()} if named.has_command_line() else set(TRAINING)


def parts_of(node: Any) -> list[dict[str, Any]]:
    """Of a node as plain values: itself and every node inside it, in tables and in lists, where they have a `_target_`."""
    inside = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
    inner = [part for child in inside for part in parts_of(child)]
    return [node, *inner] if isinstance(node, dict) and TARGET in node else inner


def check(node: dict[str, Any], key: str, extra: Extra, plugins: Sequence[str] = ()) -> None:
    """Raise `ConfigError` where the target is not on the list, or the node's keys do not fit its signature."""
    target = str(node[TARGET])
    signature = signature_of(class_of(node[TARGET], key, plugins))
    check_words(node, key)
    refuse_nan(node, key, infinite=target in FOREIGN or target.split(".")[0] == OWN)
    left = (TARGET, PARTIAL, *FIXED, *OF_THE_JOB.get(key, ()))
    given = {str(name) for name in node if name not in left} | set(extra)
    taken = {name for name, parameter in signature.parameters.items() if parameter.kind is not parameter.VAR_KEYWORD}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    unknown = sorted(given - taken) if not open_ended else []
    if unknown:
        raise ConfigError(f"{key}: {', '.join(unknown)} unknown to {target}; it takes {', '.join(sorted(taken))}")
    needed = {name for name, p in signature.parameters.items() if p.default is p.empty and p.kind is p.KEYWORD_ONLY}
    needed |= {n for n, p in signature.parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    lacking = sorted(needed - given) if not node.get(PARTIAL) else []
    if lacking:
        raise ConfigError(f"{key}: {target} also needs {', '.join(lacking)}")


@functools.cache
def signature_of(kind: type) -> inspect.Signature:
    """What a class takes, looked up once: jobs of a sweep name the same classes."""
    return inspect.signature(kind)


def check_group(node: Any, key: str, plugins: Sequence[str]) -> None:
    """Raise `ConfigError` where the class is one of another group, or none is named."""
    if key not in DO:
        return
    target = node.get(TARGET) if isinstance(node, dict) else None
    if target is None or not hasattr(class_of(target, key, plugins), DO[key]):
        given = f"{key}.{TARGET}={target}:" if target else f"{key}: without {TARGET},"
        raise ConfigError(f"{given} no option of the group {key}; --help lists them")


def check_words(node: dict[str, Any], key: str) -> None:
    """Raise `ConfigError` for a word of Hydra's that means something else than what is done here."""
    for name, meant in FIXED.items():
        if name in node and node[name] != meant:
            raise ConfigError(f"{key}.{name}={node[name]}: everything is built, as plain values; leave {name} out")
    if not isinstance(node.get(PARTIAL, False), bool):
        raise ConfigError(f"{key}.{PARTIAL}={node[PARTIAL]}: true or false")
    if node.get(PARTIAL) and key not in FINISHED_LATER:
        raise ConfigError(f"{key}.{PARTIAL}=true: that is for {' and '.join(FINISHED_LATER)}; leave it out")
    odd = [str(name) for name in node if str(name).startswith("_") and name not in (TARGET, PARTIAL, *FIXED)]
    if odd:
        raise ConfigError(f"{key}: {', '.join(odd)}: no argument that a config may give")


def check_values(kind: type, node: Mapping[Any, Any], key: str) -> None:
    """Raise `ConfigError` for a list where a text belongs, a text where a number belongs, 1.5 where 1 or 2 does, and the like.

    What the class does not say is not looked at; nodes with a `_target_` become objects, which the class looks at itself.
    """
    for name, hint in hints_of(kind).items():
        if name in node and not fits(node[name], hint):
            given = str(node[name])[:60]
            quotes = "; in YAML yes, no, on and off stand in quotes" if isinstance(node[name], bool) else ""
            raise ConfigError(f"{key}.{name}={given}: {article(node[name])}, where {words_for(hint)} belongs{quotes}")


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    """The kinds of a class's arguments by name; none where they cannot be told."""
    try:  # a dataclass takes its fields, each by the names that the module of its own class knows
        return typing.get_type_hints(kind if is_dataclass(kind) else kind.__init__)  # type: ignore[misc]
    except Exception:  # names that only a type checker knows
        return {}


def as_meant(value: Any, hint: Any) -> Any:
    """A text where a list of texts belongs and no text does, as a list of that one: letter by letter it is never meant. A number
    where a text alone belongs, as that text: YAML takes a column named 2024 for one."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = [one for one in (typing.get_args(hint) if is_union else [hint]) if one is not type(None)]
    if kinds == [str] and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    is_listed = bool(kinds) and all((typing.get_origin(one) or one) in LISTS for one in kinds)
    if not isinstance(value, str) or value.startswith(OPEN) or not is_listed:
        return value
    of_texts = any(not typing.get_args(one) or typing.get_args(one)[0] in (str, Any) for one in kinds)
    return [value] if of_texts else value


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value can be meant where the hint stands."""
    if (isinstance(value, dict) and "_target_" in value) or (isinstance(value, str) and value.startswith(OPEN)):
        return True
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, inner) for inner in typing.get_args(hint))
    if hint is type(None):
        return value is None
    if origin in TEXT:
        return value is not None and not isinstance(value, bool | list | dict)
    if origin is bool:
        return isinstance(value, int | float)
    if origin in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return origin is float or isinstance(value, int) or value.is_integer()
    if origin in LISTS:
        return isinstance(value, list) and items_fit(value, hint)
    if origin in (dict, Mapping):
        return isinstance(value, dict)
    return not (isinstance(value, bool) and isinstance(origin, type) and origin.__module__.startswith("torch"))


def items_fit(items: list[Any], hint: Any) -> bool:
    """Whether the values of a list can be meant where the hint stands, and are as many as it asks for."""
    kinds = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and Ellipsis not in kinds:
        return len(items) == len(kinds) and all(map(fits, items, kinds))
    return all(fits(item, kinds[0]) for item in items) if kinds else True


def article(value: Any) -> str:
    """What a plain value is, in words."""
    names = {dict: "a table", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def words_for(hint: Any) -> str:
    """What a hint asks for, in words."""
    origin = typing.get_origin(hint) or hint
    inner = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        said = [words_for(kind) for kind in inner if kind is not int or float not in inner]
        return " or ".join(word for word in dict.fromkeys(said) if word != OTHER) or OTHER
    if origin in LISTS:
        many = f" of {len(inner)}" if origin is tuple and Ellipsis not in inner else ""
        each = words_for(inner[0]).removeprefix("a ") if inner else OTHER
        return f"a list{many}" if each == OTHER else f"a list{many or ' of'} {each}s"
    words = {str: "a text", Path: "a path", int: "a whole number", float: "a number", bool: "true or false"}
    return (words | {dict: "a table", Mapping: "a table", type(None): "nothing"}).get(origin, OTHER)
