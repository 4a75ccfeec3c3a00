"""Scores of anybody's own numbers: a matrix of similarities, two sides of embeddings, or a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import together
from picdesk.errors import DataError
from picdesk.evaluation.metrics import add_tail, exact_ranks_both
from picdesk.evaluation.significance import Difference
from picdesk.interfaces import DIRECTIONS, Direction, Embeddings
from picdesk.measures.listing import KS, NAMES
from picdesk.products import quick_product
from picdesk.retrieval.scores import Bars, Metrics, Scores, differences_of, score
from picdesk.text.given import in_one_line, list_from, number_from, whole_number
from picdesk.trec.runs import MOST_GRADE, Qrels, Run, id_ranks, order_rows

DEPTH = 20


def measure(
    found: Any,
    relevant: Any,
    *,
    text_ids: Sequence[str] | None = None,
    picture_ids: Sequence[str] | None = None,
    about: Any = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    names: Sequence[str] = NAMES,
    ks: Sequence[int] = KS,
) -> Scores:
    """Metrics in both directions, with intervals by bootstrap over pictures; ties count against the system.

    `found` is a matrix of similarities [texts, pictures]; or the pair (text embeddings [texts, dim], picture embeddings
    [pictures, dim]), rows of any length, compared by cosine; or a `Run`, with `Qrels` for `relevant` (text to picture).
    `relevant` [texts] is the position of the picture that each text belongs to, or a matrix [texts, pictures] of true and
    false, or of grades: whole numbers, 0 for what is not relevant. `about` [texts] says for such a matrix which picture each
    text was written for, by position: texts about one picture are drawn together (not given: about the first by id that is
    relevant). Ids are numbers where they are not given. `names` chooses the metrics (`["ndcg", "map@r", "rsum"]`, or `["all"]`;
    the list is in docs/metrics.md) and `ks` their cut-offs; hits@1 is always among them, and those over both directions are in
    `.joint`. Raises `DataError` where shapes do not fit, or a score is no number, and `ConfigError` for an unknown metric.
    """
    bars, metrics = bars_of(resamples, level, seed), Metrics.of(names, ks, "measure")
    if isinstance(found, Run):
        if not isinstance(relevant, Qrels):
            raise DataError(f"relevant={in_one_line(relevant)}: with a run, Qrels are needed")
        return Scores({"t2i": score("t2i", found, relevant, bars, metrics)}, bars)
    if isinstance(found, tuple):
        if len(found) != 2:
            raise DataError(
                f"{len(found)} sides of embeddings: a pair is needed, those of the texts and of the pictures"
            )
        texts, pictures = (numbers_of(side, "embeddings") for side in found)
        if texts.ndim != 2 or pictures.ndim != 2 or texts.shape[1] != pictures.shape[1]:
            raise DataError(
                f"embeddings of {texts.shape} and {pictures.shape}: [texts, dim] and [pictures, dim] are needed"
            )
        ids = ids_of(text_ids, len(texts), "t"), ids_of(picture_ids, len(pictures), "p")
        sides = Embeddings(ids[0], unit(texts)), Embeddings(ids[1], unit(pictures))
        return scores_of_embeddings(*sides, qrels_of(relevant, *ids, about), bars, metrics)
    matrix = numbers_of(found, "scores")
    if matrix.ndim != 2:
        raise DataError(f"scores of shape {matrix.shape}: a matrix [texts, pictures] is needed")
    ids = ids_of(text_ids, len(matrix), "t"), ids_of(picture_ids, matrix.shape[1], "p")
    qrels = qrels_of(relevant, *ids, about)
    t2i = score("t2i", run_of(matrix, *ids), qrels["t2i"], bars, metrics)
    place = {name: i for i, name in enumerate(ids[1])}
    asking = np.array([place[name] for name in qrels["i2t"].query_ids], np.int64)
    i2t = score("i2t", run_of(matrix.T[asking], qrels["i2t"].query_ids, ids[0]), qrels["i2t"], bars, metrics)
    return Scores({"t2i": t2i, "i2t": i2t}, bars)


def compare(a: Scores, b: Scores, resamples: int = 10_000, seed: int = 0) -> dict[Direction, dict[str, Difference]]:
    """How far two systems are apart on the same queries, `a` less `b`: by direction and metric, with interval and p-values.

    Paired by picture; `p_family` is corrected for all metrics and directions (random signs, step-down maxT).
    Raises `DataError` where the two have no direction in common.
    """
    for name, scores in (("a", a), ("b", b)):
        if not isinstance(scores, Scores):
            raise DataError(f"{name}={in_one_line(scores)}: the scores of a system are needed, such as `measure` gives")
    bars = bars_of(resamples, 0.95, seed)
    both = [direction for direction in DIRECTIONS if direction in a and direction in b]
    if not both:
        raise DataError("the two have no direction in common")
    return differences_of({direction: a[direction] for direction in both}, b, bars)


def bars_of(resamples: Any, level: Any, seed: Any) -> Bars:
    """How error bars are drawn. Raises `ConfigError` for what cannot be."""
    told = "a share of the resamples between 0 and 1, such as 0.95"
    return Bars(
        whole_number("resamples", resamples),
        number_from("level", level, told, 1e-9, 1 - 1e-9),
        whole_number("seed", seed, 0),
    )


def array_of(given: Any, what: str) -> NDArray[Any]:
    """The array of rows of one length. Raises `DataError` where there is none."""
    try:
        made: NDArray[Any] = np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{what}: no array of rows of one length ({' '.join(str(error).split())[:120]})") from None
    return made


def numbers_of(given: Any, what: str) -> NDArray[np.float32]:
    """An array of float32. Raises `DataError` for what is no number, or one of two parts."""
    found = array_of(given, what)
    if found.dtype.kind == "O":  # numbers that a frame keeps as objects
        with suppress(ValueError, TypeError):
            found = found.astype(np.float32)
    if found.dtype.kind not in "biuf" and found.ndim:
        raise DataError(f"{what} of the kind {found.dtype}: real numbers are needed")
    if not found.ndim:
        raise DataError(f"{what}={in_one_line(given)}: a matrix of numbers is needed")
    return found.astype(np.float32)


def scores_of_embeddings(
    texts: Embeddings, pictures: Embeddings, qrels: Mapping[Direction, Qrels], bars: Bars, metrics: Metrics
) -> Scores:
    """Exact search over both sides, scored; the lists are as deep as a job's."""
    found = Scores(bars=bars)
    place = {name: i for i, name in enumerate(pictures.ids)}
    asking = pictures.take(np.array([place[name] for name in qrels["i2t"].query_ids], np.int64))
    sides = {"t2i": (texts, pictures), "i2t": (asking, texts)}
    exact = dict(zip(DIRECTIONS, exact_ranks_both(texts, pictures, qrels["t2i"], qrels["i2t"]), strict=True))
    for direction in DIRECTIONS:
        queries, items = sides[direction]
        run = run_of(quick_product(queries.matrix, items.matrix), queries.ids, items.ids, DEPTH)
        whole = add_tail(run, exact[direction], qrels[direction])
        found[direction] = score(direction, whole, qrels[direction], bars, metrics)
    return found


