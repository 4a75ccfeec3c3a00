"""Evaluators that other projects used, in a few lines of our own, beside ours: how five captions a picture go wrong."""

import numpy as np
import pytest
from tests.evaluation.ranking_cases import embeddings

from picdesk.errors import DataError
from picdesk.evaluation.metrics import exact_ranks_both, metrics_of
from picdesk.interfaces import Embeddings
from picdesk.trec.runs import Qrels, Run

PICTURES, CAPTIONS = 200, 5


def five_captions_each(noise: float) -> tuple[Embeddings, Embeddings, Qrels, Qrels]:
    rng = np.random.default_rng(0)
    pictures = embeddings("p", rng.standard_normal((PICTURES, 32)))
    picture_of = np.repeat(np.arange(PICTURES), CAPTIONS)
    texts = embeddings("t", pictures.matrix[picture_of] + noise * rng.standard_normal((len(picture_of), 32)))
    texts_of = np.arange(len(picture_of))
    t2i = Qrels.from_pairs(texts.ids, pictures.ids, texts_of, picture_of)
    return texts, pictures, t2i, Qrels.from_pairs(pictures.ids, texts.ids, picture_of, texts_of)


def pairwise_recall(queries: np.ndarray, gallery: np.ndarray, k: int) -> float:
    """How a training loop scores its batches: row i has one right answer, which is row i. Equal scores: the first wins."""
    order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    place = np.argmax(order == np.arange(len(queries))[:, None], axis=1)
    return float((place < k).mean())


def test_one_to_one_pairs_misread_five_captions_a_picture() -> None:
    """With five copies of each picture in the gallery, all equal, four right answers of five count as wrong."""
    texts, pictures, t2i, i2t = five_captions_each(noise=0.25)
    truth = [metrics_of(ranks) for ranks in exact_ranks_both(texts, pictures, t2i, i2t)]
    repeated = np.repeat(pictures.matrix, CAPTIONS, axis=0)
    assert 0.4 < truth[0]["hits@1"] < 0.95
    assert pairwise_recall(texts.matrix, repeated, 1) == pytest.approx(truth[0]["hits@1"] / CAPTIONS, abs=0.01)
    assert pairwise_recall(texts.matrix, repeated, CAPTIONS) == pytest.approx(truth[0]["hits@1"], abs=1e-12)
    assert pairwise_recall(repeated, texts.matrix, 1) == pytest.approx(truth[1]["recall@1"])
    assert pairwise_recall(repeated, texts.matrix, 1) < truth[1]["hits@1"] / 4


def test_a_perfect_model_scored_zero_by_rows_that_are_not_pictures() -> None:
    """One gallery row per caption, looked up by picture number: picture j's copies are rows 5j to 5j + 4, not row j."""
    texts, pictures, t2i, i2t = five_captions_each(noise=0.0)
    rows = np.repeat(pictures.matrix, CAPTIONS, axis=0)
    order = np.argsort(-(texts.matrix @ rows.T), axis=1, kind="stable")
    right = np.repeat(np.arange(PICTURES), CAPTIONS)
    mistaken = float((order[:, 0] == right).mean())
    assert mistaken < 0.01
    assert metrics_of(exact_ranks_both(texts, pictures, t2i, i2t)[0])["hits@1"] == 1.0
    with pytest.raises(DataError, match="800 ids stand more than once, for example 'p0', 'p1', 'p2'"):
        Embeddings(tuple(np.repeat(pictures.ids, CAPTIONS).tolist()), rows)


def test_a_gallery_with_a_picture_twice_is_refused_everywhere() -> None:
    with pytest.raises(DataError, match="embeddings: 1 ids stand more than once, for example 'a'"):
        Embeddings(("a", "b", "a"), np.eye(3, dtype=np.float32))
    index, scores = np.array([[0, 1, 0]], np.int32), np.array([[3, 2, 1]], np.float32)
    with pytest.raises(DataError, match="an item stands twice in the list of one query"):
        Run(("q",), ("a", "b"), index, scores, 2)
    with pytest.raises(DataError, match="run items: 1 ids stand more than once"):
        Run(("q",), ("a", "a"), index[:, :2], scores[:, :2], 2)
    with pytest.raises(DataError, match="qrels items: 1 ids stand more than once"):
        Qrels.from_pairs(("q",), ("a", "a"), np.array([0]), np.array([0]))
