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
from functools import partial

import numpy as np
from numpy.typing import NDArray

from picdesk.backbones.two_tower import TwoTower
from picdesk.collection import Collection, Fields
from picdesk.embedding.encoder import Encoder
from picdesk.errors import ConfigError
from picdesk.evaluation.metrics import add_tail, counts_on, exact_ranks, exact_ranks_both
from picdesk.filters.columns import Columns, columns_of
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings, Index, RerankContext, Side
from picdesk.retrieval.banks import Banks, in_one_dimension_more
from picdesk.retrieval.composed import is_composed, score_composed
from picdesk.retrieval.dataset import Dataset
from picdesk.retrieval.features import embed, features_of
from picdesk.retrieval.filtering import tell
from picdesk.retrieval.gallery import Gallery, gallery_of
from picdesk.retrieval.keeping import Keep, make_anew
from picdesk.retrieval.reranking import Reranking
from picdesk.retrieval.scores import USUAL, Bars, Metrics, Scores, score, shorten_run
from picdesk.retrieval.tools import Sources, Tools
from picdesk.search.corrected import Corrected
from picdesk.search.corrections import Bank, Correction, Fitted, Plain
from picdesk.search.grouping import at_least
from picdesk.search.hybrid import find_scored
from picdesk.text.given import number_from
from picdesk.training.features import Features
from picdesk.trec.runs import Floats, Qrels, Run

