"""Checkpoints: the trained weights as safetensors, and beside them the config that rebuilds the model they belong to.

The config carries a digest of itself and one of the weights (`marks`), and both are compared before either is used: so the same
weights are the same bytes, whatever was asked besides. Configs of earlier versions have none; the manifest of their job has one.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from picdesk import marks
from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError, DataError, MissingFileError, UserError, examples, first_line
from picdesk.files import WEIGHTS_FILE, file_digest, write_text, written_whole
from picdesk.interfaces import Modality
from picdesk.report.manifest import Manifest

log = logging.getLogger(__name__)
WEIGHTS, CONFIG, MANIFEST = WEIGHTS_FILE, "config.yaml", "manifest.json"
FORMAT, ABOUT = "picdesk-1", "picdesk"
MODALITIES: tuple[Modality, ...] = ("image", "text")
BIAS = "logit_bias"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: its weights file."""

    path: Path

    @property
    def config_path(self) -> Path:
        """The config of the job that made it."""
        return self.path.parent / CONFIG

    @property
    def digest(self) -> str:
        """SHA-256 of the weights file, which is read once while its size and times stay as they are."""
        about = self.path.stat()
        return _digest(self.path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@functools.lru_cache(maxsize=8)
def _digest(path: Path, *about: int) -> str:
    return file_digest(path)


def save(
    folder: Path, backbone: TwoTower, weights: dict[str, torch.Tensor], config: str, start: Checkpoint | None = None
) -> Path:
    """Write the weights, and the YAML text that rebuilds their model, whole; the path of the weights file.

    What the checkpoint `start`, from which the fit began, holds beside them is written too: the fit left it as it was, and a
    backbone that is built anew does not have it.
    """
    weights = weights if start is None else read_weights(start.path)[1] | weights
    about = {
        "format": FORMAT,
        "backbone": backbone.name,
        "trunks": {modality: backbone.trunk_fingerprint(modality) for modality in MODALITIES},
    }
    with written_whole(folder / WEIGHTS) as temporary:
        save_file(
            weights, temporary, {ABOUT: json.dumps(about, sort_keys=True)}
        )  # one key: the order of several varies
    digest = file_digest(folder / WEIGHTS)
    write_text(folder / CONFIG, marks.sign(config, digest))
    return folder / WEIGHTS


def check(checkpoint: Checkpoint) -> None:
    """Raise `DataError` unless weights and config are what was saved together; say aloud where nobody can tell."""
    config = checkpoint.config_path
    if not config.is_file():
        raise MissingFileError(f"ckpt: {config} is missing; a checkpoint needs the config that was saved beside it")
    marked = marks.read(config.read_bytes().decode("utf-8", "replace"), config)
    if marked.weights and marked.weights != checkpoint.digest:
        raise DataError(
            f"ckpt={checkpoint.path}: changed or damaged since it was saved: its digest is not the one in {CONFIG}"
        )
    if not marked.weights:
        check_former(checkpoint)


def load(checkpoint: Checkpoint, backbone: TwoTower) -> None:
    """Put the weights into a backbone built from the checkpoint's config. Raises where file or backbone do not fit."""
    about, weights = read_weights(checkpoint.path)
    if about.get("backbone") != backbone.name:
        raise ConfigError(f"ckpt={checkpoint.path} is of backbone {about.get('backbone')}, not of {backbone.name}")
    if BIAS in weights and backbone.logit_bias is None:  # trained with a sigmoid loss, begun without a bias
        backbone.set_bias(0.0)
    own = {name: found for name in weights if (found := parameter_of(backbone, name)) is not None}
    odd = [name for name, value in weights.items() if name not in own or own[name].shape != value.shape]
    if odd:
        raise DataError(f"ckpt={checkpoint.path}: {len(odd)} weights do not fit {backbone.name}: {examples(odd)}")
    backbone.note_tuned([name for name, value in weights.items() if not torch.equal(value.to(own[name]), own[name])])
    with torch.no_grad():
        for name, values in weights.items():
            own[name].copy_(values)
    backbone.untrained &= not backbone.tuned  # of a fit that kept its start the heads are as they were drawn
    backbone.forget_fingerprints()
    for modality in MODALITIES:
        wanted = about["trunks"][modality]
        if backbone.trunk_fingerprint(modality) != wanted and backbone.former_fingerprint(modality) != wanted:
            raise ConfigError(
                f"ckpt={checkpoint.path}: the {modality} trunk it was trained on had other weights or pixels"
            )


def parameter_of(backbone: TwoTower, name: str) -> torch.nn.Parameter | None:
    """The parameter of this name, None if there is none; a trunk is loaded only if the parameter is one of its own."""
    try:
        return backbone.get_parameter(name)
    except AttributeError:
        return None


def check_former(checkpoint: Checkpoint) -> None:
    """A checkpoint without digests of its own: compare it with its job's manifest, or say aloud that nothing can be compared."""
    unreadable = ""
    for folder in (checkpoint.path.parent, checkpoint.path.parent.parent):
        try:
            manifest = Manifest.read(folder / MANIFEST)
        except MissingFileError:
            continue
        except UserError as error:
            unreadable = unreadable or f" that can be read ({first_line(error)})"
            continue
        wanted, config = manifest.weights.get("checkpoint"), manifest.files.get(CONFIG)
        if manifest.task != "train" or wanted is None:
            continue
        same = {checkpoint.path: wanted, checkpoint.config_path: config or file_digest(checkpoint.config_path)}
        changed = next((path for path, digest in same.items() if file_digest(path) != digest), None)
        if changed is not None:
            raise DataError(f"ckpt: {changed}: changed since the job: its digest is not the one in {folder / MANIFEST}")
        return
    log.warning(
        "ckpt=%s: no digest of its own (an earlier version wrote none) and no manifest of its job%s: nobody can tell whether "
        "these weights are as they were saved",
        checkpoint.path,
        unreadable,
    )


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a checkpoint says of itself, checked, and its tensors."""
    try:
        with safe_open(path, "pt") as file:
            about = check_about(file.metadata(), path)
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise DataError(f"ckpt={path} is not a readable safetensors file ({first_line(error)})") from error


def check_about(metadata: Mapping[str, str] | None, path: Path) -> dict[str, Any]:
    """The note in a weights file. Raises `DataError` where it is none, of another format, or damaged."""
    try:
        about = json.loads((metadata or {}).get(ABOUT, "{}"))
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else None
        raise DataError(f"ckpt={path}: format {str(found)[:40]!r}, wanted {FORMAT!r}")
    trunks = about.get("trunks")
    if not isinstance(trunks, dict) or set(trunks) != set(MODALITIES) or not all(map(_is_text, trunks.values())):
        raise DataError(
            f"ckpt={path}: what it says of itself is damaged: one fingerprint each of {', '.join(MODALITIES)}"
        )
    return about


def _is_text(value: object) -> bool:
    return isinstance(value, str)
