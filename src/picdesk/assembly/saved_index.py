"""A saved index at the doors: what it was made from, the config that rebuilds what asks it, and a search without embeddings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from picdesk.assembly.build import build
from picdesk.assembly.correcting import corrected, unfitted
from picdesk.assembly.inherit import inherit, is_open, with_checkpoint
from picdesk.assembly.saved import taken, write_config
from picdesk.assembly.searching import built
from picdesk.backbones.two_tower import TwoTower
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError, MissingFileError
from picdesk.files import held
from picdesk.interfaces import Direction, Embeddings, Index, Side
from picdesk.retrieval.dataset import World
from picdesk.retrieval.index_facts import made_from
from picdesk.search.corrected import FILE, Corrected
from picdesk.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)
CONFIG = "config.yaml"
INHERITED = ("data", "split", "part", "prompt", "index", "scores", "seed", "paths.data_root", "encode.precision")
INHERITED_TOO = ("encode.fast_decode", "encode.storage")
TOLD = ("data", "fields", "checkpoint")  # said of an index, but no reason to refuse it


def built_and_kept(
    cfg: DictConfig, world: World, asked: Embeddings, items: Side, gallery: str, backbone: TwoTower, encoder: Encoder
) -> Index:
    """The index of the config over the items, with its score correction; with `save_index=DIR` also written there."""
    assert items.embeddings is not None
    direction: Direction = "t2i" if gallery == "pictures" else "i2t"
    index = corrected(cfg, world, direction, asked, built(cfg, items), items.embeddings, backbone, encoder)
    if cfg.save_index:
        save(cfg, Path(str(cfg.save_index)), index, made_from(world, gallery, backbone, encoder))
    return index


def refuse_captions(backbone: TwoTower, key: str) -> None:
    """A backbone that searches the captions of pictures has no vector of a picture to keep."""
    if backbone.by_captions:
        raise ConfigError(f"{key}: backbone={backbone.name} searches captions, and a picture has no vector of its own")


def save(cfg: DictConfig, folder: Path, index: Index, facts: Mapping[str, Any]) -> None:
    """Write the index, and beside it the config that rebuilds backbone and prompt."""
    with held(folder):
        index.save(folder, facts)
        if not isinstance(index, Corrected):
            (folder / FILE).unlink(missing_ok=True)
        keep_config(cfg, folder)
    log.info("index: %s: %s items", folder, f"{len(index.ids):,}")


def keep_config(cfg: DictConfig, folder: Path) -> None:
    """The config, with the index's own settings resolved: its address must not move with the outputs of a later job."""
    kept = cfg.copy()
    kept.index = OmegaConf.to_container(cfg.index, resolve=True)
    if "://" not in str(kept.index.get("uri", "://")):
        kept.index.uri = str(Path(str(kept.index.uri)).absolute())
    with open_dict(kept):
        for key in ("save_index", "index_dir", "query", "queries", "image"):
            kept[key] = None
        kept.ckpt = None if cfg.ckpt is None else str(Path(str(cfg.ckpt)).absolute())
    write_config(folder / CONFIG, kept)


def folder_of(cfg: DictConfig) -> Path:
    """`index_dir`. Raises `ConfigError` or `MissingFileError` where there is no saved index."""
    if not cfg.index_dir:
        raise ConfigError(f"index_dir must be given: task={cfg.task} needs the folder of a saved index")
    folder = Path(str(cfg.index_dir)).expanduser()
    if not (folder / CONFIG).is_file():
        raise MissingFileError(
            f"index_dir={cfg.index_dir}: no saved index there ({CONFIG} is missing); save_index=DIR or task=index_build makes one"
        )
    return folder


def named_keys() -> list[str]:
    """The keys that the command line sets."""
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return [override.lstrip("+~").split("=", 1)[0] for override in given]


def with_index(cfg: DictConfig, folder: Path, leave: tuple[str, ...] = ()) -> tuple[DictConfig, Checkpoint | None]:
    """The config with what the index was built by in it, but for what the command line names itself, and for `leave`."""
    named = named_keys()
    saved = taken(folder / CONFIG, cfg)
    cfg = cfg.copy()
    if "ckpt" not in named:
        if is_open(saved, "ckpt"):
            raise ConfigError(f"index_dir={cfg.index_dir}: its checkpoint lies outside it: give it again by ckpt=FILE")
        cfg.ckpt = saved.ckpt
    own_index = cfg.index
    cfg, checkpoint = with_checkpoint(cfg)
    if any(name == "index" for name in named):
        cfg.index = own_index
    keys = [key for key in (*INHERITED, *INHERITED_TOO) if key not in leave]
    with open_dict(cfg):
        for key in keys if checkpoint else ["backbone", *keys]:
            inherit(cfg, saved, key, named)
    return cfg, checkpoint


def open_index(cfg: DictConfig, folder: Path, expected: Mapping[str, Any], dim: int) -> Index:
    """Load the index of the config; refuse it where it was made from something else."""
    index: Index = unfitted(cfg, build(cfg, "index"))
    wanted = {key: value for key, value in expected.items() if key not in TOLD}
    index.load(folder, {**wanted, "dim": dim, "metric": "inner_product"})
    return index
