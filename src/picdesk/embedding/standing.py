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
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from picdesk.embedding.batches import Inputs, TextBatches, cut_rows
from picdesk.embedding.encoder import Encoder
from picdesk.embedding.forward import Forward, prepare_trunk, use_threads
from picdesk.embedding.in_place import work_in_place
from picdesk.embedding.store import Space, content_key
from picdesk.interfaces import Backbone, Modality, PictureBytes

TOGETHER = 16
"""Texts that go through a trunk together: only such of one length in tokens. Then each has the features that it has alone, bit
for bit (MiniLM in float32, all lengths from 4 to 27 tokens by 2 to 16 texts). Padding changes last digits: softmax over 20
places adds up in another order than over 12."""
PACKED = 64
"""Texts of any lengths that go through a trunk together where it takes them one after the other, without padding."""
SHORTEST = 4
"""Texts of fewer tokens go alone: their matrix products are so small that another routine makes them."""
PROBES = ("a dog {}", "a man in a red shirt walks a dog along the harbour wall {}")
FEW = 8
"""Pictures that are encoded here at once: those that are asked, not the candidates of a reranker."""
AHEAD = 64
"""Pictures that are decoded and wait for their turn."""
LATEST = 20_000
"""Features that are kept, of all trunks together: at most 100 MB with 1,280 numbers each."""
Place = tuple[str, Modality]
"""A trunk, by its fingerprint: a backbone with prompts that differ is another object each time that it faces a direction."""
Key = tuple[str, bytes]
Encoded = tuple[list[int], NDArray[np.float32]]
"""Rows, and the features of each."""