def run_of(
    matrix: NDArray[np.float32], query_ids: tuple[str, ...], item_ids: tuple[str, ...], depth: int | None = None
) -> Run:
    """The run of a matrix of scores [queries, items]: best first, equal scores by item id.

    Raises `DataError` for scores that are no numbers.
    """
    if not np.isfinite(matrix).all():
        raise DataError(f"{int((~np.isfinite(matrix)).sum())} scores are no numbers")
    places = np.broadcast_to(np.arange(len(item_ids), dtype=np.int32), matrix.shape)
    index, scores = order_rows(places, matrix, id_ranks(item_ids))
    return Run(query_ids, item_ids, index[:, :depth], scores[:, :depth], len(item_ids), exact=True)


def qrels_of(
    relevant: Any, text_ids: tuple[str, ...], picture_ids: tuple[str, ...], about: Any = None
) -> dict[Direction, Qrels]:
    """What is relevant to what, in both directions, and the picture that each text is about, where that is said.

    Raises `DataError` for what are no positions.
    """
    if about is not None:
        own = qrels_of(positions_of(about, len(text_ids), len(picture_ids)), text_ids, picture_ids)
        found = qrels_of(relevant, text_ids, picture_ids)
        return {
            "t2i": together(own["t2i"], found["t2i"], text_ids, picture_ids, judged_only=True),
            "i2t": together(own["i2t"], found["i2t"], picture_ids, text_ids, judged_only=True),
        }
    given, grade = array_of(relevant, "relevant"), None
    if given.shape == (len(text_ids),) and given.dtype.kind in "iu":
        texts, pictures = np.arange(len(text_ids)), given.astype(np.int64)
    elif given.shape == (len(text_ids), len(picture_ids)):
        texts, pictures = np.nonzero(given)
        grade = grades_of(given[texts, pictures])
    else:
        shapes = f"[{len(text_ids)}] or [{len(text_ids)}, {len(picture_ids)}]"
        raise DataError(f"relevant of shape {given.shape}: positions {shapes} are needed")
    if not len(texts) or pictures.min() < 0 or pictures.max() >= len(picture_ids):
        raise DataError(f"relevant: positions from 0 to {len(picture_ids) - 1} are needed")
    asked = np.unique(pictures)
    order = np.argsort(pictures, kind="stable")
    asking = tuple(picture_ids[i] for i in asked)
    turned = None if grade is None else grade[order]
    back = Qrels.from_pairs(asking, text_ids, np.searchsorted(asked, pictures[order]), texts[order], turned)
    return {"t2i": Qrels.from_pairs(text_ids, picture_ids, texts, pictures, grade), "i2t": back}


