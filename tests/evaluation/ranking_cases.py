"""Small made-up retrieval cases: pictures with some captions each, scores, and the runs and qrels that follow from them."""

from dataclasses import dataclass

import numpy as np

from picdesk.interfaces import Direction, Embeddings
from picdesk.trec.runs import Qrels, Run, id_ranks, order_rows


@dataclass(frozen=True)
class Case:
    """`scores` [texts, pictures] float32; text j belongs to picture `picture_of[j]`."""

    text_ids: tuple[str, ...]
    picture_ids: tuple[str, ...]
    picture_of: np.ndarray
    scores: np.ndarray

    def qrels(self, direction: Direction) -> Qrels:
        texts = np.arange(len(self.text_ids))
        if direction == "t2i":
            return Qrels.from_pairs(self.text_ids, self.picture_ids, texts, self.picture_of)
        return Qrels.from_pairs(self.picture_ids, self.text_ids, self.picture_of, texts)

    def run(self, direction: Direction, depth: int | None = None) -> Run:
        if direction == "t2i":
            return run_of(self.text_ids, self.picture_ids, self.scores, depth)
        return run_of(self.picture_ids, self.text_ids, np.ascontiguousarray(self.scores.T), depth)


def run_of(queries: tuple[str, ...], items: tuple[str, ...], scores: np.ndarray, depth: int | None = None) -> Run:
    """The run that sorts the whole score matrix, cut at `depth`."""
    index = np.broadcast_to(np.arange(len(items), dtype=np.int32), scores.shape)
    index, ordered = order_rows(index, scores, id_ranks(items))
    return Run(queries, items, index[:, :depth], ordered[:, :depth], len(items), exact=True)


def captions(rng: np.random.Generator, pictures: int, most: int = 7, least: int = 1) -> np.ndarray:
    """For each text its picture; every picture has `least` to `most`, in shuffled order."""
    return rng.permutation(np.repeat(np.arange(pictures), rng.integers(least, most + 1, pictures)))


def random_case(rng: np.random.Generator, pictures: int, levels: int = 0, most: int = 7) -> Case:
    """Random scores, a little higher for the right picture; with `levels` many scores are equal."""
    picture_of = captions(rng, pictures, most)
    scores = rng.standard_normal((len(picture_of), pictures))
    scores[np.arange(len(picture_of)), picture_of] += rng.uniform(0, 3)
    if levels:
        scores = np.round(scores * levels) / levels
    texts = tuple(f"t{j}" for j in rng.permutation(len(picture_of)))
    return Case(texts, tuple(f"p{i}" for i in rng.permutation(pictures)), picture_of, scores.astype(np.float32))


def embeddings(prefix: str, matrix: np.ndarray) -> Embeddings:
    """Rows scaled to length 1, with ids `prefix0`, `prefix1`, ..."""
    scaled = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return Embeddings(tuple(f"{prefix}{i}" for i in range(len(matrix))), np.ascontiguousarray(scaled, np.float32))


def lattice(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Vectors of 16 coordinates, each 1/4 or -1/4: of length 1, and every inner product is exact, so that ties are many."""
    return rng.choice(np.array([0.25, -0.25], np.float32), (rows, 16))