@dataclass
class Standing(Encoder):
    """An encoder whose trunks stay ready; the backbone is its own from then on. Not for galleries: what is many goes through
    `Encoder`. Safe for threads of Python; `threads` are those of torch that a pass may have.

    `tokenizing` is held for tokenizers, which keep their last settings: by whoever else uses those of a backbone as well.
    """

    latest: int = LATEST
    threads: int = field(default_factory=torch.get_num_threads)
    tokenizing: threading.RLock = field(default_factory=threading.RLock)
    forwards: int = 0
    passed: int = 0
    _passes: int = 0
    _kept: OrderedDict[Key, NDArray[np.float32]] = field(default_factory=OrderedDict)
    _pixels: OrderedDict[Key, NDArray[np.uint8]] = field(default_factory=OrderedDict)
    _spaces: dict[Place, Space] = field(default_factory=dict)
    _ready: dict[Place, Forward] = field(default_factory=dict)
    _agrees: dict[Place, bool] = field(default_factory=dict)
    _turn: threading.RLock = field(default_factory=threading.RLock)  # for whoever wants all threads
    _memory: threading.RLock = field(default_factory=threading.RLock)  # for what is kept; held for no forward pass

    @classmethod
    def from_encoder(cls, encoder: Encoder, latest: int = LATEST) -> Standing:
        """One that encodes as `encoder` does."""
        own = {one.name: getattr(encoder, one.name) for one in fields(Encoder) if one.name not in ("counts", "unread")}
        made = cls(**own, latest=latest)
        made.computing = encoder.computing  # which knows what was said
        return made

    def texts(self, backbone: Backbone, texts: Sequence[str]) -> NDArray[np.float32]:
        """Trunk features [n, trunk_dim] of texts, in their order."""
        keys = [content_key(text) for text in texts]

        def encode(rows: list[int]) -> Iterator[Encoded]:
            together = (len(rows) > 1 or self._passes > 0) and self.agrees(backbone)
            with self.tokenizing:
                batches = TextBatches(backbone, texts, rows)
            return self._encode_texts(batches, self._forward(backbone, "text"), together)

        return self._look_up(backbone, "text", keys, encode)

    def _encode_texts(self, batches: TextBatches, forward: Forward, together: bool) -> Iterator[Encoded]:
        """Rows with their features: several at once, or one by one."""
        if together and forward.packs:
            short = [i for i in batches.order if batches.length(i) < SHORTEST]
            for part in [*([i] for i in short), *cut_rows(batches.order[len(short) :], PACKED)]:
                yield part, self._run_beside(forward, *batches.packed(part))
        else:
            for part, inputs in batches(parts_of(batches, TOGETHER if together else 1)):
                yield part, self._run(forward, inputs)

    def prepare(self, backbone: Backbone, modality: Modality) -> None:
        """Load a trunk and make it ready, before anybody asks."""
        self._forward(backbone, modality)

    def agrees(self, backbone: Backbone) -> bool:
        """Whether this text tower gives a text the same bits alone and among others; tried once, with a few texts.

        One that ends in a projection of one vector a text mostly does not: a product with one row is made another way.
        """
        with self._turn:
            place = place_of(backbone, "text")
            known = self._agrees.get(place)
            if known is None:
                known = self._agrees[place] = all(self._batches_change_nothing(backbone, probe) for probe in PROBES)
            return known

    def _batches_change_nothing(self, backbone: Backbone, probe: str) -> bool:
        texts = [probe.format(" ".join("12345"[: i % 5]) + str(i)) for i in range(1, 10)]
        with self.tokenizing:
            batches = TextBatches(backbone, texts, list(range(len(texts))))
        forward = self._forward(backbone, "text")
        with torch.inference_mode():
            together, alone = (
                {
                    i: row
                    for part, rows in self._encode_texts(batches, forward, whether)
                    for i, row in zip(part, rows, strict=True)
                }
                for whether in (True, False)
            )
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

        def encode(rows: list[int]) -> Iterator[Encoded]:
            forward, trunk = self._forward(backbone, "image"), backbone.trunk_fingerprint("image")
            for i in rows:  # alone: convolutions have other last digits in another batch
                with self._memory:
                    known = self._pixels.pop((trunk, keys[i]), None)
                pixels = known if known is not None else self._decode(backbone, contents[i], decode)
                yield [i], self._run(forward, backbone.picture_inputs([pixels]))

        return self._look_up(backbone, "image", keys, encode)

    def look_at(self, backbone: Backbone, data: bytes, decode: Callable[..., Image.Image]) -> None:
        """Decode a picture that will be encoded next, in the caller's thread. Raises `DataError` where that cannot be done."""
        key = content_key(data)
        if self._known(backbone, "image", [key]):
            return
        pixels = self._decode(backbone, data, decode)
        with self._memory:
            self._pixels[backbone.trunk_fingerprint("image"), key] = pixels
            while len(self._pixels) > AHEAD:  # who asked may be gone, or have its answer already
                self._pixels.popitem(last=False)

    def _decode(self, backbone: Backbone, data: bytes, decode: Callable[..., Image.Image]) -> NDArray[np.uint8]:
        return backbone.picture_to_pixels(decode(data, **self.decode_options(backbone)))

    def _look_up(
        self,
        backbone: Backbone,
        modality: Modality,
        keys: list[bytes],
        encode: Callable[[list[int]], Iterator[Encoded]],
    ) -> NDArray[np.float32]:
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        known = self._known(backbone, modality, list(first))
        if len(known) < len(first):
            fresh = self._make_features(keys, encode(sorted(i for key, i in first.items() if key not in known)))
            self._keep(self._space_of(backbone, modality).fingerprint, fresh)
            known |= fresh
        found = np.empty((len(keys), self._space_of(backbone, modality).width), np.float32)
        for i, key in enumerate(keys):
            found[i] = known[key]
        return found

    def _known(self, backbone: Backbone, modality: Modality, keys: list[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Features of items that are in memory or in the store; does not wait for a forward pass that is under way."""
        with self._memory:
            space, found = self._space_of(backbone, modality), {}
            for key in keys:
                name = (space.fingerprint, key)
                if name in self._kept:
                    self._kept.move_to_end(name)
                    found[key] = self._kept[name]
                elif key in space:
                    found[key] = np.asarray(space.get([key])[0])
            return found

    def _run(self, forward: Forward, inputs: Inputs) -> NDArray[np.float32]:
        """A pass on all threads, which has them to itself; torch gives a thread of Python that begins while another computes on
        one thread no more than one."""
        with self._turn, use_threads(self.threads):
            return forward(inputs)

    def _run_beside(self, forward: Forward, ids: torch.Tensor, groups: list[tuple[int, int]]) -> NDArray[np.float32]:
        """A pass on one thread, beside others; a text that comes alone meanwhile does not wait for all threads either."""
        with self._memory:
            self._passes += 1
        try:
            return forward.packed(ids, groups)
        finally:
            with self._memory:
                self._passes -= 1

    def _make_features(self, keys: list[bytes], encoded: Iterator[Encoded]) -> dict[bytes, NDArray[np.float32]]:
        """Features of a few items, rounded as the store would have rounded them."""
        fresh: dict[bytes, NDArray[np.float32]] = {}
        with torch.inference_mode():
            for rows, features in encoded:
                with self._memory:
                    self.forwards, self.passed = self.forwards + 1, self.passed + len(rows)
                rounded = features.astype(self.storage).astype(np.float32)
                fresh |= {keys[i]: row for i, row in zip(rows, rounded, strict=True)}
        return fresh

    def _keep(self, fingerprint: str, fresh: dict[bytes, NDArray[np.float32]]) -> None:
        with self._memory:
            for key, row in fresh.items():
                self._kept[fingerprint, key] = row
            while len(self._kept) > self.latest:
                self._kept.popitem(last=False)

    def _space_of(self, backbone: Backbone, modality: Modality) -> Space:
        place = place_of(backbone, modality)
        with self._memory:
            if place not in self._spaces:
                decoding = "draft" if modality == "image" and self.fast_decode else "full"
                self._spaces[place] = self._space(backbone, modality, decoding)
            return self._spaces[place]

    def _forward(self, backbone: Backbone, modality: Modality) -> Forward:
        """The trunk of a backbone, made ready once."""
        place = place_of(backbone, modality)
        with self._turn if place not in self._ready else nullcontext():
            if place not in self._ready:
                trunk: Any = backbone.image_trunk if modality == "image" else backbone.text_trunk
                ready, layout = prepare_trunk(trunk, self.device, **self.computing.preparation(backbone, modality))
                if self.device == "cpu":
                    work_in_place(ready)
                self._ready[place] = Forward(
                    ready,
                    self.device,
                    self.computing.input_type(backbone, modality),
                    backbone.normalise_pixels,
                    self._batch(modality),
                    layout,
                )
        return self._ready[place]


def place_of(backbone: Backbone, modality: Modality) -> Place:
    """Which trunk it is, with all that its features depend on."""
    return backbone.trunk_fingerprint(modality), modality


def rows_of(encoded: Iterator[Encoded]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Each row with its features."""
    for rows, features in encoded:
        yield from zip(rows, features, strict=True)


def parts_of(batches: TextBatches, most: int) -> Iterator[list[int]]:
    """Rows of one token length each, at most `most`; those of very few tokens alone."""
    for length, rows in groupby(batches.order, batches.length):  # `order` is by length
        yield from cut_rows(list(rows), most if length >= SHORTEST else 1)
