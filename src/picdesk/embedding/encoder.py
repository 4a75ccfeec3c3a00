"""The encode loop: what the store lacks goes through the trunk once, in batches, and is written shard by shard."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from picdesk.embedding.memory import keep_freed_memory
from picdesk.embedding.progress import progress
from picdesk.embedding.store import Space, Store, content_key
from picdesk.errors import ConfigError
from picdesk.interfaces import Backbone, Modality, PictureBytes

log = logging.getLogger(__name__)
PRECISIONS = ("fp32", "bf16", "auto")
Batch = tuple[list[int], dict[str, torch.Tensor]]


@dataclass
class Counts:
    """How many items went through a trunk in this job, and how many came from the store."""

    encoded: dict[str, int] = field(default_factory=lambda: {"image": 0, "text": 0})
    reused: dict[str, int] = field(default_factory=lambda: {"image": 0, "text": 0})


@dataclass
class Encoder:
    """Turns pictures and texts into trunk features, through the store.

    `precision` fp32, bf16 (bf16 weights, float32 features) or auto: bf16 on a GPU and on CPUs with matrix units for it.
    `shard` items are written at a time: at most that many are encoded again after a kill.
    """

    store: Store
    batch_size: int = 32
    workers: int = 2
    precision: str = "fp32"
    device: str = "cpu"
    shard: int = 1024
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"encode.precision={self.precision}: choose one of {', '.join(PRECISIONS)}")
        if self.precision == "auto":
            self.precision = "bf16" if has_bf16_units(self.device) else "fp32"
        if self.batch_size < 1 or self.workers < 1:
            raise ConfigError(
                f"encode.batch_size={self.batch_size}, encode.workers={self.workers}: both must be at least 1"
            )

    def pictures(
        self, backbone: Backbone, pictures: PictureBytes, decode: Callable[[bytes], Image.Image]
    ) -> NDArray[np.float32]:
        """Trunk features [n, trunk_dim] of all pictures, in their order; each distinct content is encoded once."""
        with ThreadPoolExecutor(self.workers) as pool:
            keys = list(pool.map(lambda i: content_key(pictures.read(i)), range(len(pictures))))

            def pixels_of(i: int) -> NDArray[np.uint8]:
                return backbone.picture_to_pixels(decode(pictures.read(i)))

            def batches(rows: list[int]) -> Iterator[Batch]:
                for part, arrays in ahead(pool, pixels_of, self._cut(rows)):
                    yield part, {"pixels": torch.from_numpy(np.stack(arrays))}

            return self._encode(backbone, "image", keys, batches)

    def texts(self, backbone: Backbone, texts: Sequence[str]) -> NDArray[np.float32]:
        """Trunk features [n, trunk_dim] of all texts, in their order; repeated texts are encoded once, by length."""
        keys = [content_key(text) for text in texts]

        def batches(rows: list[int]) -> Iterator[Batch]:
            for part in self._cut(sorted(rows, key=lambda i: (len(texts[i]), i))):
                yield part, backbone.tokenize([texts[i] for i in part])

        return self._encode(backbone, "text", keys, batches)

    def _cut(self, rows: list[int]) -> list[list[int]]:
        return [rows[at : at + self.batch_size] for at in range(0, len(rows), self.batch_size)]

    def _encode(
        self,
        backbone: Backbone,
        modality: Modality,
        keys: list[bytes],
        batches: Callable[[list[int]], Iterator[Batch]],
    ) -> NDArray[np.float32]:
        width = backbone.trunk_dim(modality)
        space = self.store.space(modality, backbone.trunk_fingerprint(modality), self.precision, width)
        missing = space.missing(keys)
        self.counts.encoded[modality] += len(missing)
        self.counts.reused[modality] += len(set(keys)) - len(missing)
        if missing:
            start = time.perf_counter()
            self._fill(backbone, modality, space, keys, batches(missing), len(missing))
            seconds = time.perf_counter() - start
            what = "pictures" if modality == "image" else "texts"
            log.info("encoded %d %s in %.1f s (%.0f/s)", len(missing), what, seconds, len(missing) / seconds)
        return space.get(keys)

    def _fill(
        self,
        backbone: Backbone,
        modality: Modality,
        space: Space,
        keys: list[bytes],
        batches: Iterator[Batch],
        total: int,
    ) -> None:
        keep_freed_memory()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        trunk = (backbone.image_trunk if modality == "image" else backbone.text_trunk).to(self.device, dtype).eval()
        rows: list[int] = []
        features: list[NDArray[np.float32]] = []
        try:
            with torch.inference_mode(), progress(f"encoding {modality}s", total) as advance:
                for part, inputs in batches:
                    rows += part
                    features.append(self._forward(backbone, trunk, inputs, dtype))
                    advance(len(part))
                    if len(rows) >= self.shard:
                        space.put([keys[i] for i in rows], np.concatenate(features))
                        rows, features = [], []
                if rows:
                    space.put([keys[i] for i in rows], np.concatenate(features))
        finally:
            trunk.to("cpu", torch.float32)

    def _forward(
        self, backbone: Backbone, trunk: torch.nn.Module, inputs: dict[str, torch.Tensor], dtype: torch.dtype
    ) -> NDArray[np.float32]:
        on_device = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        if "pixels" in on_device:
            pixels = backbone.normalise_pixels(on_device["pixels"]).to(dtype, memory_format=torch.channels_last)
            features = trunk(pixels)
        else:
            features = trunk(**on_device)
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[int], NDArray[np.uint8]], parts: list[list[int]], depth: int = 2
) -> Iterator[tuple[list[int], list[NDArray[np.uint8]]]]:
    """Run `work` over the items of each part in the pool, `depth` parts ahead of the consumer, in order."""
    waiting = [(part, [pool.submit(work, i) for i in part]) for part in parts[:depth]]
    for part in [*parts[depth:], *([None] * min(depth, len(parts)))]:
        done, futures = waiting.pop(0)
        if part is not None:
            waiting.append((part, [pool.submit(work, i) for i in part]))
        yield done, [future.result() for future in futures]


def has_bf16_units(device: str) -> bool:
    """Whether bf16 weights pay here: on a GPU, or on a CPU with AMX (autocast, by contrast, is slower than fp32 on CPUs)."""
    return device != "cpu" or bool(torch.cpu._is_amx_tile_supported())
