"""A picture set that a model of a few thousand weights can learn in seconds: coloured squares and the names of the colours."""

import io
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image

from picdesk.backbones.two_tower import TwoTower
from picdesk.data.images import open_picture
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.training.adaptation import Adaptation
from picdesk.training.augmentation import Nothing
from picdesk.training.datamodule import FeatureData, Raw
from picdesk.training.features import Features
from picdesk.training.fit import Fitted, embed_part, fit
from picdesk.training.losses import InfoNCE
from picdesk.training.module import MONITOR, validation_metrics
from picdesk.training.schedules import constant
from picdesk.trec.runs import Qrels
from tests.embedding.fakes import Pictures

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "yellow": (230, 220, 40),
    "white": (240, 240, 240),
    "black": (10, 10, 10),
    "pink": (250, 150, 190),
    "brown": (110, 70, 30),
}
Part = tuple[Pictures, list[str]]


def part(seed: int, each: int) -> Part:
    """`each` pictures of every colour, a little off it, and two captions a picture."""
    blobs, texts = drawn(seed, each)
    return Pictures(blobs), list(texts)


@cache
def drawn(seed: int, each: int) -> tuple[list[bytes], list[str]]:
    rng = np.random.default_rng(seed)
    blobs, texts = [], []
    for _ in range(each):
        for name, colour in COLOURS.items():
            pixels = np.clip(np.array(colour) + rng.normal(0, 12, (36, 44, 3)), 0, 255).astype(np.uint8)
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "png")
            blobs.append(stream.getvalue())
            texts += [f"a {name} dog", f"the {name} one"]
    return blobs, texts


def features(backbone: TwoTower, what: Part, folder: Path) -> Features:
    """The part through the encoder."""
    pictures, texts = what
    encoder = Encoder(Store(folder), batch_size=8)
    owner = np.repeat(np.arange(len(pictures)), 2)
    names, text_names = tuple(f"p{i}" for i in range(len(pictures))), tuple(f"t{j}" for j in range(len(texts)))
    every = np.arange(len(texts))
    return Features(
        names,
        text_names,
        encoder.pictures(backbone, pictures, open_picture),
        encoder.texts(backbone, texts),
        owner,
        Qrels.from_pairs(text_names, names, every, owner),
        Qrels.from_pairs(names, text_names, owner, every),
    )


def data_of(
    backbone: TwoTower,
    adaptation: Adaptation,
    folder: Path,
    batch_size: int = 8,
    seed: int = 0,
    augment: Any = None,
    sampler: str = "auto",
    each: int = 3,
) -> FeatureData:
    """Pictures to train on, `each` of every colour, and 8 to validate on."""
    parts = {"train": part(0, each), "val": part(1, 1)}
    raw = Raw(
        backbone,
        adaptation.towers,
        {name: pictures for name, (pictures, _) in parts.items()},
        {name: texts for name, (_, texts) in parts.items()},
        augment or Nothing(),
    )
    train, val = (features(backbone, what, folder) for what in parts.values())
    return FeatureData(train, val, batch_size, seed, sampler, raw)


def make_trainer(epochs: int, **kept: Any) -> pl.Trainer:
    """A quiet Trainer on the CPU."""
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    checkpoints = any(isinstance(one, pl.callbacks.Checkpoint) for one in kept["callbacks"])
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        enable_checkpointing=checkpoints,
        num_sanity_val_steps=0,
        **quiet,
        **kept,
    )


def run(
    backbone: TwoTower,
    adaptation: Adaptation,
    folder: Path,
    lr: float = 1e-3,
    epochs: int = 3,
    loss: Any = None,
    seed: int = 0,
    data: FeatureData | None = None,
    callbacks: Any = (),
    trainer: Callable[..., pl.Trainer] | None = None,
    **settings: Any,
) -> Fitted:
    """One fit from pixels."""
    data = data or data_of(backbone, adaptation, folder, seed=seed)
    trained = adaptation.prepare(backbone)
    optimizer = partial(torch.optim.AdamW, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    make = trainer or partial(make_trainer, epochs)
    return fit(backbone, trained, loss or InfoNCE(), optimizer, constant, data, make, list(callbacks), seed, **settings)


def zero_shot(backbone: TwoTower, folder: Path) -> dict[str, float]:
    """The metrics of the validation part, encoded as for an evaluation."""
    val = features(backbone, part(1, 1), folder)
    return dict(validation_metrics(val, *embed_part(backbone, val)))


def score(backbone: TwoTower, folder: Path) -> float:
    """The mean hits@1 of the validation part, encoded as for an evaluation."""
    return zero_shot(backbone, folder)[MONITOR]
