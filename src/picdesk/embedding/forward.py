"""The forward pass of one trunk on one device: precision, memory layout, and what to do when memory runs out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.embedding.converted import Converted
from picdesk.embedding.folded import fold_norms
from picdesk.embedding.in_place import as_before, work_in_place
from picdesk.errors import ConfigError, first_line
from picdesk.process.float32 import true_float32
from picdesk.process.machine import no_memory

log = logging.getLogger(__name__)
Inputs = dict[str, torch.Tensor]
FEW_TOKENS = 12
"""Tokens up to which texts go through a trunk on one thread: several threads cut products of so few rows along the sum (MKL on an
AMD EPYC: 5, 6, 7, 9, 10 and 11 rows), and a short text alone had other last bits than the same text among others."""


@runtime_checkable
class OnHost(Protocol):
    """A trunk whose inputs stay in main memory where `on_host` is True: it reads pictures itself."""

    on_host: bool


@runtime_checkable
class Packs(Protocol):
    """A text trunk that, where `packs` is True, takes texts one after the other, without padding: the same features in fewer and
    larger products."""

    packs: bool

    def packed(self, input_ids: torch.Tensor, groups: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Ids [tokens] of `groups` of so many texts of so many tokens each, to [n, trunk_dim]."""


@dataclass
class Forward:
    """Runs batches through `trunk`, in parts of at most `most` items; `most` is halved when memory runs out.

    `normalise` turns uint8 pixels into the trunk's input, on the device.
    """

    trunk: nn.Module
    device: str
    dtype: torch.dtype
    normalise: Callable[[torch.Tensor], torch.Tensor]
    most: int
    layout: torch.memory_format = field(default=torch.contiguous_format)

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """Features [n, trunk_dim] float32 of one batch. Raises `ConfigError` if not even one item fits into memory."""
        count = len(next(iter(inputs.values())))
        done: list[NDArray[np.float32]] = []
        at = 0
        while at < count:
            most = self.most  # another pass may halve it meanwhile
            part = {name: tensor[at : at + most] for name, tensor in inputs.items()}
            try:
                with true_float32():
                    done.append(self._run(part))
            except (RuntimeError, MemoryError) as error:
                self._halve(min(most, count - at), error)
            else:
                at += most
                continue
            self._free_cache()  # here, as the error holds on to the activations of the pass that failed
        return np.concatenate(done)

    @property
    def packs(self) -> bool:
        """Whether texts can go through one after the other."""
        return isinstance(self.trunk, Packs) and self.trunk.packs

    def packed(self, input_ids: torch.Tensor, groups: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """Features [n, trunk_dim] float32 of texts one after the other: `groups` of so many texts of so many tokens each.

        On one thread: many rows at once need no second one, which waits at each layer and is of more use elsewhere.
        """
        assert isinstance(self.trunk, Packs)
        with use_threads(1), true_float32():
            features = self.trunk.packed(input_ids.to(self.device), groups)
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result

    def _run(self, inputs: Inputs) -> NDArray[np.float32]:
        stays = isinstance(self.trunk, OnHost) and self.trunk.on_host
        on_device = inputs if stays else {name: tensor.to(self.device) for name, tensor in inputs.items()}
        if "pixels" in on_device:
            pixels = self.normalise(on_device["pixels"])
            features = self.trunk(pixels.to(self.dtype, memory_format=self.layout))
        else:
            few = next(iter(inputs.values())).numel() <= FEW_TOKENS
            with use_threads(1 if few else torch.get_num_threads()):
                features = self.trunk(**{name: self._cast(tensor) for name, tensor in on_device.items()})
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result

    def _cast(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def _halve(self, tried: int, error: RuntimeError | MemoryError) -> None:
        if not no_memory(error):
            raise error
        if tried <= 1:
            raise ConfigError(f"encode.device={self.device}: not even one item fits into its memory") from None
        self.most = min(self.most, (tried + 1) // 2)
        log.warning(
            "encode.batch_size: out of memory with %d items at once; going on with %d (set encode.batch_size=%d)",
            tried,
            self.most,
            self.most,
        )

    def _free_cache(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """So many threads for torch's operators in this thread of Python while it lasts."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def claim_threads() -> None:
    """Let torch give this thread of Python its threads now: one that first computes while another does so on one thread has no
    more than one for good."""
    torch.get_num_threads()


def check_device(device: str) -> None:
    """Raise `ConfigError` for a device that torch does not know, or that this machine does not have."""
    try:
        chosen = torch.device(device)
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("no NVIDIA driver or no GPU was found here")
        if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
            raise RuntimeError(f"there are {torch.cuda.device_count()} GPUs here, counted from 0")
        if chosen.type not in ("cpu", "cuda"):
            torch.zeros(1, device=chosen).cpu()
    except Exception as error:  # torch asserts, raises RuntimeError, NotImplementedError or ImportError, by device
        why = first_line(error).split(" See https")[0]
        raise ConfigError(
            f"encode.device={device}: {why}; take cpu, or cuda (cuda:0, ...) where there is a GPU"
        ) from None


def prepare_trunk(
    trunk: nn.Module, device: str, precision: str, fused: bool = False, engine: str = "torch", folded: bool = False
) -> tuple[nn.Module, torch.memory_format]:
    """The trunk, or a copy in bf16, with its branches fused, with its norms `folded` (see there), or for another engine, on its
    device and in its layout, for good."""
    if engine == "openvino":
        return Converted(fuse_branches(trunk) if fused else trunk, precision), torch.contiguous_format
    ready = fuse_branches(trunk) if fused else trunk
    ready = fold_norms(ready) if folded else ready
    ready = copy.deepcopy(trunk) if ready is trunk and precision == "bf16" else ready
    ready = ready.to(device, torch.bfloat16 if precision == "bf16" else torch.float32).eval()
    convolutions = sum(isinstance(module, nn.Conv2d) for module in ready.modules())
    layout = torch.channels_last if convolutions > 1 else torch.contiguous_format
    if layout is torch.channels_last:
        ready.to(memory_format=layout)
    return ready, layout


def fuse_branches(trunk: nn.Module) -> nn.Module:
    """A copy whose blocks of several branches are the one convolution that these sum up to, batch norms folded in, by timm.

    In evaluation mode the same function but for last digits, in less time: `bench/engines.py`.
    """
    from timm.utils.model import reparameterize_model

    with torch.no_grad():
        fused: nn.Module = reparameterize_model(copy.deepcopy(trunk).eval().float(), inplace=True)
    return fused.requires_grad_(False)


@contextmanager
def working(
    trunk: nn.Module, device: str, precision: str, fused: bool = False, engine: str = "torch", folded: bool = False
) -> Iterator[tuple[nn.Module, torch.memory_format]]:
    """The trunk ready to encode, and the layout its pixels should have; afterwards the caller's trunk is bit for bit as before.

    bf16 casts a copy: casting the trunk itself and back would round its weights for good; fused or folded it is a copy, too.
    Trunks made of convolutions work on channels last (EfficientNet-Lite0 on one core: 15.5 ms a picture instead of 20.4, at any
    batch size from 2 up); for the single patch convolution of a transformer the layout makes no difference.
    """
    training = trunk.training
    home = next((parameter.device for parameter in trunk.parameters()), torch.device("cpu"))
    ready, layout = prepare_trunk(trunk, device, precision, fused, engine, folded)
    in_place = work_in_place(ready) if device == "cpu" else []
    try:
        with torch.inference_mode():
            yield ready, layout
    finally:
        as_before(in_place)
        if ready is trunk:
            trunk.to(home).train(training)
            if layout is torch.channels_last:
                trunk.to(memory_format=torch.contiguous_format)
