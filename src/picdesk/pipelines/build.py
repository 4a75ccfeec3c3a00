"""From a config node to an object: the `_target_` picks the class, its signature is the schema."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from picdesk.collection import Fields
from picdesk.errors import ConfigError, UserError

TRAINING = ("trainer", "callbacks", "adaptation", "augmentation", "loss", "optimizer", "scheduler", "forget_on")
ALLOWED = ("picdesk.", "torch.optim.", "pytorch_lightning.")


def build(cfg: DictConfig, key: str, **extra: Any) -> Any:
    """Instantiate `cfg[key]`, with `extra` arguments; all unknown and missing keys are told in one `ConfigError`.

    Only targets below `ALLOWED` are built: a config file from elsewhere cannot name an arbitrary function.
    """
    node = cfg[key]
    top = OmegaConf.to_container(node, resolve=False)
    for part in parts_of(top):
        check(part, key, extra if part is top else {})
    try:
        if not extra:
            return hydra.utils.instantiate(node, _convert_="all")
        return hydra.utils.instantiate(node, _convert_="all", _partial_=True)(**extra)  # extra holds live objects
    except HydraException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError | ValueError):  # a value of a kind that the class does not take
            raise ConfigError(f"{key}: {node._target_} does not take these values ({error.__cause__})") from error
        raise


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
    plain = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(plain, dict)
    left_out = () if training else set(TRAINING) - named_groups()
    for key, node in plain.items():
        for part in parts_of(node) if key not in left_out else ():
            check(part, str(key), {})


def named_groups() -> set[str]:
    """Groups that the command line sets, or sets something in."""
    if not HydraConfig.initialized():
        return set(TRAINING)
    keys = [override.lstrip("+~").partition("=")[0] for override in HydraConfig.get().overrides.task]
    return {re.split(r"[./@]", key)[0] for key in keys}


def parts_of(node: Any) -> list[dict[str, Any]]:
    """Of a node as plain values: itself and every node inside it, where they have a `_target_`."""
    if not isinstance(node, dict):
        return []
    inner = [part for child in node.values() for part in parts_of(child)]
    return [node, *inner] if "_target_" in node else inner


def check(node: dict[str, Any], key: str, extra: dict[str, Any]) -> None:
    """Raise `ConfigError` where the node's keys do not fit the signature of its target."""
    target = str(node["_target_"])
    if not target.startswith(ALLOWED):
        raise ConfigError(f"{key}._target_={target}: only classes of {', '.join(ALLOWED)} may stand in a config")
    try:
        signature = inspect.signature(get_object(target))
    except Exception as error:
        raise ConfigError(f"{key}._target_={target} cannot be imported ({str(error).splitlines()[0]})") from error
    given = {str(name) for name in node if name not in ("_target_", "_partial_", "_convert_", "_recursive_")} | set(
        extra
    )
    taken = {name for name, parameter in signature.parameters.items() if parameter.kind is not parameter.VAR_KEYWORD}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    unknown = sorted(given - taken) if not open_ended else []
    if unknown:
        raise ConfigError(f"{key}: {', '.join(unknown)} unknown to {target}; it takes {', '.join(sorted(taken))}")
    needed = {name for name, p in signature.parameters.items() if p.default is p.empty and p.kind is p.KEYWORD_ONLY}
    needed |= {n for n, p in signature.parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    lacking = sorted(needed - given) if not node.get("_partial_") else []
    if lacking:
        raise ConfigError(f"{key}: {target} also needs {', '.join(lacking)}")
