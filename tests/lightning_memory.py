"""Lightning looks for no tensors to move where all of them are on the CPU, and once at what is installed, in the tests' own
processes alone."""

from functools import cache
from typing import Any

import torch
from lightning_fabric.utilities import registry
from pytorch_lightning.trainer.connectors.logger_connector.result import _ResultMetric


def stay(metric: _ResultMetric, device: Any) -> _ResultMetric:
    """A value that is logged, on the device where it is: it is sought in all that Lightning notes about it otherwise."""
    if torch.device(device).type == "cpu" and all(value.device.type == "cpu" for value in tensors(metric)):
        return metric
    return AS_IT_COMES(metric, device)


def tensors(metric: _ResultMetric) -> list[torch.Tensor]:
    """What a metric adds up."""
    return [value for value in vars(metric).values() if isinstance(value, torch.Tensor)]


AS_IT_COMES: Any = _ResultMetric.to


def begin() -> None:
    """Put it in place."""
    _ResultMetric.to = stay  # type: ignore[method-assign]
    registry.entry_points = cache(
        registry.entry_points
    )  # each trainer reads the files of all packages for the callbacks in them
