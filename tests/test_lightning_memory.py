"""What is logged is moved where it has to be moved, and stays as it is where it is already there."""

import copy
from importlib import metadata
from typing import Any

import torch
from lightning_fabric.utilities import registry
from pytorch_lightning.trainer.connectors.logger_connector.result import _Metadata, _ResultMetric, _Sync

from tests import lightning_memory


def logged() -> Any:
    about = _Metadata(fx="on_validation_epoch_end", name="val/hits@1")
    about.sync = _Sync(_should=False)
    metric = _ResultMetric(about, is_tensor=True)
    metric.update(torch.tensor(0.25), batch_size=2)
    return metric


def test_a_value_on_the_cpu_is_what_lightning_makes_of_it() -> None:
    ours, theirs = logged(), logged()
    before = copy.copy(vars(ours))
    assert lightning_memory.stay(ours, torch.device("cpu")) is ours
    lightning_memory.AS_IT_COMES(theirs, "cpu")
    assert ours.compute() == theirs.compute() == 0.25
    assert vars(ours).keys() == vars(theirs).keys() == before.keys()


def test_callbacks_of_packages_are_those_that_are_installed() -> None:
    for group in ("pytorch_lightning.callbacks_factory", "console_scripts"):  # none of the first are installed here
        assert [*registry.entry_points(group=group)] == [*metadata.entry_points(group=group)]
        assert registry.entry_points(group=group) is registry.entry_points(group=group), "read once"


def test_another_device_is_gone_to() -> None:
    assert lightning_memory.stay(logged(), "meta").value.device.type == "meta"
