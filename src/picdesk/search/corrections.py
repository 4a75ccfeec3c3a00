"""Correcting hubness: some items are near to every query and crowd out the right ones; a bank of other queries shows which.

Every rule here subtracts from an item's similarity what the bank says of the item, so query q and item g score

    s(q, g) - gate(q) * bias(g)

and only `bias` (and, for the dynamic rule, which queries are corrected) differs. Biases are centred, so that scores stay on the
scale of cosines. The bank must not hold the queries that are reported: see `transductive`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError
from picdesk.parts import config_part
from picdesk.products import quick_product
from picdesk.search.grouping import shared_by_equals
from picdesk.trec.runs import Floats

Longs = NDArray[np.int64]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Blocks = Callable[[], Iterable[Floats]]
"""The gallery, some rows at a time, as often as it is asked for."""
_CELLS = 1 << 22
BANKS = ("train", "val")


@dataclass(frozen=True)
class Bank:
    """Vectors [bank, dim] of other queries. Pairs `item[i]`, `row[i]` belong together and are known to: item `item[i]` is what
    row `row[i]` of the bank asks for, so that row says nothing of how it attracts others, and is not counted for it."""

    matrix: Floats
    item: Longs
    row: Longs

    @classmethod
    def of(cls, matrix: Floats, item: Longs | None = None, row: Longs | None = None) -> Bank:
        """A bank; without pairs none of its queries asks for an item of the gallery. Raises `DataError` for an empty one."""
        if not len(matrix):
            raise DataError("scores.bank: there is no query in it")
        none = np.empty(0, np.int64)
        if item is None or row is None:
            return cls(matrix, none, none)
        order = np.argsort(item, kind="stable")
        return cls(matrix, item[order], row[order])


@dataclass(frozen=True)
class Fitted:
    """What the bank says: the `bias` [items] that is subtracted, centred by `centre`; `gated` (None: for all queries) says which
    items a query's nearest must be for it to be corrected. `rows` [bank] is what further items need beside the bank."""

    bias: Floats
    centre: float
    gated: Flags | None
    rows: Doubles

    def take(self, items: Longs) -> Fitted:
        """The same for some of the items."""
        return replace(self, bias=self.bias[items], gated=None if self.gated is None else self.gated[items])


class Correction:
    """What all rules share. `bank` names the part whose queries are the bank, at most `most` of them (0: all).

    `transductive` takes the reported queries themselves as the bank, all at once, which no system that answers one query after
    the other can do; whatever was found that way is labelled.
    """

    name = "plain"
    tunable: Mapping[str, tuple[float, ...]] = {}
    """What `task=tune_weights` tries for each setting."""

    def __init__(self, bank: str = "train", transductive: bool = False, most: int = 20_000) -> None:
        if bank not in BANKS:
            hint = "; the reported queries themselves: scores.transductive=true" if bank in ("test", "all") else ""
            raise ConfigError(f"scores.bank={bank}: choose one of {', '.join(BANKS)}{hint}")
        if most < 0:
            raise ConfigError(f"scores.most={most}: a number of queries, or 0 for all of them")
        self.bank, self.transductive, self.most = bank, transductive, most

    @property
    def active(self) -> bool:
        """Whether anything is changed."""
        return True

    def description(self) -> str:
        """The rule with its settings: `nnn k=128 weight=0.75`."""
        settings = [f"{key}={getattr(self, key):g}" for key in self.tunable]
        return " ".join([self.name, *settings, *(["TRANSDUCTIVE"] if self.transductive else [])])

    def fit(self, bank: Bank, gallery: Blocks) -> Fitted:
        """What the bank says of the whole gallery."""
        rows = self.prepare(bank, gallery)
        raw, gated = shared_by_equals(*self.statistics(bank, gallery, rows), gallery(), bank.item, bank.row)
        centre = float(raw.mean())
        return Fitted((raw - centre).astype(np.float32), centre, gated, rows)

    def extend(self, bank: Bank, gallery: Blocks, fitted: Fitted) -> Fitted:
        """What the bank says of further items, on the scale of those that were fitted; they alone are in the result."""
        told = self.statistics(bank, gallery, fitted.rows)
        raw, gated = shared_by_equals(*told, gallery(), bank.item, bank.row)
        return replace(fitted, bias=(raw - fitted.centre).astype(np.float32), gated=gated)

    def prepare(self, bank: Bank, gallery: Blocks) -> Doubles:
        """What the rule must know of each query of the bank first [bank]."""
        return np.zeros(len(bank.matrix))

    def statistics(self, bank: Bank, gallery: Blocks, rows: Doubles) -> tuple[Doubles, Flags | None]:
        """The bias of each item [items], not centred yet, and the gate."""
        return np.concatenate([self.bias(block, rows) for _, block in similarities(bank, gallery)]), None

    def bias(self, block: Floats, rows: Doubles) -> Doubles:
        """The bias of some items out of their similarities with the bank, [items, bank]; -inf is not counted."""
        raise NotImplementedError


