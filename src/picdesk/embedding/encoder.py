"""The encode loop: what the store lacks goes through the trunk once, in batches, and is written shard by shard.

The order of the missing items is fixed (pictures as given, texts by token length) and shards are whole batches from its front,
so after a kill the next job meets the same batches again and its features are bit-equal to those of an uninterrupted one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from picdesk.embedding.batches import Inputs, TextBatches, ahead, cut_rows, takes_turns, unwritten
from picdesk.embedding.converted import check_engine
from picdesk.embedding.counts import Counts as Counts
from picdesk.embedding.counts import Digests
from picdesk.embedding.forward import Forward, check_device, working
from picdesk.embedding.memory import keep_freed_memory
from picdesk.embedding.passes import passes_at_once, run_passes
from picdesk.embedding.precision import AUTO, PRECISIONS, Arithmetic, choose_precision
from picdesk.embedding.progress import progress
from picdesk.embedding.store import STORAGES, Space, Store, content_key, in_turn
from picdesk.embedding.unread import Unread
from picdesk.errors import ConfigError, DataError, broken_picture
from picdesk.interfaces import Backbone, Modality, PictureBytes
from picdesk.process import stops

log = logging.getLogger(__name__)
TEXTS_FOR_A_PICTURE = 4
"""In bf16 so many texts go through the trunk together for each picture that would: a caption has 14 tokens, a picture 50, and
with few tokens at a time bf16 gains nothing (ViT-B-32 on one core: 8.0 ms a text instead of 15.5; float32 is the other way)."""
LOOK_AGAIN_S = 0.1  # whether another job is done
MANY = 5_000  # pictures to encode, from which a quicker way is told of: minutes on a CPU
WINDOW = 1 << 17  # texts that are tokenised and sorted together; bounds the memory that their tokens take
Batches = Callable[[Iterator[list[int]]], Iterator[tuple[list[int], Inputs]]]


@dataclass
class Encoder:
    """Turns pictures and texts into trunk features, through the store. Safe for threads, which take turns.

    `precision` fp32, bf16 (bf16 weights, float32 features), bf16_measured (bf16 for pictures alone, by trunks whose drift was
    measured) or auto: bf16_measured on CPUs with units for bf16, else fp32.
    `engine` runs the trunks: torch, or openvino, an extra for CPUs (see `converted`).
    `fast_decode` reads JPEGs at a smaller scale where that is enough; `storage` is float32 or float16.
    `shard` items are written at a time: at most that many are encoded again after a kill.
    `max_pixels` is the size above which a picture is refused instead of decoded (None: as `decode` has it).
    `digests` remembers what files hold, so that unchanged ones are not read to find out. `unread` is what the model did not
    see of the texts, and which items it could not tell apart; it is said as soon as it is known.
    """

    store: Store
    batch_size: int = 32
    workers: int = 2
    precision: str = "fp32"
    device: str = "cpu"
    fast_decode: bool = False
    storage: str = "float32"
    shard: int = 1024
    max_pixels: int | None = None
    engine: str = "torch"
    digests: Digests | None = None
    counts: Counts = field(default_factory=Counts)
    unread: Unread = field(default_factory=Unread)

    def __post_init__(self) -> None:
        for key, allowed in (("precision", PRECISIONS), ("storage", STORAGES)):
            if getattr(self, key) not in allowed:
                raise ConfigError(f"encode.{key}={getattr(self, key)}: choose one of {', '.join(allowed)}")
        check_device(self.device)
        check_engine(self.engine, self.device)
        if self.precision == AUTO:
            self.precision, _ = choose_precision(self.device)
        self.computing = Arithmetic(self.precision, self.engine, self.device, self.fast_decode)
        if self.batch_size < 1 or self.workers < 1 or self.shard < 1:
            raise ConfigError(
                f"encode.batch_size={self.batch_size}, encode.workers={self.workers}, encode.shard={self.shard}: "
                "each must be at least 1"
            )
        if self.max_pixels is not None and self.max_pixels < 1:
            raise ConfigError(f"encode.max_pixels={self.max_pixels}: at least 1 is needed")

    def decode_options(self, backbone: Backbone) -> dict[str, int | None]:
        """What a picture is decoded with for a backbone beside its bytes."""
        options = {"shortest": backbone.shortest_side} if self.fast_decode else {}
        return options | ({"max_pixels": self.max_pixels} if self.max_pixels else {})

    @in_turn
    def pictures(
        self,
        backbone: Backbone,
        pictures: PictureBytes,
        decode: Callable[..., Image.Image],
        ids: Sequence[str] = (),
    ) -> NDArray[np.float32]:
        """Trunk features [n, trunk_dim] of all pictures, in their order; each distinct content is encoded once.

        `decode(bytes)` gives an RGB picture; with `fast_decode` it is called with `shortest=`, the shorter side that will do,
        with `max_pixels` also with that. Raises `DataError`, by the `ids` where given, if a file changes between being looked
        at and being decoded, or cannot be decoded.
        """
        keys = self.picture_keys(pictures)
        options = self.decode_options(backbone)

        def name_of(i: int) -> str | int:
            return ids[i] if ids else i

        def read(i: int) -> bytes:
            data = pictures.read(i)
            if content_key(data) != keys[i]:
                raise DataError(f"picture {name_of(i)!r}: its content changed while the job was at work; run again")
            return data

        def pixels_of(i: int, data: bytes) -> NDArray[np.uint8]:
            try:
                return backbone.picture_to_pixels(decode(data, **options))
            except DataError as error:
                raise broken_picture(name_of(i), error) from None

        with ThreadPoolExecutor(self.workers) as pool:

            def batches(parts: Iterator[list[int]]) -> Iterator[tuple[list[int], Inputs]]:
                turns = takes_turns(self.device, self.engine, self.workers)
                for part, arrays in ahead(pool, read, pixels_of, parts, turns):
                    yield part, backbone.picture_inputs(arrays)

            decoding = "draft" if self.fast_decode else "full"
            features = self._encode(backbone, "image", keys, lambda rows: (rows, batches), decoding)
        self._note(backbone, "image", keys, features)
        return features

    @in_turn
    def texts(self, backbone: Backbone, texts: Sequence[str]) -> NDArray[np.float32]:
        """Trunk features [n, trunk_dim] of all texts, in their order; repeated texts are encoded once, by token length."""

        def features(window: Sequence[str]) -> NDArray[np.float32]:
            def plan(rows: list[int]) -> tuple[list[int], Batches]:
                made = TextBatches(backbone, window, rows)
                return made.order, made

            keys = [content_key(text) for text in window]
            found = self._encode(backbone, "text", keys, plan)
            self.unread.look(backbone, self._space(backbone, "text", "full").texts, window, keys)
            return found

        if len(texts) <= WINDOW:
            found = features(texts)
        else:
            found = np.empty((len(texts), backbone.trunk_dim("text")), np.float32)
            for at in range(0, len(texts), WINDOW):
                found[at : at + WINDOW] = features(texts[at : at + WINDOW])
        self._note(backbone, "text", [content_key(text) for text in texts], found)
        return found

    def _note(self, backbone: Backbone, modality: Modality, keys: list[bytes], features: NDArray[np.float32]) -> None:
        self.unread.note_same_vectors(backbone, modality, keys, features)
        self.unread.say()

    def _space(self, backbone: Backbone, modality: Modality, decoding: str) -> Space:
        width, fingerprint = backbone.trunk_dim(modality), backbone.trunk_fingerprint(modality)
        if modality == "image":
            self.computing.tell(backbone)
        options = {"decode": decoding, "storage": self.storage, "label": backbone.name}
        return self.store.space(modality, fingerprint, self.arithmetic(backbone, modality), width, **options)

    def arithmetic(self, backbone: Backbone, *sides: Modality) -> str:
        """How features of these sides (none given: of both) are computed, in words (see `Arithmetic.words`)."""
        return self.computing.words(backbone, *sides)

    def picture_keys(self, pictures: PictureBytes) -> list[bytes]:
        """Content keys of all pictures; files that `digests` knows are not read."""
        known = self.digests
        if known is None:
            with ThreadPoolExecutor(self.workers) as pool:
                return list(pool.map(lambda i: content_key(pictures.read(i)), range(len(pictures))))
        width = len(content_key(b""))
        keys = [bytes.fromhex(known.digest(pictures, i))[:width] for i in range(len(pictures))]
        known.save()
        return keys

    def _encode(
        self,
        backbone: Backbone,
        modality: Modality,
        keys: list[bytes],
        plan: Callable[[list[int]], tuple[list[int], Batches]],
        decoding: str = "full",
    ) -> NDArray[np.float32]:
        space = self._space(backbone, modality, decoding)
        missing = space.missing(keys)
        encoded = 0
        if missing:
            start = time.perf_counter()
            order, batches = plan(missing)
            if modality == "image" and len(missing) >= MANY:
                self.computing.tell_quicker_way(backbone, len(missing))
            encoded = self._fill(backbone, modality, space, keys, order, batches)
            seconds = time.perf_counter() - start
            what = "pictures" if modality == "image" else "texts"
            log.info("encoded %d %s in %.1f s (%.0f/s)", encoded, what, seconds, encoded / seconds)
        self.counts.encoded[modality] += encoded
        self.counts.reused[modality] += len(set(keys)) - encoded
        return space.get(keys)

    def _fill(
        self,
        backbone: Backbone,
        modality: Modality,
        space: Space,
        keys: list[bytes],
        order: list[int],
        batches: Batches,
    ) -> int:
        """Encode what is missing and what no other job encodes; wait for the rest. How many were encoded here."""
        keep_freed_memory()
        size = self._shard_size(len(order), self._batch(modality))
        place = {keys[i]: i for i in order}
        encoded, waiting = 0, False
        trunk = backbone.image_trunk if modality == "image" else backbone.text_trunk
        with (
            working(trunk, self.device, **self.computing.preparation(backbone, modality)) as (ready, layout),
            progress(f"encoding {modality}s", len(order)) as advance,
        ):
            batch, takes = self._batch(modality), self.computing.input_type(backbone, modality)
            forward = Forward(ready, self.device, takes, backbone.normalise_pixels, batch, layout)
            rows, features = list[int](), list[NDArray[np.float32]]()
            try:
                while left := [key for key in place if key not in space]:
                    before = encoded
                    parts = batches(self._claim_batches(space, left, place, size, batch))
                    for part, found in run_passes(
                        forward, parts, self._at_once(modality, forward, -(-len(left) // batch))
                    ):
                        features.append(found)
                        rows += part
                        advance(len(part))
                        if len(rows) >= size:
                            encoded += self._put(space, keys, rows, features)
                    encoded += self._put(space, keys, rows, features)
                    if encoded == before:
                        if not waiting:
                            log.info("waiting for another job that is encoding %d of these items", len(left))
                        waiting = True
                        time.sleep(LOOK_AGAIN_S)
                        space.refresh()
            except stops.Stop:
                self._put(space, keys, *unwritten(rows, features, keys, space.__contains__))
                raise
            finally:
                space.claims.close()
        return encoded

    def _put(self, space: Space, keys: list[bytes], rows: list[int], features: list[NDArray[np.float32]]) -> int:
        """Write what has been gathered, and start anew."""
        count = len(rows)
        if count:
            space.put([keys[i] for i in rows], np.concatenate(features))
        rows.clear()
        features.clear()
        return count

    def _batch(self, modality: Modality) -> int:
        """Items that go through the trunk together."""
        return self.batch_size * (TEXTS_FOR_A_PICTURE if modality == "text" and self.computing.texts == "bf16" else 1)

    def _at_once(self, modality: Modality, forward: Forward, batches: int) -> int:
        """How many of so many batches go through a trunk at once: of texts, on CPUs, where nothing is noted in it from one pass
        to the next, as models of others note tables of places.

        Pictures gain nothing: their layers are long, and what threads of their own allocate is not kept (`memory`).
        """
        alike = modality == "text" and self.device == "cpu" and self.engine == "torch" and forward.packs
        return min(passes_at_once(), batches) if alike else 1

    def _claim_batches(
        self, space: Space, left: list[bytes], place: dict[bytes, int], size: int, batch: int
    ) -> Iterator[list[int]]:
        """Batches of the items that this job has claimed, claim after claim, until nothing is free."""
        at = 0
        while claimed := space.claim(left[at:], size):
            at = left.index(claimed[-1], at) + 1
            yield from cut_rows([place[key] for key in claimed], batch)

    def _shard_size(self, missing: int, batch: int) -> int:
        """A whole number of batches, near `shard`; fewer where several ranks share the work."""
        share = -(-missing // int(os.environ.get("WORLD_SIZE", "1")))
        return -(-min(self.shard, share) // batch) * batch
