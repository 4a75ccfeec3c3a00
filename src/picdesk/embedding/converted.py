"""`encode.engine=openvino`: a trunk converted for Intel's runtime for CPUs, which is an extra of its own.

A trunk is traced on the first batch that comes and compiled for any number of items and tokens. Tracing writes down what was done
to that batch, so a size that the code turns into a plain number would stay what it was: what comes out is compared with torch on
other sizes, before anything is believed. Source: OpenVINO (Apache-2.0), https://docs.openvino.ai.
"""

from __future__ import annotations

import copy
import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.embedding.in_place import as_before
from picdesk.errors import ConfigError, first_line

log = logging.getLogger(__name__)
ENGINES = ("torch", "openvino")
INSTALL = "pip install 'picdesk[openvino]'"
HINTS = {"fp32": "f32", "bf16": "bf16"}
NEAR = {"fp32": 0.9999, "bf16": 0.98}
"""The least cosine to torch in float32 at which a converted trunk is taken for the same: another size goes far below."""
LONGER = 5  # tokens by which texts are made longer to compare


def runtime() -> Any:
    """OpenVINO. Raises `ConfigError` where it is not installed.

    Its package reports each import to its makers by another one, which is kept out: without it, it reports nothing.
    """
    modules: dict[str, Any] = sys.modules
    if "openvino" not in modules:
        modules.setdefault("openvino_telemetry", None)
    try:
        return importlib.import_module("openvino")
    except ImportError:
        raise ConfigError(f"encode.engine=openvino needs a package that is not installed: {INSTALL}") from None


def check_engine(engine: str, device: str) -> None:
    """Raise `ConfigError` for an engine that is unknown, not installed, or not for this device."""
    if engine not in ENGINES:
        raise ConfigError(f"encode.engine={engine}: choose one of {', '.join(ENGINES)}")
    if engine == "openvino":
        runtime()
        if device != "cpu":
            raise ConfigError(f"encode.engine=openvino runs on CPUs, not on encode.device={device}; take engine=torch")


class Converted(nn.Module):
    """A trunk that OpenVINO runs in `precision` (fp32 or bf16), called as the trunk itself is; converted when it first runs.

    Raises `ConfigError` at the first call where the trunk cannot be converted, gives other features than torch does, or the CPU
    has no units for the precision. `trunk` is left as it is.
    """

    def __init__(self, trunk: nn.Module, precision: str) -> None:
        super().__init__()
        if getattr(trunk, "on_host", False):
            raise ConfigError("encode.engine=openvino: this backbone reads its inputs itself; take encode.engine=torch")
        self.precision, self._runtime = precision, runtime()
        self._trunk: list[nn.Module] = [copy.deepcopy(trunk).cpu().float().eval()]  # in a list: no child of this module
        as_before(self._trunk[0].modules())  # the converter does not know what works in place
        self._names: tuple[str, ...] = ()
        self._compiled: Any = None

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """What the trunk gives, [n, trunk_dim] float32."""
        tensors = [*inputs, *named.values()]
        if self._compiled is None:
            self._names = tuple(named)
            self._convert(tensors)
        return torch.from_numpy(self._run(tensors))

    def _run(self, tensors: list[torch.Tensor]) -> NDArray[np.float32]:
        found = self._compiled([tensor.numpy() for tensor in tensors])
        return np.array(found[0], np.float32)  # a copy: the runtime uses its memory again

    def _convert(self, tensors: list[torch.Tensor]) -> None:
        called = Called(self._trunk[0], self._names)
        try:
            self._compiled = self._compile(trace(called, tensors))
        except Exception as error:  # torch's tracer and the runtime raise whatever a layer leads to
            raise ConfigError(
                f"encode.engine=openvino: this trunk cannot be converted ({first_line(error, 120)}); take encode.engine=torch"
            ) from None
        self._check_precision()
        self._compare(called, tensors)
        self._trunk.clear()

    def _compile(self, traced: Any) -> Any:
        converted = self._runtime.convert_model(traced)
        return self._runtime.Core().compile_model(
            converted,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": HINTS[self.precision],
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            },
        )

    def _check_precision(self) -> None:
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        name = getattr(used, "get_type_name", lambda: str(used))()
        if name != HINTS[self.precision]:
            raise ConfigError(
                f"encode.precision={self.precision} with encode.engine=openvino: this CPU computes in {name}; "
                "take encode.precision=fp32"
            )

    def _compare(self, called: Called, tensors: list[torch.Tensor]) -> None:
        for inputs in other_sizes(tensors):
            try:
                own = called(*inputs).numpy()
            except (RuntimeError, IndexError, ValueError):  # longer than the tower reads
                continue
            near = least_cosine(self._run(inputs), own)
            if not near >= NEAR[self.precision]:
                raise ConfigError(
                    f"encode.engine=openvino gives other features than torch (cosine {near:.4f} for inputs of "
                    f"{', '.join(str(tuple(one.shape)) for one in inputs)}); take encode.engine=torch"
                )


class Called(nn.Module):
    """A trunk that takes its inputs by place, whatever their names: what a tracer wants."""

    def __init__(self, trunk: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.trunk, self.names = trunk, names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Features [n, trunk_dim] float32."""
        named = dict(zip(self.names, tensors, strict=True)) if self.names else {}
        features: torch.Tensor = self.trunk(**named) if named else self.trunk(*tensors)
        return features.float()


def trace(called: Called, tensors: list[torch.Tensor]) -> Any:
    """The trunk as TorchScript, of two or more items: one alone may be taken for a size that never changes."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its one large operation is known to torch alone
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            tracer: Any = torch.jit.trace
            return tracer(called, tuple(tile(one, 0, 2) for one in tensors), check_trace=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def other_sizes(tensors: list[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """The first two items; one; three; texts also longer, and shorter by half."""
    for count in (2, 1, 3):
        yield [tile(one, 0, count) for one in tensors]
    lengths = {one.shape[1] if one.ndim == 2 and not one.is_floating_point() else 0 for one in tensors}
    if len(lengths) == 1 and (length := lengths.pop()):
        for other in (length + LONGER, max(length // 2, 1)):
            yield [tile(tile(one, 0, 2), 1, other) for one in tensors]


def tile(tensor: torch.Tensor, dimension: int, size: int) -> torch.Tensor:
    """So many places of a dimension, those that there are over and over."""
    places = torch.arange(size) % tensor.shape[dimension]
    return tensor.index_select(dimension, places)


def least_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of two matrices [n, width], row by row; NaN where a row is no direction."""
    one, other = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(((one * other).sum(1) / lengths).min())