def grades_of(given: NDArray[Any]) -> NDArray[np.int64]:
    """How relevant pairs [pairs] are. Raises `DataError` for what is no whole number of 1 or more."""
    grades = numbers_of(given, "relevant")
    if not ((grades >= 1) & (grades <= MOST_GRADE) & (grades == np.rint(grades))).all():
        raise DataError(f"relevant: true and false, or grades from 0 to {MOST_GRADE} in whole numbers, are needed")
    return grades.astype(np.int64)


def positions_of(about: Any, texts: int, pictures: int) -> NDArray[np.int64]:
    """One position of a picture for each text. Raises `DataError` for anything else."""
    found = array_of(about, "about")
    if found.shape != (texts,) or found.dtype.kind not in "iu":
        raise DataError(f"about of shape {found.shape}: the position of a picture for each of {texts} texts is needed")
    if texts and not 0 <= int(found.min()) <= int(found.max()) < pictures:
        raise DataError(f"about: positions from 0 to {pictures - 1} are needed")
    return found.astype(np.int64)


def ids_of(given: Sequence[str] | None, count: int, letter: str) -> tuple[str, ...]:
    """The ids, or numbers in their place. Raises `DataError` where their number differs."""
    key = "text_ids" if letter == "t" else "picture_ids"
    ids = tuple(f"{letter}{i:07d}" for i in range(count)) if given is None else tuple(list_from(key, given, "ids"))
    if len(ids) != count:
        raise DataError(f"{len(ids)} ids for {count} rows")
    return ids


def unit(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1. Raises `DataError` for a row that has no direction."""
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise DataError("embeddings: a row is zero or holds what is no number")
    scaled: NDArray[np.float32] = (matrix / lengths).astype(np.float32)
    return scaled
