"""The nouns and Protocols that the wings share. No heavy import here: `--help` must answer at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import DataError, check_unique, examples
from picdesk.foresight import Foresight
from picdesk.partial_search import PartialSearch

if TYPE_CHECKING:
    import PIL.Image
    import torch

    from picdesk.trec.runs import Run

Modality = Literal["image", "text"]
Direction = Literal["t2i", "i2t"]
DIRECTIONS: tuple[Direction, ...] = ("t2i", "i2t")
CUT, UNKNOWN = 1, 2  # of a text: longer than what the model reads; nothing but tokens that stand for nothing it knows


@dataclass(frozen=True)
class Embeddings:
    """Ids and their vectors: `matrix` [n, dim] float32, each row of length 1 (within 1e-3), row i belonging to `ids[i]`.

    Raises `DataError` for repeated ids, a count that differs, values that are not finite, or rows that are not normalised.
    """

    ids: tuple[str, ...]
    matrix: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_unique(self.ids, "embeddings")
        if self.matrix.ndim != 2 or len(self.matrix) != len(self.ids):
            raise DataError(f"embeddings: {len(self.ids)} ids for a matrix of shape {self.matrix.shape}")
        if self.matrix.dtype != np.float32:
            raise DataError(f"embeddings: dtype {self.matrix.dtype}, wanted float32")
        norms = np.sqrt(np.einsum("ij,ij->i", self.matrix, self.matrix))
        wrong = np.flatnonzero(~(np.abs(norms - 1) <= 1e-3))
        if len(wrong):
            names = examples([f"{self.ids[i]} ({norms[i]:.4g})" for i in wrong[:4]])
            raise DataError(f"embeddings: {len(wrong)} rows are not finite or not of length 1, for example {names}")

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.matrix.shape[1])

    def take(self, rows: NDArray[np.int64]) -> Embeddings:
        """The given rows, in the given order."""
        return Embeddings(tuple(self.ids[i] for i in rows), np.ascontiguousarray(self.matrix[rows]))


class PictureBytes(Protocol):
    """Where the encoded pictures (JPEG, PNG, ... bytes) of a collection come from."""

    def __len__(self) -> int: ...

    def read(self, i: int) -> bytes:
        """Bytes of picture `i`, as stored."""


class Backbone(Protocol):
    """A two-tower encoder, a module of torch. A tower is a *trunk* (pretrained, costly, in the store) and a *head* (projection).

    Pixels and tokens are its own business. `fused_towers` encode without branches, `folded_towers` in bf16 without batch norms.
    """

    name: str
    dim: int
    image_trunk: torch.nn.Module
    image_head: torch.nn.Module
    text_trunk: torch.nn.Module
    text_head: torch.nn.Module
    logit_scale: torch.nn.Parameter
    shortest_side: int | None
    fused_towers: frozenset[Modality]
    folded_towers: frozenset[Modality]

    def by_chance(self) -> str:
        """Why results are chance results, and what helps; "" where they are not."""

    def trunk_fingerprint(self, modality: Modality) -> str:
        """Hex digest over everything that trunk features depend on: weights, preprocessing, tokenizer."""

    def trunk_dim(self, modality: Modality) -> int:
        """Width of the trunk's features, which is the head's input."""

    def facing(self, direction: Direction) -> Self:
        """The backbone as it encodes for a direction: one with prompts for what asks and what is found tells them apart."""

    def picture_to_pixels(self, picture: PIL.Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB picture to uint8 [3, height, width]; runs in loader workers."""

    def picture_inputs(self, pictures: Sequence[NDArray[Any]]) -> dict[str, torch.Tensor]:
        """Pictures as `picture_to_pixels` gave them, as one batch: `pixels` [n, 3, height, width], or the trunk's own names."""

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, 3, height, width] to the trunk's float input; runs on the device."""

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Keyword tensors for the text trunk, [n, length], padded to the longest of the batch."""

    def token_lengths(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """How many places of each text's inputs, [n], its feature depends on; the rest may be cut off."""

    @property
    def context(self) -> int | None:
        """The most tokens of a text that are read; None: not known."""

    def text_flags(self, texts: Sequence[str]) -> NDArray[np.uint8] | None:
        """`CUT` and `UNKNOWN` of each text, [n]; None where the backbone cannot tell."""


