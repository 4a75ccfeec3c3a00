"""A job for the tests that kill jobs or run several: encodes made-up pictures into a store."""

import io
import os
import time
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from tests.embedding.fakes import Pictures, Tiny

BATCH = 4


@cache
def blob(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def encode(
    store: Path, count: int, shard: int, delay: float = 0.0, tally: Path | None = None
) -> tuple[Encoder, np.ndarray]:
    """Encode `count` pictures, `delay` seconds per picture.

    `tally` grows by a byte with each picture that went through the trunk, in this process or in another.
    """
    backbone = Tiny()
    if tally is not None:
        handle = os.open(tally, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        backbone.image_trunk.register_forward_hook(lambda *seen: os.write(handle, b"x" * len(seen[2])) and None)

    def slowly(data: bytes) -> Image.Image:
        time.sleep(delay)
        return decode(data)

    encoder = Encoder(Store(store), batch_size=BATCH, workers=2, shard=shard)
    features = encoder.pictures(backbone, Pictures([blob(i) for i in range(count)]), slowly)
    return encoder, features