def similarities(bank: Bank, gallery: Blocks) -> Iterator[tuple[int, Floats]]:
    """The first item's position and the similarities [items, bank] of some items at a time; known pairs are -inf."""
    step = max(1, _CELLS // len(bank.matrix))
    start = 0
    for rows in gallery():
        for at in range(0, len(rows), step):
            block = quick_product(rows[at : at + step], bank.matrix)
            own = slice(*np.searchsorted(bank.item, [start, start + len(block)]))
            block[bank.item[own] - start, bank.row[own]] = -np.inf
            yield start, block
            start += len(block)


@config_part
class Plain(Correction):
    """The similarities as they are."""

    def __init__(self) -> None:
        super().__init__()

    @property
    def active(self) -> bool:
        """Nothing is changed."""
        return False


@config_part
class Nnn(Correction):
    """Nearest neighbour normalisation: `weight` times the mean of the `k` largest similarities with the bank is subtracted.

    Chowdhury et al., "Nearest Neighbor Normalization Improves Multimodal Retrieval" (EMNLP 2024), equation 3.
    """

    name = "nnn"
    tunable: Mapping[str, tuple[float, ...]] = {"k": (1, 4, 16, 64, 128, 256), "weight": (0.25, 0.5, 0.75, 1.0)}

    def __init__(
        self, k: int = 128, weight: float = 0.75, bank: str = "train", transductive: bool = False, most: int = 20_000
    ) -> None:
        super().__init__(bank, transductive, most)
        if k < 1 or weight < 0:
            raise ConfigError(f"scores.k={k}, scores.weight={weight}: k is 1 or more, weight 0 or more")
        self.k, self.weight = k, weight

    def bias(self, block: Floats, rows: Doubles) -> Doubles:
        """The weighted mean of the k largest."""
        return self.weight * mean_of_largest(block, self.k)


@config_part
class Csls(Nnn):
    """Cross-domain similarity local scaling: 2 s(q, g) - r(q) - r(g), r the mean of the `k` largest similarities.

    r(q) is the same for all items of a query, so the order is that of s(q, g) - r(g) / 2, which is the score here.
    Conneau et al., "Word Translation Without Parallel Data" (ICLR 2018), equation 3.
    """

    name = "csls"
    tunable: Mapping[str, tuple[float, ...]] = {"k": (1, 2, 5, 10, 20, 50, 100)}

    def __init__(self, k: int = 10, bank: str = "train", transductive: bool = False, most: int = 20_000) -> None:
        super().__init__(k, 0.5, bank, transductive, most)


@config_part
class InvertedSoftmax(Correction):
    """exp(beta s(q, g)), divided by its sum over the bank; as a score: s(q, g) - log(sum) / beta.

    Smith et al., "Offline bilingual word vectors, orthogonal transformations and the inverted softmax" (ICLR 2017).
    """

    name = "inverted_softmax"
    tunable: Mapping[str, tuple[float, ...]] = {"beta": (2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)}

    def __init__(self, beta: float = 20.0, bank: str = "train", transductive: bool = False, most: int = 20_000) -> None:
        super().__init__(bank, transductive, most)
        if not beta > 0:
            raise ConfigError(f"scores.beta={beta}: above 0")
        self.beta = beta

    def bias(self, block: Floats, rows: Doubles) -> Doubles:
        """The soft maximum over the bank."""
        return log_sum(self.beta * block.astype(np.float64)) / self.beta


@config_part
class DynamicInvertedSoftmax(InvertedSoftmax):
    """The inverted softmax for those queries alone whose nearest item is the nearest of a query of the bank too.

    Bogolin et al., "Cross Modal Retrieval with Querybank Normalisation" (CVPR 2022), section 3.3.
    """

    name = "dynamic_inverted_softmax"

    def prepare(self, bank: Bank, gallery: Blocks) -> Doubles:
        """The largest similarity of each query of the bank with any item."""
        best = np.full(len(bank.matrix), -np.inf)
        for _, block in similarities(bank, gallery):
            np.maximum(best, block.max(axis=0), out=best)
        return best

    def statistics(self, bank: Bank, gallery: Blocks, rows: Doubles) -> tuple[Doubles, Flags | None]:
        """Gated are the items that are nearest to at least one query of the bank."""
        raw, gated = [], []
        for _, block in similarities(bank, gallery):
            raw.append(self.bias(block, rows))
            gated.append(((block >= rows) & np.isfinite(block)).any(axis=1))
        return np.concatenate(raw), np.concatenate(gated)


@config_part
class Sinkhorn(InvertedSoftmax):
    """exp(beta s) of bank and gallery scaled until every query of the bank, and every item, has as much as any other.

    Items keep the factor that was found for them. With `rounds=1` it is the inverted softmax over a bank whose rows were
    normalised. Cuturi, "Sinkhorn distances" (NIPS 2013), algorithm 1, in logarithms.
    """

    name = "sinkhorn"

    def __init__(
        self,
        beta: float = 20.0,
        rounds: int = 10,
        bank: str = "train",
        transductive: bool = False,
        most: int = 20_000,
    ) -> None:
        super().__init__(beta, bank, transductive, most)
        if rounds < 1:
            raise ConfigError(f"scores.rounds={rounds}: at least 1")
        self.rounds = rounds

    def prepare(self, bank: Bank, gallery: Blocks) -> Doubles:
        """The logarithm of each row's factor [bank] after `rounds` rounds."""
        rows = np.zeros(len(bank.matrix))
        for _ in range(self.rounds):
            total = np.full(len(rows), -np.inf)
            for _, block in similarities(bank, gallery):
                powers = self.beta * block.astype(np.float64)
                item = log_sum(powers + rows)[:, None]
                np.logaddexp(total, log_sum((powers - item).T), out=total)
            rows = -total
            rows -= rows.mean()
        return rows

    def bias(self, block: Floats, rows: Doubles) -> Doubles:
        """The soft maximum over the bank, each of its rows by its factor."""
        return log_sum(self.beta * block.astype(np.float64) + rows) / self.beta


def mean_of_largest(block: Floats, k: int) -> Doubles:
    """The mean of the k largest of each row, fewer where there are fewer; 0 where there is none."""
    k = min(k, block.shape[1])
    largest = np.partition(block, block.shape[1] - k, axis=1)[:, block.shape[1] - k :].astype(np.float64)
    there = np.isfinite(largest)
    return np.asarray(np.where(there, largest, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def log_sum(powers: Doubles) -> Doubles:
    """log(sum(exp(powers))) of each row; -inf is nothing, and a row of nothing gives 0."""
    high = powers.max(axis=1, keepdims=True)
    safe = np.where(np.isfinite(high), high, 0.0)
    total = np.exp(powers - safe).sum(axis=1)
    return np.asarray(np.where(total > 0, np.log(np.where(total > 0, total, 1)) + safe[:, 0], 0.0))


def settings_to_try(correction: Any) -> list[dict[str, float]]:
    """Every combination of what there is to try."""
    found: list[dict[str, float]] = [{}]
    for key, values in correction.tunable.items():
        found = [{**chosen, key: value} for chosen in found for value in values]
    return found
