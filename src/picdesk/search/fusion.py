"""How the scores of the search and of the rerankers become one order.

value = (1 - sum of w) * similarity + sum over rerankers of w * score, both normalised over the candidates of the query.

- All weights 0: the run itself, to the byte. A weight of 1: the reranker's order, equal scores in the order of the search.
- A candidate that no reranker scored (NaN) keeps its place in the list; the others are arranged among their own places. So
  candidates beyond a reranker's `top_k`, which it does not score, follow behind.
- A candidate that one of several rerankers did not score has its similarity in the place of that score.
- Candidates that are equal in value keep the order of the search; they count as tied only if the search scored them equal too.
  What stands between two that are tied, unscored, counts as tied with them: a list cannot say otherwise.
- A list in which nothing was scored stays as the search made it, scores included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError
from picdesk.parts import config_part
from picdesk.search import normalising
from picdesk.search.normalising import Doubles, Flags
from picdesk.trec.runs import Floats, Ints, Run

RULES: dict[str, Callable[..., Doubles]] = {
    "minmax": normalising.minmax,
    "zscore": normalising.zscore,
    "rank": normalising.rank,
    "softmax": normalising.softmax,
    "none": normalising.none,
}

_LARGEST = 1e38


@dataclass(frozen=True)
class Prepared:
    """Scores that are ready to be added: `search` [queries, depth] and `reranks` [rerankers, queries, depth], normalised, with
    the similarity where a reranker is silent; `known` says where each is not; `raw` are the scores as they came."""

    search: Doubles
    reranks: Doubles
    raw: Doubles
    known: Flags

    @property
    def movable(self) -> Flags:
        """Candidates that at least one reranker scored [queries, depth]."""
        return np.asarray(self.known.any(axis=0))


class Mixture:
    """What `weighted_sum` and `rrf` share: a rule that normalises, and the arithmetic after it."""

    mixes = True

    def __init__(self, rule: Callable[[Doubles, Flags], Doubles]) -> None:
        self.rule = rule

    def prepare(self, run: Run, rerank_scores: Sequence[NDArray[np.float32]]) -> Prepared:
        """Normalise once, so that many weights can be tried. Raises `DataError` for shapes that differ or infinite scores."""
        for scores in rerank_scores:
            if scores.shape != run.index.shape:
                raise DataError(f"reranking: scores of shape {scores.shape} for candidates of shape {run.index.shape}")
            if np.isinf(scores).any():
                raise DataError(f"reranking: {int(np.isinf(scores).sum())} scores are infinite")
        raw = np.array(rerank_scores, np.float64).reshape(-1, *run.index.shape)
        known = ~np.isnan(raw) & (run.index >= 0)
        movable = np.asarray(known.any(axis=0))
        search = self.rule(np.where(movable, run.scores, 0).astype(np.float64), movable)
        reranks = [
            np.where(there, self.rule(np.where(there, scores, 0), there), search)
            for scores, there in zip(raw, known, strict=True)
        ]
        return Prepared(search, np.array(reranks).reshape(raw.shape), raw, known)

    def values(self, prepared: Prepared, weights: Sequence[float]) -> Doubles:
        """The value of each candidate [queries, depth] under these weights."""
        check_weights(weights)
        whole = [i for i, weight in enumerate(weights) if weight == 1]
        if whole and (prepared.known[whole[0]] == prepared.movable).all():
            alone: Doubles = np.nan_to_num(prepared.raw[whole[0]])  # unnormalised: the reranker's order by construction
            return alone
        value: Doubles = rest_of(weights) * prepared.search
        for weight, scores in zip(weights, prepared.reranks, strict=True):
            if weight:
                value += weight * scores
        return value

    def fuse(self, run: Run, rerank_scores: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> Run:
        """The candidates in their new order, with falling scores; `run` itself where all weights are 0 or nothing is scored."""
        check_weights(weights)
        if not any(weights):
            return run
        prepared = self.prepare(run, rerank_scores)
        if not prepared.movable.any():
            return run
        return arrange(run, self.values(prepared, weights), prepared.movable)


@config_part
class WeightedSum(Mixture):
    """Sum of normalised scores, each times its weight; `normalisation` is minmax, zscore, rank, softmax or none.

    `temperature` is that of softmax: the smaller, the more the first candidates stand out.
    """

    def __init__(self, normalisation: str = "minmax", temperature: float = 1.0) -> None:
        if normalisation not in RULES:
            raise ConfigError(f"fusion.normalisation={normalisation}: choose one of {', '.join(RULES)}")
        if not temperature > 0:
            raise ConfigError(f"fusion.temperature={temperature}: more than 0 is needed")
        rule = RULES[normalisation]
        super().__init__(partial(rule, temperature=temperature) if normalisation == "softmax" else rule)


@config_part
class Rrf(Mixture):
    """Reciprocal rank fusion: 1 / (k + place), weighted; with one reranker and weight 0.5 it is the published rule.

    Cormack, Clarke and Buettcher, SIGIR 2009, where k = 60.
    """

    def __init__(self, k: float = 60) -> None:
        if k < 0:
            raise ConfigError(f"fusion.k={k}: 0 or more is needed")
        super().__init__(lambda scores, known: np.where(known, 1 / (k + normalising.places(scores, known)), 0))


@config_part
class Single:
    """No fusion: the run of the search as it is."""

    mixes = False

    def fuse(self, run: Run, rerank_scores: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> Run:
        """Give `run` back, whatever the rerankers said."""
        return run


def check_weights(weights: Sequence[float]) -> None:
    """Raise `ConfigError` unless each weight lies in [0, 1] and they add up to at most 1."""
    if any(not 0 <= weight <= 1 for weight in weights) or sum(weights) > 1 + 1e-9:
        shown = ", ".join(f"{weight:g}" for weight in weights)
        raise ConfigError(
            f"reranker.weight: {shown}; each must lie in [0, 1] and they may add up to 1 (the search has the rest)"
        )


def rest_of(weights: Sequence[float]) -> float:
    """What the search has of 1: nothing where the weights add up to 1 but for rounding, which must not order equal candidates."""
    rest = 1 - sum(weights)
    return 0.0 if abs(rest) < 1e-9 else rest


def arrange(run: Run, value: Doubles, movable: Flags) -> Run:
    """The run with its movable candidates sorted by `value` among their own places; the others stay where they are."""
    order = order_of(value, movable)
    index = np.take_along_axis(run.index, order, axis=1)
    values = np.take_along_axis(np.where(movable, value, np.nan), order, axis=1)
    similarity = np.take_along_axis(run.scores, order, axis=1)
    touched = np.asarray(movable.any(axis=1))
    scores = np.where(touched[:, None], falling(index, values, similarity), run.scores)
    reranked = touched if run.reranked is None else touched | run.reranked
    return replace(run, index=index, scores=scores, reranked=reranked)


def order_of(value: Doubles, movable: Flags) -> NDArray[np.int64]:
    """For each place of the new list the place in the old one [queries, depth]."""
    depth = value.shape[1]
    places = np.broadcast_to(np.arange(depth), value.shape)
    ranked = np.argsort(np.where(movable, -value, np.inf), axis=1, kind="stable")  # movable ones first, best first
    slots = np.argsort(~movable, axis=1, kind="stable")  # their places, from the front; then those of the others
    order = np.array(places)
    count = movable.sum(axis=1, keepdims=True)
    np.put_along_axis(order, slots, np.where(places < count, ranked, slots), axis=1)
    return order


def falling(index: Ints, values: Doubles, similarity: Floats) -> Floats:
    """Scores [queries, depth] float32 that fall from left to right and are equal only for candidates that are tied.

    An unscored candidate (value NaN) takes the score next below that of the candidate before it. `_LARGEST` leaves room for
    such steps below the lowest value.
    """
    known = ~np.isnan(values)
    joined = with_the_one_before(index, values, similarity)
    first = np.where(known.any(axis=1), values[np.arange(len(values)), known.argmax(axis=1)], 0)
    scores = np.empty(values.shape, np.float32)
    before = np.nextafter(first.clip(-_LARGEST, _LARGEST).astype(np.float32), np.float32(np.inf))
    for column in range(values.shape[1]):
        own = np.where(known[:, column], values[:, column].clip(-_LARGEST, _LARGEST), np.inf).astype(np.float32)
        lower = np.minimum(own, np.nextafter(before, np.float32(-np.inf)))
        scores[:, column] = before = np.where(joined[:, column], before, lower)
    return np.where(index >= 0, scores, np.float32(-np.inf))


def with_the_one_before(index: Ints, values: Doubles, similarity: Floats) -> Flags:
    """Which candidates [queries, depth] are tied with the one before them.

    Two scored ones are tied if value and similarity are equal, two unscored ones if their similarity is; whatever stands
    between the two of them is tied with both.
    """
    known = ~np.isnan(values)
    steps = np.zeros((len(values), values.shape[1] + 1), np.int32)  # where a stretch of tied candidates begins and ends
    rows = np.arange(len(values))
    last = {kind: np.full(len(values), -1) for kind in (True, False)}
    for column in range(values.shape[1]):
        for kind, place in last.items():
            here = (index[:, column] >= 0) & (known[:, column] == kind)
            alike = here & (place >= 0) & (similarity[:, column] == similarity[rows, place])
            if kind:
                alike &= values[:, column] == values[rows, place]
            steps[rows[alike], place[alike] + 1] += 1
            steps[alike, column + 1] -= 1
            place[here] = column
    return np.asarray(steps.cumsum(axis=1)[:, :-1] > 0)
