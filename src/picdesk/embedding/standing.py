"""The encode loop of a process that stays up: trunks stand ready, and what is asked is kept in memory, not on disk.

A job encodes many items once and writes them down. A server is asked one text at a time, for ever: claims, shards and their
files would cost more than the forward pass (a text on one core of a small machine: 38 ms instead of 10) and fill the disk with
questions. So features are looked up in memory, then in the store (which is only read), and else made here; a bounded number
of the latest stays in memory. Values are those of `Encoder`, to the byte: see `TOGETHER`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from picdesk.embedding.batches import Inputs, TextBatches, cut_rows
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import Forward, prepare_trunk
from picdesk.embedding.store import Space, content_key
from picdesk.interfaces import Backbone, Modality, PictureBytes

TOGETHER = 16
"""Texts that go through a trunk together: only such of one length in tokens. Then each has the features that it has alone, bit
for bit (MiniLM in float32, all lengths from 4 to 27 tokens by 2 to 16 texts). Padding changes last digits: softmax over 20
places adds up in another order than over 12."""
SHORTEST = 4
"""Texts of fewer tokens go alone: their matrix products are so small that another routine makes them."""
PROBES = ("a dog {}", "a man in a red shirt walks a dog along the harbour wall {}")
FEW = 8
"""Pictures that are encoded here at once: those that are asked, not the candidates of a reranker."""
AHEAD = 64
"""Pictures that are decoded and wait for their turn."""
LATEST = 20_000
"""Features that are kept, of all trunks together: at most 100 MB with 1,280 numbers each."""
Key = tuple[str, bytes]


@dataclass
class Standing(Encoder):
    """An encoder whose trunks stay ready; the backbone is its own from then on. Not for galleries: what is many goes through
    `Encoder`. Safe for threads."""

    latest: int = LATEST
    forwards: int = 0
    passed: int = 0
    _kept: OrderedDict[Key, NDArray[np.float32]] = field(default_factory=OrderedDict)
    _pixels: OrderedDict[bytes, NDArray[np.uint8]] = field(default_factory=OrderedDict)
    _spaces: dict[tuple[int, Modality], Space] = field(default_factory=dict)
    _ready: dict[tuple[int, Modality], Forward] = field(default_factory=dict)
    _agrees: dict[int, bool] = field(default_factory=dict)
    _turn: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def from_encoder(cls, encoder: Encoder, latest: int = LATEST) -> Standing:
        """One that encodes as `encoder` does."""
        own = {one.name: getattr(encoder, one.name) for one in fields(Encoder) if one.name not in ("counts", "unread")}
        return cls(**own, latest=latest)

    def texts(self, backbone: Backbone, texts: Sequence[str]) -> NDArray[np.float32]:
        """Trunk features [n, trunk_dim] of texts, in their order."""
        keys = [content_key(text) for text in texts]

        def make_batches(rows: list[int]) -> Iterator[tuple[list[int], Inputs]]:
            batches = TextBatches(backbone, texts, rows)
            yield from batches(parts_of(batches, TOGETHER if len(rows) > 1 and self.agrees(backbone) else 1))

        return self._look_up(backbone, "text", keys, make_batches)

    def prepare(self, backbone: Backbone, modality: Modality) -> None:
        """Load a trunk and make it ready, before anybody asks."""
        with self._turn:
            self._forward(backbone, modality)

    def agrees(self, backbone: Backbone) -> bool:
        """Whether this text tower gives a text the same bits alone and among others; tried once, with a few texts.

        One that ends in a projection of one vector a text mostly does not: a product with one row is made another way.
        """
        with self._turn:
            known = self._agrees.get(id(backbone))
            if known is None:
                known = self._agrees[id(backbone)] = all(
                    self._batches_change_nothing(backbone, probe) for probe in PROBES
                )
            return known

    def _batches_change_nothing(self, backbone: Backbone, probe: str) -> bool:
        texts = [probe.format(i) for i in range(1, 10)]
        inputs, forward = TextBatches(backbone, texts, list(range(len(texts)))), self._forward(backbone, "text")
        with torch.inference_mode():
            together = {
                part[i]: row for part, one in inputs(parts_of(inputs, TOGETHER)) for i, row in enumerate(forward(one))
            }
            alone = {part[0]: forward(one)[0] for part, one in inputs(parts_of(inputs, 1))}
        return all(np.array_equal(together[i], alone[i]) for i in alone)

    def pictures(
        self,
        backbone: Backbone,
        pictures: PictureBytes,
        decode: Callable[..., Image.Image],
        ids: Sequence[str] = (),
    ) -> NDArray[np.float32]:
        """Trunk features [n, trunk_dim] of a few pictures; of many (the candidates of a reranker) through the store, as in a job.

        Raises `DataError` for a picture that cannot be decoded.
        """
        if len(pictures) > FEW:
            with self._turn:
                return super().pictures(backbone, pictures, decode, ids)
        contents = [pictures.read(i) for i in range(len(pictures))]
        keys = [content_key(data) for data in contents]

        def make_batches(rows: list[int]) -> Iterator[tuple[list[int], Inputs]]:
            for i in rows:  # alone: convolutions have other last digits in another batch
                known = self._pixels.pop(keys[i], None)
                pixels = known if known is not None else self._decode(backbone, contents[i], decode)
                yield [i], backbone.picture_inputs([pixels])

        return self._look_up(backbone, "image", keys, make_batches)

    def look_at(self, backbone: Backbone, data: bytes, decode: Callable[..., Image.Image]) -> None:
        """Decode a picture that will be encoded next, in the caller's thread. Raises `DataError` where that cannot be done."""
        key = content_key(data)
        if self._is_kept(backbone, "image", key):
            return
        pixels = self._decode(backbone, data, decode)
        with self._turn:
            self._pixels[key] = pixels
            while len(self._pixels) > AHEAD:  # who asked may be gone, or have its answer already
                self._pixels.popitem(last=False)

    def _decode(self, backbone: Backbone, data: bytes, decode: Callable[..., Image.Image]) -> NDArray[np.uint8]:
        options = {"shortest": backbone.shortest_side} if self.fast_decode else {}
        options |= {"max_pixels": self.max_pixels} if self.max_pixels else {}
        return backbone.picture_to_pixels(decode(data, **options))

    def _is_kept(self, backbone: Backbone, modality: Modality, key: bytes) -> bool:
        with self._turn:
            space = self._space_of(backbone, modality)
            return (space.fingerprint, key) in self._kept or key in space

    def _look_up(
        self,
        backbone: Backbone,
        modality: Modality,
        keys: list[bytes],
        made: Callable[[list[int]], Iterator[tuple[list[int], Inputs]]],
    ) -> NDArray[np.float32]:
        with self._turn:
            space = self._space_of(backbone, modality)
            first: dict[bytes, int] = {}
            for i, key in enumerate(keys):
                if (space.fingerprint, key) not in self._kept and key not in space:
                    first.setdefault(key, i)
            fresh = self._make_features(backbone, modality, keys, made(list(first.values()))) if first else {}
            found = np.empty((len(keys), space.width), np.float32)
            for i, key in enumerate(keys):
                found[i] = fresh[key] if key in fresh else self._known_features(space, key)
            self._keep(space.fingerprint, fresh)
            return found

    def _known_features(self, space: Space, key: bytes) -> NDArray[np.float32]:
        name = (space.fingerprint, key)
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        return np.asarray(space.get([key])[0])

    def _make_features(
        self, backbone: Backbone, modality: Modality, keys: list[bytes], batches: Iterator[tuple[list[int], Inputs]]
    ) -> dict[bytes, NDArray[np.float32]]:
        """Features of a few items, rounded as the store would have rounded them."""
        forward = self._forward(backbone, modality)
        fresh: dict[bytes, NDArray[np.float32]] = {}
        for rows, inputs in batches:
            with torch.inference_mode():
                features = forward(inputs).astype(self.storage).astype(np.float32)
            self.forwards, self.passed = self.forwards + 1, self.passed + len(rows)
            fresh |= {keys[i]: row for i, row in zip(rows, features, strict=True)}
        return fresh

    def _keep(self, fingerprint: str, fresh: dict[bytes, NDArray[np.float32]]) -> None:
        for key, row in fresh.items():
            self._kept[fingerprint, key] = row
        while len(self._kept) > self.latest:
            self._kept.popitem(last=False)

    def _space_of(self, backbone: Backbone, modality: Modality) -> Space:
        place = (id(backbone), modality)
        if place not in self._spaces:
            decoding = "draft" if modality == "image" and self.fast_decode else "full"
            self._spaces[place] = self._space(backbone, modality, decoding)
        return self._spaces[place]

    def _forward(self, backbone: Backbone, modality: Modality) -> Forward:
        """The trunk of a backbone, made ready once."""
        place = (id(backbone), modality)
        if place not in self._ready:
            trunk: Any = backbone.image_trunk if modality == "image" else backbone.text_trunk
            fused = modality in backbone.fused_towers
            ready, layout = prepare_trunk(trunk, self.device, self.precision, fused, self.engine)
            self._ready[place] = Forward(
                ready, self.device, self.input_type, backbone.normalise_pixels, self._batch(modality), layout
            )
        return self._ready[place]


def parts_of(batches: TextBatches, most: int) -> Iterator[list[int]]:
    """Rows of one token length each, at most `most`; those of very few tokens alone."""
    for length, rows in groupby(batches.order, batches.length):  # `order` is by length
        yield from cut_rows(list(rows), most if length >= SHORTEST else 1)
