"""Questions to a training that is under way: what the loss looks at, what a step did, how far the embeddings lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import nn

from picdesk.errors import ConfigError
from picdesk.training.averaging import trained_of
from picdesk.training.losses import Contrastive, further_inputs

SAMPLED = 4096  # weights of each matrix that are looked at
CPU = torch.device("cpu")
ROWS = 256  # embeddings whose spread and rank are measured, evenly taken: their number bounds the time


class Validated(Protocol):
    """What a training keeps of its last validation, to be looked at: (pictures, texts) [n, dim], or nothing yet."""

    validated: tuple[torch.Tensor, ...]


def loss_of(outputs: Any) -> float | None:
    """The loss of a step as Lightning hands it on; None where it does not."""
    value = outputs.get("loss") if isinstance(outputs, dict) else outputs
    return float(value) if isinstance(value, torch.Tensor) else None


def sample_of(module: pl.LightningModule) -> dict[str, torch.Tensor]:
    """A copy of some weights of each trained matrix."""
    return {
        name: value.detach().flatten()[:SAMPLED].clone() for name, value in trained_of(module).items() if value.ndim > 1
    }


def change(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """Length of the difference over the length of what was there before."""
    moved = sum(float((after[name] - value).square().sum()) for name, value in before.items())
    size = sum(float(value.square().sum()) for value in before.values())
    return float((moved / max(size, 1e-30)) ** 0.5)


def all_finite(module: pl.LightningModule) -> bool:
    """Whether every trained weight is a number."""
    return all(bool(torch.isfinite(value).all()) for value in trained_of(module).values())


def learning_rate(trainer: pl.Trainer) -> float:
    """The optimizer's own rate, before the schedule."""
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    return max(float(group.get("initial_lr", group["lr"])) for group in groups)


def scale_of(module: Any) -> float:
    """The backbone's logit_scale."""
    return float(module.backbone.logit_scale.item())


def dim_of(module: Any) -> int:
    """How many numbers the backbone's embeddings have."""
    return int(module.backbone.dim)


def example(seed: int = 0, dim: int = 16) -> torch.Tensor:
    """Eight embeddings [8, dim] of length 1; two that follow each other are the same, as of one picture."""
    generator = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(4, dim, generator=generator), dim=-1).repeat_interleave(2, 0)


def value_of(
    loss: Any,
    images: torch.Tensor,
    texts: torch.Tensor,
    picture: torch.Tensor,
    scale: float,
    device: torch.device,
    further: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> float:
    """The loss as a number, without gradients, worked out where training runs: other processes' rows may come into it."""
    with torch.no_grad():
        rows = (images.to(device), texts.to(device), picture.to(device))
        more = {name: value.to(device) for name, value in further.items()}
        return float(loss(*rows, torch.tensor(scale, device=device), **more))


def name_of(loss: Any) -> str:
    """A loss by its key and its class."""
    return f"loss={type(loss).__module__}.{type(loss).__qualname__}"


def check_result(loss: Any, given: Any) -> None:
    """Raise `ConfigError` where what a loss gave back cannot be trained on."""
    if not isinstance(given, torch.Tensor):
        told = f"forward gives {type(given).__name__}"
    elif given.numel() != 1:
        told = f"forward gives a tensor of shape {tuple(given.shape)}"
    elif not given.requires_grad:
        told = "forward gives a constant"
    else:
        return
    raise ConfigError(f"{name_of(loss)}: {told}; one number that depends on the embeddings is wanted")


def depends_on_scale(loss: Any, device: torch.device = CPU, dim: int = 16) -> bool:
    """Whether the temperature plays a part in the loss, which may want embeddings of `dim` numbers."""
    rows = example(dim=dim)
    low, high = (value_of(loss, rows, rows, torch.arange(8), scale, device) for scale in (0.0, 1.0))
    return low != high


def masks_same_picture(loss: Any, device: torch.device = CPU, dim: int = 16) -> bool:
    """Whether it makes a difference to the loss that two rows are of one picture."""
    apart, together = torch.arange(8), torch.arange(8) // 2
    rows = example(dim=dim)
    one, other = (value_of(loss, rows, rows, picture, 0.0, device) for picture in (apart, together))
    return one != other


def collapsed_loss(module: pl.LightningModule, batch: Any) -> float:
    """The loss that the batch would have if all its embeddings were the same."""
    picture, text = batch[2], batch[3]
    same = nn.functional.one_hot(torch.zeros(len(picture), dtype=torch.long), dim_of(module)).float()
    loss: Any = module.loss
    return value_of(loss, same, same, picture, scale_of(module), module.device, further_inputs(loss, text))


def remedy_of(loss: Any) -> str:
    """What to do about a loss that is stuck, or embeddings that collapse."""
    own = [part.remedy() for part in loss.modules() if isinstance(part, Contrastive)]
    return next((told for told in own if told), "lower optimizer.lr, and see that the temperature can move")


def repeats_picture(batch: Any) -> bool:
    """Whether a picture stands in the batch more than once."""
    return len(batch[2].unique()) < len(batch[2])


def looks(batch: Any) -> list[tuple[bytes, int]]:
    """Of each row of a batch, some of its picture's values, the same for equal pictures, and the picture's number."""
    images, picture = batch[0], batch[2]
    if not isinstance(images, torch.Tensor) or len(images) != len(picture):
        return []
    rows = images.detach().flatten(1)
    some = rows[:, :: max(1, rows.shape[1] // 64)].cpu().contiguous()
    return [(row.numpy().tobytes(), int(number)) for row, number in zip(some, picture.tolist(), strict=True)]


def validation_embeddings(module: Validated) -> dict[str, torch.Tensor]:
    """The embeddings of the last validation, by kind; none before the first."""
    return dict(zip(("picture", "text"), module.validated, strict=True)) if module.validated else {}


def spread_and_rank(vectors: torch.Tensor) -> tuple[float, float]:
    """Of embeddings [n, dim] of length 1: 1 less the mean cosine of any two, and the number of dimensions they fill.

    The latter is the effective rank of Roy and Vetterli 2007: exp of the entropy of the singular values' shares.
    """
    some = vectors[:: -(-len(vectors) // ROWS)].double()
    centred = some - some.mean(0)
    spread = float(centred.square().sum(1).mean())
    products = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(products).clamp(min=0).sqrt()
    shares = values / values.sum().clamp(min=1e-30)
    return spread, float(torch.exp(-(shares * shares.clamp(min=1e-30).log()).sum()))