class Index(PartialSearch, Foresight, Protocol):
    """Finds the gallery items nearest to each query by inner product. `search.base.IndexBase` has what most have in common.

    Equal vectors score the same, wherever they stand. `tunable`: it has search settings worth trying (`to_tune`). `corrected`:
    its scores are corrected for hubs. `of_vectors`: each item has one vector of its own, which can be kept and corrected.
    """

    tunable: ClassVar[bool]
    corrected: ClassVar[bool]
    of_vectors: ClassVar[bool]

    def to_stream(self) -> Any:
        """The index whose inverted lists can be built block by block on disk. Raises `ConfigError` where there are none."""

    @property
    def vectors(self) -> Embeddings | None:
        """All that is in it, where the search over that is exact; else None."""

    def build_from_shards(self, shards: Callable[[], Iterable[Embeddings]]) -> None:
        """Take in the whole gallery, shard by shard; `shards` gives them from the first on, each time it is called."""

    def similarity(self, queries: Embeddings, run: Run) -> NDArray[np.float32] | None:
        """The similarities [queries, depth] of what a search found, where its scores are others; None where they are these."""

    def to_tune(self, items: Embeddings, queries: Embeddings) -> Any:
        """The index whose settings are tried, over these items. Raises `ConfigError` where there are none."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The items that can be found."""

    @property
    def fingerprint(self) -> str:
        """Digest over all that was taken in and out."""

    def build(self, gallery: Embeddings, queries: Embeddings | None = None) -> None:
        """Take in the whole gallery. `queries` are examples of what will be asked, for an index that measures itself."""

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query; equal scores by item id."""

    def add(self, more: Embeddings) -> None:
        """Take in further items. Raises `ConfigError` where the type allows none."""

    def remove(self, ids: Sequence[str]) -> None:
        """Take items out."""

    def save(self, folder: Path | str, made_from: Mapping[str, Any] | None = None) -> None:
        """Write the index whole; `made_from` says what the embeddings were made with (backbone, prompt, precision, ...)."""

    def load(self, folder: Path | str, expected: Mapping[str, Any] | None = None) -> None:
        """Open a saved index; each key of `expected` must be as it was saved. Raises `DataError` naming what differs."""


class Prompt(Protocol):
    """Makes the text that is encoded out of the fields of a text record (title, tags, caption, ...)."""

    name: str

    def choose(self, field_names: Sequence[str]) -> Prompt:
        """The prompt for texts that have these fields: itself, unless it looks for another. Raises `ConfigError`."""

    def render(self, fields: Mapping[str, str | Sequence[str]]) -> str:
        """The prompt of one record. Raises `ConfigError` naming the missing field and those there are."""


@dataclass(frozen=True)
class Side:
    """All that is known of the queries, or of the items, of a run: position `i` everywhere is that of `ids[i]`.

    Texts have `texts` (the prompts as encoded) and `fields` (what the prompts were made of); pictures have `pictures`.
    `embeddings` are the vectors that were searched, or None (a saved index is searched without them).
    Raises `DataError` if a part has another length than `ids`.
    """

    ids: tuple[str, ...]
    embeddings: Embeddings | None = None
    texts: tuple[str, ...] = ()
    fields: tuple[Mapping[str, str | Sequence[str]], ...] = ()
    pictures: PictureBytes | None = None

    def __post_init__(self) -> None:
        vectors = None if self.embeddings is None else self.embeddings.ids
        parts = {"texts": self.texts, "fields": self.fields, "pictures": self.pictures, "embeddings": vectors}
        for name, part in parts.items():
            if part and len(part) != len(self.ids):
                raise DataError(f"reranking: {len(part)} {name} for {len(self.ids)} ids")


class Embedder(Protocol):
    """What a reranker that has a backbone of its own needs: embeddings through the store, and pictures to look at."""

    @property
    def device(self) -> str:
        """Where models run: cpu, cuda, ..."""

    def texts(self, backbone: Any, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [n, dim] of the texts, rows of length 1."""

    def pictures(self, backbone: Any, pictures: PictureBytes) -> NDArray[np.float32]:
        """Embeddings [n, dim] of the pictures, rows of length 1."""

    def decode(self, data: bytes) -> PIL.Image.Image:
        """Bytes to an RGB picture. Raises `DataError` for what is none."""


