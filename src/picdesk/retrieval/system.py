"""The system: all that answers a query, in plain Python. The doors, the server and a notebook ask the same one.

    run = system.search(system.asks(texts=["a harbour at night"]), gallery)
    scores = system.evaluate(dataset, dataset.part("test"))

Texts are given as they are encoded; `Gallery` is what is searched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection, Fields
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import add_tail, exact_ranks, exact_ranks_both
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings, Index, RerankContext, Side
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.features import embed, features_of
from picdesk.retrieval.gallery import Gallery, gallery_of
from picdesk.retrieval.keeping import Keep, make_anew
from picdesk.retrieval.reranking import Reranking
from picdesk.retrieval.scores import Bars, Scores, score, shortened
from picdesk.retrieval.tools import Sources, Tools
from picdesk.search.grouping import at_least
from picdesk.training.features import Features
from picdesk.trec.runs import Qrels, Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PicturesInMemory:
    """Pictures that are asked about, as a source."""

    contents: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.contents)

    def read(self, i: int) -> bytes:
        """Bytes of picture `i`."""
        return self.contents[i]


@dataclass(frozen=True)
class System:
    """Backbone, encoder, index, rerankers and fusion, with their depths.

    `new_index` makes an empty index of the chosen kind. `top_k` candidates are searched for and reranked; where nothing is
    reranked, the first `run_depth` of them are listed. What the search scores below `min_score` is left out. `bars` say how
    error bars are drawn; `keep` keeps what is costly (the jobs of a sweep share it).
    """

    backbone: TwoTower
    encoder: Encoder
    new_index: Callable[[], Index]
    reranking: Reranking = field(default_factory=Reranking)
    top_k: int = 100
    run_depth: int = 20
    min_score: float | None = None
    bars: Bars = field(default_factory=lambda: Bars())
    keep: Keep = make_anew

    def tools(self, known: Collection | None = None) -> Tools:
        """What rerankers are handed; `known` has what is said of the pictures that are searched."""
        return Tools.over(self.backbone, self.encoder, known)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [n, dim] of texts, as they are given; rows of length 1."""
        return self.tools().texts(self.backbone, texts)

    def encode_images(self, pictures: Sequence[bytes]) -> NDArray[np.float32]:
        """Embeddings [n, dim] of pictures, given as the bytes of their files; rows of length 1."""
        return self.tools().pictures(self.backbone, PicturesInMemory(tuple(pictures)))

    def asks(
        self,
        texts: Sequence[str] = (),
        pictures: Sequence[bytes] = (),
        ids: Sequence[str] = (),
        fields: Sequence[Fields] = (),
        share: float = 0.5,
    ) -> Side:
        """Queries in the shared space: texts, or pictures, or both, row by row, as mixed queries.

        A mixed query is `(1 - share) * text + share * picture`, of length 1 again. `ids` are q1, q2, ... where they are not
        given; `fields` are what the texts were made of, for rerankers. Raises `ConfigError` where counts differ.
        """
        count = len(texts) or len(pictures)
        if not count or (texts and pictures and len(texts) != len(pictures)):
            raise ConfigError(
                f"{len(texts)} texts and {len(pictures)} pictures ask: texts, pictures, or as many of both"
            )
        if not 0 <= share <= 1:
            raise ConfigError(f"share={share}: the share of the picture in a mixed query is a number from 0 to 1")
        names = tuple(ids) or tuple(f"q{i}" for i in range(1, count + 1))
        source, tools = PicturesInMemory(tuple(pictures)), self.tools()
        sides = [tools.texts(self.backbone.facing("t2i"), texts)] if texts else []
        sides += [tools.pictures(self.backbone.facing("i2t"), source)] if pictures else []
        if len(sides) == 2:
            mixed = (1 - share) * sides[0] + share * sides[1]
            sides = [(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)).astype(np.float32)]
        matrix = sides[0]
        shown = source if pictures else None
        return Side(names, Embeddings(names, matrix), tuple(texts), tuple(fields), shown)

    def gallery(self, dataset: Dataset, part: Collection, direction: Direction) -> Gallery:
        """The pictures (t2i) or the texts (i2t) of one part of a data set, ready to be searched."""
        return gallery_of(dataset, part, direction, self.tools(), self.indexed)

    def indexed(self, items: Side) -> Index:
        """The index over these items."""
        assert items.embeddings is not None
        index = self.new_index()
        index.build(items.embeddings)
        return index

    def search(
        self,
        queries: Side,
        gallery: Gallery,
        k: int | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> Run:
        """Search, rerank, fuse: the `k` best items of each query (by default `run_depth`, or all that was reranked).

        `weights` are those of the rerankers, by name; the system's own where they are not given. Raises `ConfigError` where
        rerankers are at work and the queries have no text to compare with pictures.
        """
        assert queries.embeddings is not None
        reranking = self.reranking.with_weights(weights) if weights else self.reranking
        if reranking.active and gallery.direction == "t2i" and not queries.texts:
            raise ConfigError("rerankers compare texts with pictures, and these queries are pictures alone: weight 0")
        depth = self.depth_over(len(gallery)) if k is None else max(self.top_k, k)
        run = self.strong(gallery.search(queries.embeddings, depth))
        if not reranking.active:
            return shortened(run, k or self.run_depth)
        tools = self.tools(gallery.catalogue.collection if gallery.direction == "t2i" else None)
        context = tools.context(gallery.direction, queries, gallery.candidates(run))
        return shortened(reranking.apply(run, context, tools), k or depth)

    def strong(self, run: Run) -> Run:
        """What the search scores `min_score` or more; where nothing is, that is said, with the score of the best.

        It is the similarity that counts, as the scores of a reranked list are relative to that list.
        """
        kept = at_least(run, self.min_score)
        for q in np.flatnonzero(~(kept.index >= 0).any(axis=1)) if self.min_score is not None else ():
            told = "%s: nothing scores min_score=%g or more; the best has %.3f"
            log.warning(told, run.query_ids[q], self.min_score, run.scores[q, 0])
        return kept

    def features(self, dataset: Dataset, part: Collection) -> Features:
        """Trunk features of both sides of one part, with what is relevant to what."""
        return features_of(dataset, part, self.backbone, self.encoder, keep=self.keep)

    def evaluate(self, dataset: Dataset, part: Collection, features: Features | None = None) -> Scores:
        """Retrieve and score one part of a data set in both directions. `features` are the part's own."""
        own = features or self.features(dataset, part)
        return self.score_both(own, *embed(self.backbone, own), Sources.of(dataset, part, self.backbone, self.encoder))

    def score_both(self, features: Features, texts: Embeddings, pictures: Embeddings, sources: Sources) -> Scores:
        """The same from embeddings. Pictures without texts are in the gallery but are not queries. Rerankers see `sources`."""
        sides = sides_of(features, texts, pictures, sources)
        if sides["i2t"][1] is texts:
            exact = dict(zip(DIRECTIONS, exact_ranks_both(texts, pictures, features.t2i, features.i2t), strict=True))
        else:
            exact = {name: exact_ranks(*side, direction=name) for name, side in sides.items()}
        scored = Scores()
        for direction, (queries, items, qrels) in sides.items():
            run, building, searching = self.timed(direction, *sources.sides(direction, queries, items), sources.tools)
            one = score(direction, add_tail(run, exact[direction], qrels), qrels, self.bars)
            hits = float((exact[direction].first == 1).mean()) if not self.reranking.active else None
            scored[direction] = replace(one, seconds=searching, exact_hits=hits, index_seconds=building)
        return scored

    def timed(
        self, direction: Direction, queries: Side, items: Side, tools: Tools | None = None
    ) -> tuple[Run, float, float]:
        """The run of these queries over these items, and the seconds for building the index and for search with reranking."""
        assert queries.embeddings is not None
        begun = time.perf_counter()
        index = self.indexed(items)
        start = time.perf_counter()
        run = index.search(queries.embeddings, self.depth_over(len(items.ids)))
        context = tools.context(direction, queries, items) if tools else RerankContext(direction, queries, items)
        fused = self.reranking.apply(run, context, tools)
        fused = shortened(fused, self.run_depth) if fused is run else fused
        return fused, round(start - begun, 6), round(time.perf_counter() - start, 6)

    def depth_over(self, gallery: int) -> int:
        """`top_k`, or all there are; then that is said."""
        if gallery < self.top_k:
            log.info("top_k=%d is more than the gallery of %d holds: all %d are listed", self.top_k, gallery, gallery)
        return min(self.top_k, gallery)


def sides_of(
    features: Features, texts: Embeddings, pictures: Embeddings, sources: Sources
) -> dict[Direction, tuple[Embeddings, Embeddings, Qrels]]:
    """Queries, items and what is relevant, by direction. Pictures without texts are in the gallery but are not queries.

    A backbone that encodes what asks and what is found apart has other embeddings for i2t.
    """
    asking = np.flatnonzero(np.bincount(features.picture_of, minlength=len(pictures.ids)))
    found, shown = sources.turned(texts, pictures)
    return {"t2i": (texts, pictures, features.t2i), "i2t": (shown.take(asking), found, features.i2t)}
