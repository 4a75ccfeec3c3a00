"""Checkpoints: the trained weights as safetensors, and beside them the config that rebuilds the model they belong to."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from yaml import YAMLError

from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError, DataError, MissingFileError, examples
from picdesk.files import file_digest, written_whole
from picdesk.interfaces import Modality

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"
FORMAT, ABOUT = "picdesk-1", "picdesk"
MODALITIES: tuple[Modality, ...] = ("image", "text")
BIAS = "logit_bias"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: its weights file and the config of the job that made it."""

    path: Path
    config: DictConfig

    @property
    def digest(self) -> str:
        """SHA-256 of the weights file."""
        return file_digest(self.path)


def save(folder: Path, backbone: TwoTower, weights: dict[str, torch.Tensor], cfg: DictConfig) -> Path:
    """Write weights and config whole; the path of the weights file."""
    about = {
        "format": FORMAT,
        "backbone": backbone.name,
        "trunks": {modality: backbone.trunk_fingerprint(modality) for modality in MODALITIES},
    }
    with written_whole(folder / CONFIG) as temporary:
        OmegaConf.save(cfg, temporary, resolve=False)
    with written_whole(folder / WEIGHTS) as temporary:
        save_file(
            weights, temporary, {ABOUT: json.dumps(about, sort_keys=True)}
        )  # one key: the order of several varies
    return folder / WEIGHTS


def find(ckpt: str, outputs: Path) -> Checkpoint:
    """A checkpoint by its file, its folder, its job's output dir, or `latest`: the newest that a training job left."""
    path = newest(outputs) if ckpt == "latest" else Path(ckpt).expanduser()
    for candidate in (path, path / WEIGHTS, path / "checkpoint" / WEIGHTS):
        if candidate.is_file():
            return Checkpoint(candidate, known_config(candidate.parent / CONFIG))
    raise MissingFileError(f"ckpt={ckpt}: no checkpoint there; give a {WEIGHTS}, or the output dir of a train.py job")


def newest(outputs: Path) -> Path:
    """The checkpoint written last under the outputs folder."""
    found = [*outputs.glob(f"train/*/*/checkpoint/{WEIGHTS}"), *outputs.glob(f"train/*/*/*/checkpoint/{WEIGHTS}")]
    if not found:
        raise MissingFileError(
            f"ckpt=latest: no training job has left a checkpoint under {outputs}; run train.py first"
        )
    return max(found, key=lambda path: (path.stat().st_mtime_ns, str(path)))


def read_config(path: Path) -> DictConfig:
    """The config saved beside a checkpoint."""
    if not path.is_file():
        raise MissingFileError(f"ckpt: {path} is missing; a checkpoint needs the config that was saved beside it")
    try:
        cfg = OmegaConf.load(path)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"ckpt: {path} cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(cfg, DictConfig) or "backbone" not in cfg:
        raise DataError(f"ckpt: {path} is not the config of a picdesk job: it has no backbone")
    return cfg


def known_config(path: Path) -> DictConfig:
    """The same, read only, and read once by all jobs of a sweep while the file stays as it is."""
    about = path.stat() if path.is_file() else None
    return _known_config(path, about and about.st_mtime_ns, about and about.st_size)


@functools.lru_cache(maxsize=4)
def _known_config(path: Path, changed: int | None, size: int | None) -> DictConfig:
    cfg = read_config(path)
    OmegaConf.set_readonly(cfg, True)
    return cfg


def load(checkpoint: Checkpoint, backbone: TwoTower) -> None:
    """Put the weights into a backbone built from the checkpoint's config. Raises where file or backbone do not fit."""
    about, weights = read_weights(checkpoint.path)
    if about.get("format") != FORMAT:
        raise DataError(f"ckpt={checkpoint.path}: format {about.get('format')!r}, wanted {FORMAT!r}")
    if about.get("backbone") != backbone.name:
        raise ConfigError(f"ckpt={checkpoint.path} is of backbone {about.get('backbone')}, not of {backbone.name}")
    if BIAS in weights and backbone.logit_bias is None:  # trained with a sigmoid loss, begun without a bias
        backbone.set_bias(0.0)
    own = dict(backbone.named_parameters())
    odd = [name for name, value in weights.items() if name not in own or own[name].shape != value.shape]
    if odd:
        raise DataError(f"ckpt={checkpoint.path}: {len(odd)} weights do not fit {backbone.name}: {examples(odd)}")
    backbone.note_tuned([name for name, value in weights.items() if not torch.equal(value.to(own[name]), own[name])])
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
    backbone.forget_fingerprints()
    for modality, wanted in about.get("trunks", {}).items():
        if backbone.trunk_fingerprint(modality) != wanted:
            raise ConfigError(
                f"ckpt={checkpoint.path}: the {modality} trunk it was trained on had other weights or pixels"
            )


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a checkpoint says of itself, and its tensors."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(ABOUT, "{}"))
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"ckpt={path} is not a readable safetensors file ({str(error).splitlines()[0]})") from error
