"""`ckpt=`: the model, and whatever the command line leaves open, come from the config saved beside the checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly.checkpoints import EXPORT, find
from picdesk.assembly.configured_rerankers import Rerankers
from picdesk.assembly.named import named_keys, options_chosen
from picdesk.assembly.saved_config import read_saved
from picdesk.assembly.saved_limits import raw_node
from picdesk.embedding.precision import AUTO, MEASURED, choose_precision
from picdesk.errors import ConfigError, MissingFileError
from picdesk.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)
Look = Callable[[str, str, Path], Checkpoint | None]
"""Key of the config, its `ckpt` and the outputs folder in, the checkpoint out."""
MODEL = ("backbone",)
FROZEN = "picdesk.training.adaptation.Heads"
INHERITED = (
    *("data", "split", "prompt", "seed", "paths.data_root"),
    *("encode.engine", "encode.precision", "encode.fast_decode", "encode.storage"),
)


def find_for(key: str, ckpt: str, outputs: Path) -> Checkpoint:
    """The checkpoint that a key of the config names. Raises `MissingFileError`, by that key."""
    try:
        return find(ckpt, outputs)
    except MissingFileError as error:
        raise MissingFileError(f"{key.removesuffix('ckpt')}{error}") from None


def with_checkpoint(
    cfg: DictConfig, look: Look = find_for, settle: bool = True
) -> tuple[DictConfig, Checkpoint | None]:
    """The config with the checkpoint's parts in it, and the checkpoint. What the command line names itself stays as it is.

    Raises `ConfigError` if the command line names another backbone than the checkpoint's. `look` finds checkpoints; one that it
    gives none for is passed over. Without `settle` what `encode.precision=auto` stands for is left open.
    """
    cfg = with_named_checkpoints(with_choices(cfg, settle=False), look)
    Rerankers(cfg).name_language_model()
    checkpoint = look("ckpt", str(cfg.ckpt), Path(cfg.paths.outputs)) if cfg.ckpt is not None else None
    if checkpoint is None:
        if settle:
            settle_precision(cfg.encode, cfg.get("adaptation"))
        return cfg, None
    keys, left_open = named_keys(), cfg.encode.precision == AUTO and "encode.precision" not in named_keys()
    saved = read_saved(checkpoint.config_path, cfg, otherwise_searched=True)
    refuse_other_model(cfg, saved, keys)
    cfg.ckpt = str(checkpoint.path)
    with open_dict(cfg):
        for key in (*MODEL, *INHERITED):
            inherit(cfg, saved, key, keys)
    if settle:
        if left_open:
            choose_anew(cfg.encode)
        settle_precision(cfg.encode, cfg.get("adaptation"))
    return cfg, checkpoint


def choose_anew(encode: Any) -> None:
    """Where `auto` chose bf16 for the checkpoint that a config is of, let it choose for this machine: a CPU without units for
    bf16 takes many times as long in it, and what that moves is well within error bars."""
    if encode.precision == MEASURED:
        encode.precision, reason = choose_precision(encode.device)
        if encode.precision != MEASURED:
            log.info("encode.precision=fp32, where this checkpoint was fitted by %s: %s", MEASURED, reason)


def settle_precision(encode: Any, adaptation: Any) -> None:
    """Put what `precision=auto` stands for into the node `encode` of a config, by which the job is kept and had again elsewhere;
    say why where it was asked for by name.

    A fit through trunks, by `adaptation`, is in fp32: the trunk that it leaves is another one, whose drift nobody measured, and
    the start is compared with the end.
    """
    named = "encode.precision" in named_keys()
    learns = adaptation is not None and adaptation.get("_target_") != FROZEN
    if encode.precision == AUTO:
        chosen, reason = ("fp32", "trunks learn") if learns else choose_precision(encode.device)
        encode.precision = chosen
        if named:
            log.info("encode.precision=auto: %s, as %s", chosen, reason)
    elif encode.precision == MEASURED and learns and not named:
        encode.precision = "fp32"


def with_named_checkpoints(cfg: DictConfig, look: Look = find_for) -> DictConfig:
    """The config with each `reranker.ckpt`, and `backbone.text_ckpt`, as the file that it is now: `latest` would be another one
    when the job is repeated."""
    nodes = {"reranker": cfg.reranker}
    if "parts" in cfg.reranker:
        use = cfg.reranker.use if OmegaConf.is_list(cfg.reranker.use) else []
        nodes = {f"reranker.parts.{name}": node for name, node in cfg.reranker.parts.items() if name in use}
    named = {f"{key}.ckpt": node.get("ckpt") for key, node in nodes.items()}
    if cfg.backbone.get("text_ckpt") != EXPORT:
        named["backbone.text_ckpt"] = cfg.backbone.get("text_ckpt")
    for key, ckpt in named.items():
        found = look(key, str(ckpt), Path(cfg.paths.outputs)) if ckpt else None
        if found is not None:
            OmegaConf.update(cfg, key, str(found.path))
    return cfg


def with_choices(cfg: DictConfig, settle: bool = True) -> DictConfig:
    """The config with the names of the chosen options written into it, so that a page can say `split: official_dev`, and, with
    `settle`, what `encode.precision=auto` stands for."""
    noted = cfg.copy()
    with open_dict(noted):
        noted.choices = options_chosen(cfg.choices)
    if settle:
        settle_precision(noted.encode, noted.get("adaptation"))
    return noted


def inherit(cfg: DictConfig, saved: DictConfig, key: str, named: list[str]) -> None:
    """Take one node over from the saved config, unless the command line or an experiment chose it; `auto` chooses nothing."""
    chosen = key in named or ("experiment" in named and key not in MODEL and OmegaConf.select(cfg, key) != AUTO)
    there = OmegaConf.select(saved, key, throw_on_resolution_failure=False) is not None or is_open(saved, key)
    if chosen or not there:
        return
    if key in saved.get("choices", {}):
        cfg.choices[key] = saved.choices[key]
    own = [name for name in named if name.startswith(f"{key}.")]
    kept = {name: OmegaConf.select(cfg, name) for name in own}
    OmegaConf.update(cfg, key, fixed_split(saved) if key == "split" else raw_node(saved, key), merge=False)
    for name, setting in kept.items():
        OmegaConf.update(cfg, name, setting)


def is_open(saved: DictConfig, key: str) -> bool:
    """Whether the key is there and was left open, because a saved config may not decide it."""
    parent, _, last = key.rpartition(".")
    owner = OmegaConf.select(saved, parent) if parent else saved
    return OmegaConf.is_dict(owner) and OmegaConf.is_missing(owner, last)


def fixed_split(saved: DictConfig) -> object:
    """The split of the saved config, drawn by the seed that it was drawn by: another `seed` must not mix what was parted."""
    node = raw_node(saved, "split")
    assert isinstance(node, dict)
    return {str(name): saved.seed if value == "${seed}" else value for name, value in node.items()}


def refuse_other_model(cfg: DictConfig, theirs: DictConfig, named: list[str]) -> None:
    """A backbone named on the command line must be the checkpoint's own."""
    if not any(name == "backbone" or name.startswith("backbone.") for name in named):
        return
    own, saved = cfg.backbone, theirs.backbone
    differs = [key for key in {*own, *saved} - {"seed"} if own.get(key) != saved.get(key)]
    if differs:
        key = "_target_" if "_target_" in differs else sorted(differs)[0]
        raise ConfigError(
            f"ckpt={cfg.ckpt} was trained with backbone.{key}={saved.get(key)}, but the command asks for {own.get(key)}; "
            "leave backbone out: a checkpoint brings its own"
        )