@dataclass(frozen=True)
class RerankContext:
    """What a reranker may look at beside the run: `queries.ids` are `run.query_ids`, `items.ids` are `run.item_ids`.

    t2i: the queries are texts and the items pictures; i2t: the other way round. `made_by` is the name of the backbone that
    made the embeddings, `space` adds a digest of its weights, `tuned` are its towers that were trained further since they were
    published, and `encode_texts` puts further texts into that space: [n, dim], rows of length 1. `captions` are the texts that
    the data set has of its pictures, by picture id, `known` all their fields, and `render` makes of fields what is encoded.
    """

    direction: Direction
    queries: Side
    items: Side
    space: str = ""
    encode_texts: Callable[[Sequence[str]], NDArray[np.float32]] | None = None
    made_by: str = ""
    captions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    embedder: Embedder | None = None
    tuned: frozenset[Modality] = frozenset()
    known: Mapping[str, Sequence[Mapping[str, str | Sequence[str]]]] = field(default_factory=dict)
    render: Callable[[Mapping[str, str | Sequence[str]]], str] | None = None

    @property
    def texts(self) -> Side:
        """The side that is made of texts."""
        return self.queries if self.direction == "t2i" else self.items

    @property
    def pictures(self) -> Side:
        """The side that is made of pictures."""
        return self.items if self.direction == "t2i" else self.queries


class Reranker(Protocol):
    """Looks again, and more closely, at the candidates of each query. `rerankers.base.Scorer` has all but `score`.

    `top_k` is how many candidates of each query it looks at (None: all), `block` how many queries it is given at a time, so
    that what is scored is kept if the job is killed (0: all at once); `counts` grow with what it does. `changes_order`: not
    always False, as it is for one that says what the search said. `backbone`: the one it has of its own, or None.
    """

    weight: float
    top_k: int | None
    block: int
    counts: dict[str, int]
    changes_order: bool
    backbone: Any

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """A score for each candidate, in the shape of `run.index` [queries, depth], higher is better; NaN = unscored.

        The scores of a run and of a reranker need not share a scale: that is the fusion's business. Padding is NaN.
        """

    def fingerprint(self, context: RerankContext) -> str:
        """Digest over all that scores depend on besides texts, pictures and which are candidates; "" if too cheap to keep."""

    def content(self) -> str:
        """Digest of the weights and files that it works by, wherever they lie; "" where there are none."""

    def check_fit(self, made_by: str, tuned: Collection[Modality]) -> None:
        """Raise `ConfigError`, before anything is encoded, where it could not score what the backbone of this name finds, of
        which a fit has changed the towers `tuned`, or will."""


class Fusion(Protocol):
    """Makes one order out of the scores of the search and of the rerankers. `mixes`: what rerankers say has a share in it; it is
    a `search.fusion.Mixture` then, which normalises once, so that many weights can be tried."""

    mixes: bool

    def fuse(self, run: Run, rerank_scores: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> Run:
        """The candidates of `run` in their new order; one array (shape of `run.index`) and one weight per reranker."""
