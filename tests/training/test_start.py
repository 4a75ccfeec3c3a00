"""A fit begins where the model stands: steps at a learning rate of nothing change nothing, whatever the model and the loss."""

import copy
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import nn

from picdesk.assembly.checkpoints import find
from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.training.adaptation import Full, Heads
from picdesk.training.averaging import Ema
from picdesk.training.checkpoint import load, save
from picdesk.training.collapse import Collapse
from picdesk.training.datamodule import FeatureData
from picdesk.training.features import Features
from picdesk.training.fit import Fitted, fit
from picdesk.training.losses import MAX_LOGIT_SCALE, Contrastive, InfoNCE, Margin, Mixture, SigLIP
from picdesk.training.schedules import constant, cosine
from picdesk.trec.runs import Qrels
from tests.embedding.fakes import Tiny
from tests.training import pixels
from tests.training.families import ADAPTATIONS, FAMILIES, HEADLESS, HEAVY, PICTURES

STEEP, BIAS = 4.72, -16.6  # the scale of a published SigLIP lies above ln 100


MANY_LOSSES = ("fake", "siglip2")
LOSSES: dict[str, Callable[[], Contrastive]] = {
    "margin": Margin,
    "hardest": lambda: Margin(reduction="sum_to_hardest"),
    "infonce": InfoNCE,
    "siglip": SigLIP,
    "mixture": lambda: Mixture([InfoNCE(), Margin()], [1.0, 0.1]),
    "sigmoid mixture": lambda: Mixture([SigLIP(), InfoNCE()], [1.0, 0.1]),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the same trunks, which are encoded once."""
    return tmp_path_factory.mktemp("store")


@cache
def family(name: str) -> dict[str, Any]:
    """One model of the family, and whether it has a bias of its own."""
    backbone = FAMILIES[name]().eval()
    return {"backbone": backbone, "biased": backbone.logit_bias is not None}


def fresh_backbone(name: str, steep: bool) -> TwoTower:
    """The model as it was made; `steep`: with a scale above CLIP's bound."""
    backbone: TwoTower = family(name)["backbone"]
    backbone.logit_bias = None
    if family(name)["biased"]:
        backbone.set_bias(BIAS)
    backbone.logit_scale.data.fill_(STEEP if steep else 3.1)
    return backbone


def copies(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def unequal_names(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of what is not equal, to the bit."""
    return [name for name, value in one.items() if name not in other or not torch.equal(value, other[name])]


class Watch(pl.Callback):
    """Takes down all weights when the fit begins, and what has moved after each step and in each validation."""

    def __init__(self) -> None:
        self.start: dict[str, torch.Tensor] = {}
        self.moved: list[str] = []
        self.first = math.nan

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = copies(pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        if math.isnan(self.first):
            self.first = float(outputs["loss"])
        self.moved += unequal_names(self.start, copies(pl_module))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.start:
            self.moved += unequal_names(self.start, copies(pl_module))


def in_memory(backbone: TwoTower, count: int = 8, batch: int = 4) -> FeatureData:
    """Random trunk features, one text a picture."""
    rng = np.random.default_rng(0)
    names, texts = tuple(f"p{i}" for i in range(count)), tuple(f"t{i}" for i in range(count))
    image, text = (rng.standard_normal((count, backbone.trunk_dim(m))).astype(np.float32) for m in ("image", "text"))  # type: ignore[arg-type]
    every = np.arange(count)
    t2i, i2t = Qrels.from_pairs(texts, names, every, every), Qrels.from_pairs(names, texts, every, every)
    part = Features(names, texts, image, text, every, t2i, i2t)
    return FeatureData(part, part, batch, 0)


def still_fit(
    backbone: TwoTower, loss: nn.Module, schedule: Any = constant, lr: float = 0.0, batch: int = 4, epochs: int = 2
) -> tuple[Fitted, Watch]:
    watch = Watch()
    optimizer = partial(torch.optim.AdamW, lr=lr, weight_decay=0.1)
    callbacks = [Ema(), Collapse(), watch]
    trained = Heads().prepare(backbone)
    made = partial(pixels.make_trainer, epochs)
    return fit(
        backbone, trained, loss, optimizer, schedule, in_memory(backbone, batch=batch), made, callbacks, 0
    ), watch


def assert_still(backbone: TwoTower, loss: nn.Module, watch: Watch, before: dict[str, torch.Tensor]) -> None:
    assert watch.start
    assert watch.moved == []
    assert unequal_names(before, copies(backbone)) == []
    biases = [value.item() for name, value in loss.named_parameters() if name.endswith("bias")]
    wanted = before["logit_bias"].item() if "logit_bias" in before else -10.0
    assert biases == [wanted] * len(biases)


def crossed_cases() -> list[Any]:
    """Every family that has heads with every loss; fast are every small family with one loss, and two families with all."""
    fast = [
        (name, loss)
        for name in FAMILIES
        for loss in LOSSES
        if (loss == "siglip" and name not in HEAVY) or name in MANY_LOSSES
    ]
    marks = {True: (), False: pytest.mark.slow}
    return [
        pytest.param(n, loss, marks=marks[(n, loss) in fast]) for n in FAMILIES if n not in HEADLESS for loss in LOSSES
    ]


@pytest.mark.parametrize(("name", "loss_name"), crossed_cases())
def test_steps_at_rate_zero_change_nothing(name: str, loss_name: str) -> None:
    backbone, loss = fresh_backbone(name, steep=True), LOSSES[loss_name]()
    before = copies(backbone)
    alone = loss_name == "siglip" and name not in MANY_LOSSES  # the fast case of its family; slow ones fit for longer
    _, watch = still_fit(backbone, loss, cosine if loss_name == "siglip" else constant, epochs=1 if alone else 2)
    assert_still(backbone, loss, watch, before)
    assert unequal_names(watch.start, {f"backbone.{n}": v for n, v in before.items()} | loss_of(watch)) == []


def loss_of(watch: Watch) -> dict[str, torch.Tensor]:
    """What the fit began with of the loss, and of a bias that the model had not."""
    return {name: v for name, v in watch.start.items() if name.startswith("loss.") or name == "backbone.logit_bias"}


REFUSED = {
    ("fake", "last_blocks"),
    ("open_clip mt5", "bitfit"),
    *(("own_code", kind) for kind in ("last_blocks", "lora", "bitfit")),
}
"""What a family has nothing for: no chain of blocks, no biases, no matrices in one of its trunks."""


def adapted_cases() -> list[Any]:
    """Every family that reads pictures with every adaptation of its trunks; fast with two models of two libraries."""
    slow = pytest.mark.slow
    pairs = [(name, kind) for name in PICTURES for kind in ADAPTATIONS]
    return [pytest.param(*pair, marks=() if pair[0] in ("open_clip", "siglip2") else slow) for pair in pairs]


@pytest.mark.parametrize(("name", "kind"), adapted_cases())
def test_trunks_that_learn_at_rate_zero_stay_too(name: str, kind: str, store: Path) -> None:
    backbone, adaptation = copy.deepcopy(fresh_backbone(name, steep=True)), ADAPTATIONS[kind]
    if (name, kind) in REFUSED:
        with pytest.raises(ConfigError, match=rf"adaptation(={kind}: |\.n=)"):
            adaptation.check(backbone)
        return
    before = copies(backbone)
    loss, watch = SigLIP(), Watch()
    pixels.run(backbone, adaptation, store, lr=0.0, epochs=1, loss=loss, callbacks=[Ema(), watch])
    assert_still(backbone, loss, watch, before)


@pytest.mark.slow
@pytest.mark.parametrize("loss_name", [name for name in LOSSES if name != "siglip"])
@pytest.mark.parametrize("name", [name for name in PICTURES if name not in HEAVY])
def test_whole_models_of_every_family_stay_at_rate_zero(name: str, loss_name: str, store: Path) -> None:
    backbone, loss, watch = copy.deepcopy(fresh_backbone(name, steep=True)), LOSSES[loss_name](), Watch()
    before = copies(backbone)
    pixels.run(backbone, Full(), store, lr=0.0, epochs=1, loss=loss, callbacks=[Ema(), watch])
    assert_still(backbone, loss, watch, before)


def test_the_first_loss_of_a_sigmoid_model_is_its_own() -> None:
    backbone = fresh_backbone("siglip2", steep=True)
    data = in_memory(backbone)
    _, watch = still_fit(backbone, SigLIP(), batch=8)
    u = backbone.embed("image", torch.from_numpy(data.train.images))
    v = backbone.embed("text", torch.from_numpy(data.train.texts))
    logits = math.exp(STEEP) * u @ v.T + BIAS
    signs = 2 * torch.eye(len(logits)) - 1
    wanted = -torch.nn.functional.logsigmoid(signs * logits).sum() / len(logits)
    assert watch.first == pytest.approx(float(wanted.detach()), rel=1e-4)


def test_the_ceiling_is_never_below_the_start() -> None:
    backbone = Tiny()
    for scale, ceiling in ((2.0, MAX_LOGIT_SCALE), (STEEP, STEEP)):
        backbone.logit_scale.data.fill_(scale)
        loss = InfoNCE()
        loss.begin(backbone)
        assert loss.ceiling == pytest.approx(ceiling)
        both = Mixture([SigLIP(), InfoNCE()], [1.0, 1.0])
        both.begin(backbone)
        assert both.ceiling == pytest.approx(ceiling)
        sigmoid = SigLIP()
        sigmoid.begin(backbone)
        assert sigmoid.ceiling == math.inf, "no clamp"


def test_a_bias_that_is_asked_for_is_taken_instead() -> None:
    backbone, loss = Tiny(), SigLIP(bias=-3.0)
    backbone.set_bias(-12.0)
    loss.begin(backbone)
    assert loss.bias is backbone.logit_bias
    assert loss.bias.item() == -3.0


def test_other_losses_leave_the_bias_alone() -> None:
    backbone = Tiny()
    backbone.set_bias(-12.0)
    still_fit(backbone, InfoNCE(), lr=0.1)
    assert backbone.logit_bias is not None
    assert backbone.logit_bias.item() == -12.0


@pytest.mark.parametrize("own", [None, -12.0])
def test_the_trained_scale_and_bias_are_kept_with_the_checkpoint(own: float | None, tmp_path: Path) -> None:
    backbone = Tiny()
    if own is not None:
        backbone.set_bias(own)
    fitted, _ = still_fit(backbone, SigLIP(), lr=0.05)
    if fitted.path.alpha == 0:
        pytest.fail("the fit must have moved for this test")
    assert backbone.logit_bias is not None
    assert backbone.logit_bias.item() != (own or -10.0)
    save(tmp_path, backbone, dict(fitted.path.weights), OmegaConf.to_yaml(OmegaConf.create({"backbone": {}})))
    again = Tiny()
    load(find(str(tmp_path), tmp_path), again)
    assert again.logit_bias is not None
    assert again.logit_bias.item() == backbone.logit_bias.item()
    assert again.logit_scale.item() == backbone.logit_scale.item()
    loss = SigLIP()
    loss.begin(again)
    assert loss.bias.item() == backbone.logit_bias.item(), "further training goes on from there"
