"""Runs, sides and contexts for rerankers, small enough to check with a pencil."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from picdesk.collection import Fields
from picdesk.interfaces import Direction, Embeddings, Modality, PictureBytes, RerankContext, Side
from picdesk.trec.runs import Run


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures in memory."""

    data: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.data)

    def read(self, i: int) -> bytes:
        return self.data[i]


def plain_picture(colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "png")
    return stream.getvalue()


def noise_picture(seed: int, size: int = 48) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def unit(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def vector_of(content: bytes | str, dim: int = 8) -> NDArray[np.float32]:
    """A direction that depends on the content alone."""
    data = content.encode() if isinstance(content, str) else content
    seed = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    return unit(np.random.default_rng(seed).normal(size=(1, dim)))[0]


@dataclass
class FakeEmbedder:
    """Vectors by content; notes what it was asked for."""

    device: str = "cpu"
    asked: list[Any] = field(default_factory=list)

    def texts(self, backbone: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.append(("texts", backbone, tuple(texts)))
        return np.stack([vector_of(text) for text in texts])

    def pictures(self, backbone: Any, pictures: PictureBytes) -> NDArray[np.float32]:
        self.asked.append(("pictures", backbone, len(pictures)))
        return np.stack([vector_of(pictures.read(i)) for i in range(len(pictures))])

    def decode(self, data: bytes) -> Image.Image:
        return Image.open(io.BytesIO(data)).convert("RGB")


def run_over(index: Sequence[Sequence[int]], items: int) -> Run:
    """Candidates in this order, with falling scores; -1 pads."""
    matrix = np.asarray(index, np.int32)
    scores = np.broadcast_to(np.linspace(0.9, 0.1, matrix.shape[1], dtype=np.float32), matrix.shape)
    scores = np.where(matrix >= 0, scores, -np.inf).astype(np.float32)
    return Run(tuple(f"q{n}" for n in range(len(matrix))), tuple(f"i{n}" for n in range(items)), matrix, scores, items)


def context_of(
    run: Run,
    texts: Sequence[str],
    pictures: Sequence[bytes],
    direction: Direction = "t2i",
    embedder: FakeEmbedder | None = None,
    vectors: NDArray[np.float32] | None = None,
    made_by: str = "",
    tuned: frozenset[Modality] = frozenset(),
    captions: dict[str, list[str]] | None = None,
    fields: Sequence[Fields] = (),
) -> RerankContext:
    """Texts and pictures on their sides; `vectors` are those of the pictures."""
    text_ids, picture_ids = (run.query_ids, run.item_ids) if direction == "t2i" else (run.item_ids, run.query_ids)
    own = None if vectors is None else Embeddings(picture_ids, vectors)
    text_side = Side(text_ids, None, tuple(texts), tuple(fields))
    picture_side = Side(picture_ids, own, pictures=Pictures(tuple(pictures)))
    sides = (text_side, picture_side) if direction == "t2i" else (picture_side, text_side)
    embedder = embedder or FakeEmbedder()
    return RerankContext(
        direction,
        *sides,
        space="space",
        encode_texts=lambda more: np.stack([vector_of(text) for text in more]),
        made_by=made_by,
        tuned=tuned,
        captions=captions or {},
        embedder=embedder,
    )