log = logging.getLogger(__name__)
Sides = Mapping[Direction, tuple[Embeddings, Embeddings, Qrels]]


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
    error bars are drawn; `keep` keeps what is costly (the jobs of a sweep share it). `correction` takes hubs out of the
    scores of the search, by a bank of other queries; `metrics` are those that are reported; `share` is the picture's part in
    a query of a data set whose texts ask together with a picture.
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
    correction: Correction = field(default_factory=Plain)
    metrics: Metrics = USUAL
    share: float = 0.5

    def tools(self, known: Collection | None = None, render: Callable[[Fields], str] | None = None) -> Tools:
        """What rerankers are handed; `known` has what is said of the pictures that are searched, `render` makes texts of it."""
        return Tools.over(self.backbone, self.encoder, known, render)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings [n, dim] of texts, as they are given; rows of length 1."""
        return self.tools().texts(self.backbone, texts)

    def encode_images(self, pictures: Sequence[bytes], files: Sequence[str] = ()) -> NDArray[np.float32]:
        """Embeddings [n, dim] of pictures, given as the bytes of their `files`; rows of length 1."""
        return self.tools().pictures(self.backbone, PicturesInMemory(tuple(pictures)), files)

    def asks(
        self,
        texts: Sequence[str] = (),
        pictures: Sequence[bytes] = (),
        ids: Sequence[str] = (),
        fields: Sequence[Fields] = (),
        share: float = 0.5,
        files: Sequence[str] = (),
    ) -> Side:
        """Queries in the shared space: texts, or pictures, or both, row by row, as mixed queries.

        A mixed query is `(1 - share) * text + share * picture`, of length 1 again. `ids` are q1, q2, ... where they are not
        given; `fields` are what the texts were made of, for rerankers, `files` what pictures are
        called that cannot be decoded. Raises `ConfigError` where counts differ.
        """
        count = len(texts) or len(pictures)
        if not count or (texts and pictures and len(texts) != len(pictures)):
            given = f"{len(texts)} texts and {len(pictures)} pictures"
            raise ConfigError(f"{given} ask: texts, pictures, or as many of both")
        number_from("share", share, "the share of the picture in a mixed query is a number from 0 to 1", 0, 1)
        names = tuple(ids) or tuple(f"q{i}" for i in range(1, count + 1))
        source, tools = PicturesInMemory(tuple(pictures)), self.tools()
        sides = [tools.texts(self.backbone.facing("t2i"), texts)] if texts else []
        sides += [tools.pictures(self.backbone.facing("i2t"), source, files)] if pictures else []
        if len(sides) == 2:
            mixed = (1 - share) * sides[0] + share * sides[1]
            sides = [(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)).astype(np.float32)]
        return Side(names, Embeddings(names, sides[0]), tuple(texts), tuple(fields), source if pictures else None)

    def gallery(self, dataset: Dataset, part: Collection, direction: Direction, coming: int | None = None) -> Gallery:
        """The pictures (t2i) or the texts (i2t) of one part of a data set, ready to be searched by `coming` queries."""
        if self.backbone.by_captions and self.correction.active:
            raise ConfigError(f"scores={self.correction.name}: {self.backbone.name} has no vectors; take scores=plain")

        def build_index(items: Side) -> Index:
            index = self.index_items(items, lambda: columns_of(part, direction), coming)
            return self.corrected_index(dataset, direction, None, index, items)

        return gallery_of(dataset, part, direction, self.tools(), build_index)

    def banks(self, dataset: Dataset | None, reported: Sequence[str] = ()) -> Banks:
        """What the scores are corrected by; `reported` are the pictures whose queries are scored, which no bank may hold."""
        return Banks(dataset, self.backbone, self.encoder, self.correction, self.bars.seed, reported)

    def corrected_index(
        self, dataset: Dataset | None, direction: Direction, queries: Embeddings | None, index: Index, items: Side
    ) -> Index:
        """The index with the score correction before it; itself where there is none, or where it waits for the queries."""
        if not self.correction.active or self.correction.transductive is (queries is None):
            return index
        assert items.embeddings is not None
        return self.banks(dataset).corrected_index(direction, queries, index, items.embeddings)

    def index_items(self, items: Side, known: Callable[[], Columns] | None = None, coming: int | None = None) -> Index:
        """The index over these items, told what is `known` of them if it keeps that, and how many queries are `coming`."""
        assert items.embeddings is not None
        index = self.new_index()
        index.expect(coming, min(self.top_k, len(items.ids)))
        if known is not None:
            tell(index, known)
        index.build(items.embeddings)
        return index

    def search(
        self,
        queries: Side,
        gallery: Gallery,
        k: int | None = None,
        weights: Mapping[str, float] | None = None,
        filter: str | None = None,  # noqa: A002
    ) -> Run:
        """Search, rerank, fuse: the `k` best items of each query (by default `run_depth`, or all that was reranked).

        `weights` are those of the rerankers, by name; the system's own where they are not given. A `filter` says which items may
        be found, by what is known of them: `date > 2021-01-01 and credit = 'Reuters'`. Raises `ConfigError` where
        rerankers are at work and the queries have no text to compare with pictures.
        """
        assert queries.embeddings is not None
        reranking = self.reranking.with_weights(weights) if weights else self.reranking
        if reranking.active and gallery.direction == "t2i" and not queries.texts:
            raise ConfigError("rerankers compare texts with pictures, and these queries are pictures alone: weight 0")
        depth = self.depth_over(len(gallery)) if k is None else max(self.top_k, k)
        if gallery.items is not None and gallery.index.of_vectors:
            index = self.corrected_index(None, gallery.direction, queries.embeddings, gallery.index, gallery.items)
            gallery = replace(gallery, index=index)
        run = gallery.search(queries.embeddings, depth, self.drop_weak, filter, queries.texts)
        if not reranking.active:
            return shorten_run(run, self.run_depth if k is None else k)
        tools = self.tools(*gallery.known_texts)
        context = tools.context(gallery.direction, queries, gallery.candidates(run))
        return shorten_run(reranking.apply(run, context, tools), depth if k is None else k)

    @property
    def depth(self) -> int:
        """How many are scored where nothing is reranked: `run_depth`, or more where metrics are cut further down."""
        return max(self.run_depth, *self.metrics.ks)

    def drop_weak(self, run: Run, similarity: Floats | None = None) -> Run:
        """What the search scores `min_score` or more; where nothing that was found is, that is said, with the score of the best.

        It is the similarity that counts, as the scores of a reranked list are relative to that list, and corrected ones to a
        bank; `similarity` [queries, depth] where the scores of the run are not it.
        """
        kept = at_least(run, self.min_score, similarity)
        shown = run.scores if similarity is None else similarity
        for q in np.flatnonzero((run.index >= 0).any(axis=1) & ~(kept.index >= 0).any(axis=1)):
            told = "%s: nothing scores min_score=%g or more; the best has %.3f"
            log.warning(told, run.query_ids[q], self.min_score, shown[q].max())
        return kept

    def features(self, dataset: Dataset, part: Collection) -> Features:
        """Trunk features of both sides of one part, with what is relevant to what."""
        return features_of(dataset, part, self.backbone, self.encoder, keep=self.keep)

    def evaluate(self, dataset: Dataset, part: Collection, features: Features | None = None) -> Scores:
        """Retrieve and score one part of a data set in both directions. `features` are the part's own."""
        own = features or self.features(dataset, part)
        return self.score_both(own, *embed(self.backbone, own), Sources.of(dataset, part, self.backbone, self.encoder))

    def score_both(self, features: Features, texts: Embeddings, pictures: Embeddings, sources: Sources) -> Scores:
        """The same from embeddings. Pictures without texts are in the gallery but are not queries. Rerankers see `sources`.

        Texts that ask together with a picture are scored in one direction, t2i.
        """
        if is_composed(sources.part):
            return score_composed(self, features, texts, pictures, sources)[0]
        sides = sides_of(features, texts, pictures, sources)
        fitted = self.fit_banks(sides, features, sources)
        on = counts_on(self.encoder.device)
        if fitted:
            wide = {d: in_one_dimension_more(*side[:2], fitted[d][1]) for d, side in sides.items()}
            exact = {d: exact_ranks(*wide[d], sides[d][2], direction=d, device=on) for d in sides}
        elif sides["i2t"][1] is texts:
            both = exact_ranks_both(texts, pictures, features.t2i, features.i2t, device=on)
            exact = dict(zip(DIRECTIONS, both, strict=True))
        else:
            exact = {name: exact_ranks(*side, direction=name, device=on) for name, side in sides.items()}
        scored = Scores(bars=self.bars)
        for direction, (queries, items, qrels) in sides.items():
            asked = sources.sides(direction, queries, items)
            run, building, searching = self.time_search(direction, *asked, sources, fitted.get(direction))
            one = score(direction, add_tail(run, exact[direction], qrels), qrels, self.bars, self.metrics)
            hits = float((exact[direction].first == 1).mean()) if not self.reranking.active else None
            scored[direction] = replace(one, seconds=searching, exact_hits=hits, index_seconds=building)
        return scored

    def fit_banks(self, sides: Sides, features: Features, sources: Sources) -> dict[Direction, tuple[Bank, Fitted]]:
        """What banks say of the items of both directions; nothing where scores stay as they are."""
        if not self.correction.active:
            return {}
        asking = [features.picture_ids[i] for i in np.unique(features.picture_of)]
        banks = self.banks(sources.dataset, asking)
        return {direction: banks.fit(direction, *side[:2]) for direction, side in sides.items()}

    def time_search(
        self,
        direction: Direction,
        queries: Side,
        items: Side,
        sources: Sources | None = None,
        fitted: tuple[Bank, Fitted] | None = None,
    ) -> tuple[Run, float, float]:
        """The run of these queries over these items, and the seconds for building the index and for search with reranking.

        `fitted` is the bank of a score correction with what it says of the items.
        """
        begun, tools = time.perf_counter(), sources.tools if sources else None
        known = partial(columns_of, sources.part, direction) if sources else None
        index = self.index_items(items, known, len(queries.ids))
        index = Corrected(index, self.correction, *fitted) if fitted is not None else index
        start = time.perf_counter()
        run = find_scored(index, queries, self.depth_over(len(items.ids)))
        context = tools.context(direction, queries, items) if tools else RerankContext(direction, queries, items)
        fused = self.reranking.apply(run, context, tools)
        fused = shorten_run(fused, self.depth) if fused is run else fused
        return fused, round(start - begun, 6), round(time.perf_counter() - start, 6)

    def depth_over(self, gallery: int) -> int:
        """`top_k`, or all there are; then that is said."""
        if gallery < self.top_k:
            log.info("top_k=%d is more than the gallery of %d holds: all %d are listed", self.top_k, gallery, gallery)
        return min(self.top_k, gallery)


def sides_of(features: Features, texts: Embeddings, pictures: Embeddings, sources: Sources) -> Sides:
    """Queries, items and what is relevant, by direction. Pictures without texts are in the gallery but are not queries.

    A backbone that encodes what asks and what is found apart has other embeddings for i2t.
    """
    found, shown = sources.embed_for_i2t(texts, pictures)
    return {
        "t2i": (queries_alone(texts, features.t2i), pictures, features.t2i),
        "i2t": (queries_alone(shown, features.i2t), found, features.i2t),
    }


def queries_alone(embeddings: Embeddings, qrels: Qrels) -> Embeddings:
    """Those that are queries: what the qrels name, in their order."""
    if embeddings.ids == qrels.query_ids:
        return embeddings
    place = {name: i for i, name in enumerate(embeddings.ids)}
    return embeddings.take(np.array([place[name] for name in qrels.query_ids], np.int64))
