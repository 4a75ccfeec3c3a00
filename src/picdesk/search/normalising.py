"""Scores of one query brought to a scale on which they can be added. Each rule keeps the order, whatever the signs.

Every function takes `scores` [queries, depth] float64 and `known` alike (which of them there are), and gives [queries, depth];
what is not known becomes 0. Dividing by the sum of the scores is not among them: where the sum is negative, as it may be with
cosines, that turns the order upside down.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


def minmax(scores: Doubles, known: Flags) -> Doubles:
    """The lowest becomes 0, the highest 1; all 0 where they are equal."""
    low = np.where(known, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    high = np.where(known, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return _ratio(scores, low, high - low, known)


def zscore(scores: Doubles, known: Flags) -> Doubles:
    """Mean 0, standard deviation 1; all 0 where they are equal."""
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, scores, 0).sum(axis=1, keepdims=True) / count
    spread = np.sqrt((np.where(known, scores - mean, 0) ** 2).sum(axis=1, keepdims=True) / count)
    flat = np.where(known, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    flat = flat >= np.where(known, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    return _ratio(scores, mean, np.where(flat, 0, spread), known)


def rank(scores: Doubles, known: Flags) -> Doubles:
    """The best becomes 1, the worst 0, the others evenly between; equal scores share the mean of their places."""
    return np.where(known, 1 - (places(scores, known) - 1) / np.maximum(known.sum(axis=1, keepdims=True) - 1, 1), 0)


def softmax(scores: Doubles, known: Flags, temperature: float = 1.0) -> Doubles:
    """exp(score / temperature), divided by the sum over the candidates."""
    high = np.where(known, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    shifted = np.where(known, scores - np.where(np.isfinite(high), high, 0), -np.inf) / temperature
    powers = np.exp(shifted)
    return np.asarray(powers / np.maximum(powers.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny))


def none(scores: Doubles, known: Flags) -> Doubles:
    """As they are."""
    return np.where(known, scores, 0)


def places(scores: Doubles, known: Flags) -> Doubles:
    """Place of each known score, 1 for the highest; equal ones share the mean of their places. What is not known comes last."""
    ranked = np.where(known, scores, -np.inf)
    order = np.argsort(-ranked, axis=1, kind="stable")
    ordered = np.take_along_axis(ranked, order, axis=1)
    column = np.arange(scores.shape[1])
    new = np.ones(ordered.shape, bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, column, 0), axis=1)
    ends = np.ones(ordered.shape, bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, column, scores.shape[1])[:, ::-1], axis=1)[:, ::-1]
    out = np.empty(scores.shape)
    np.put_along_axis(out, order, (first + last) / 2 + 1, axis=1)
    return out


def _ratio(scores: Doubles, start: Doubles, width: Doubles, known: Flags) -> Doubles:
    usable = known & (width > 0) & np.isfinite(width)
    part = np.divide(np.where(usable, scores - np.where(usable, start, 0), 0), np.where(width > 0, width, 1))
    return np.where(usable, part, 0.0)
