"""An index whose scores are corrected by what a bank of queries says of its items: searched, saved and opened like any other.

A corrected score is an inner product in one dimension more, [q, gate(q)] . [g, -bias(g)], so exact search stays exact. The
candidates of an approximate index are scored and ordered anew; what it did not find stays unfound.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from picdesk.errors import ConfigError, DataError, MissingFileError, examples
from picdesk.files import written_whole
from picdesk.interfaces import Embeddings, Index
from picdesk.search.base import IndexBase
from picdesk.search.corrections import Bank, Blocks, Correction, Fitted
from picdesk.search.indexes import FlatIndex
from picdesk.trec.runs import Floats, Run, id_ranks, order_rows

FILE = "correction.npz"
_ROWS = 4096


class Augmented(Embeddings):
    """Ids and vectors with a dimension more, whose rows are not of length 1."""

    def __post_init__(self) -> None:
        """Rows have any length."""


def blocks_of(matrix: Floats) -> Blocks:
    """A matrix that is in memory, some rows at a time."""
    return lambda: (matrix[start : start + _ROWS] for start in range(0, len(matrix), _ROWS))


def with_bias(gallery: Embeddings, fitted: Fitted) -> Embeddings:
    """The gallery with -bias as its last dimension."""
    return Augmented(gallery.ids, np.ascontiguousarray(np.column_stack([gallery.matrix, -fitted.bias]), np.float32))


def with_gate(queries: Embeddings, gate: Floats) -> Embeddings:
    """Queries with 1 as their last dimension where they are corrected, else 0."""
    return Augmented(queries.ids, np.ascontiguousarray(np.column_stack([queries.matrix, gate]), np.float32))


def gate_of(queries: Embeddings, gallery: Index, fitted: Fitted) -> Floats:
    """1 for each query that is corrected [queries], else 0: by which item is nearest to it."""
    if fitted.gated is None:
        return np.ones(len(queries.ids), np.float32)
    nearest = gallery.search(queries, 1).index[:, 0]
    return np.where(nearest >= 0, fitted.gated[np.maximum(nearest, 0)], False).astype(np.float32)


@dataclass
class Corrected(IndexBase):
    """An index with its correction: `fitted` belongs to `index.ids`, item by item."""

    index: Index
    correction: Correction
    bank: Bank
    fitted: Fitted
    corrected = True

    def __post_init__(self) -> None:
        if self.index.words:
            told = f"scores={self.correction.name} corrects what vectors find, and nothing that words find"
            raise ConfigError(f"index.words={','.join(self.index.words)}: {told}; leave one of them out")

    @property
    def ids(self) -> tuple[str, ...]:
        """The items that can be found."""
        return self.index.ids

    @property
    def inverted_lists(self) -> int:
        """Those of the index inside."""
        return self.index.inverted_lists

    @property
    def probes(self) -> int:
        """Of the index inside."""
        return self.index.probes

    def probe(self, lists: int) -> None:
        """Look into so many lists of the index inside."""
        self.index.probe(lists)

    @property
    def fingerprint(self) -> str:
        """Digest over the items and the correction."""
        parts = [self.index.fingerprint, self.correction.description(), self.fitted.bias.tobytes().hex()]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    @cached_property
    def _exact(self) -> FlatIndex | None:
        """The exact index in one dimension more; None where the inner one is not exact."""
        inside = self.index.vectors
        if inside is None:
            return None
        wide = FlatIndex()
        wide.build(with_bias(inside, self.fitted))
        return wide

    def search(self, queries: Embeddings, top_k: int) -> Run:
        """The `top_k` best items of each query by their corrected scores; equal scores by item id."""
        gate = gate_of(queries, self.index, self.fitted)
        if self._exact is not None:
            return self._exact.search(with_gate(queries, gate), top_k)
        run = self.index.search(queries, top_k)
        there = run.index >= 0
        shift = gate[:, None] * self.fitted.bias[np.where(there, run.index, 0)]
        scores = np.where(there, run.scores - shift, -np.inf).astype(np.float32)
        index, ordered = order_rows(run.index, scores, id_ranks(run.item_ids))
        return replace(run, index=index, scores=ordered, exact=False)  # only these candidates were scored anew

    def similarity(self, queries: Embeddings, run: Run) -> Floats:
        """The similarities [queries, depth] of what a search found, before the correction; -inf where nothing was."""
        gate = gate_of(queries, self.index, self.fitted)
        there = run.index >= 0
        shift = gate[:, None] * self.fitted.bias[np.where(there, run.index, 0)]
        return np.where(there, run.scores + shift, -np.inf).astype(np.float32)

    def build(self, gallery: Embeddings, queries: Embeddings | None = None) -> None:
        """Take in the whole gallery anew."""
        self.index.build(gallery, queries)
        self.fitted = self.correction.fit(self.bank, blocks_of(gallery.matrix))
        self.__dict__.pop("_exact", None)

    def add(self, more: Embeddings) -> None:
        """Take in further items; the bank says of them what it says of any."""
        further = self.correction.extend(Bank.of(self.bank.matrix), blocks_of(more.matrix), self.fitted)
        before = self.index.ids
        self.index.add(more)
        gated = None
        if self.fitted.gated is not None and further.gated is not None:
            gated = np.concatenate([self.fitted.gated, further.gated])
        both = replace(self.fitted, bias=np.concatenate([self.fitted.bias, further.bias]), gated=gated)
        self.fitted = both.take(_places((*before, *more.ids), self.index.ids))
        self.__dict__.pop("_exact", None)

    def remove(self, ids: Sequence[str]) -> None:
        """Take items out."""
        before = self.index.ids
        self.index.remove(ids)
        self.fitted = self.fitted.take(_places(before, self.index.ids))
        self.__dict__.pop("_exact", None)

    def save(self, folder: Path | str, made_from: Mapping[str, Any] | None = None) -> None:
        """Write the index, and beside it what the bank says and the bank itself, which items that are added later need."""
        self.index.save(folder, made_from)
        self.save_correction(folder)

    def save_correction(self, folder: Path | str) -> None:
        """Write what the bank says, and the bank itself, beside an index that is saved already."""
        arrays: dict[str, Any] = {
            "bias": self.fitted.bias,
            "centre": np.float64(self.fitted.centre),
            "rows": self.fitted.rows,
            "bank": self.bank.matrix,
            "ids": np.array(self.index.ids),
            "index": np.array(self.index.fingerprint),
            "told": np.array(self.correction.description()),
        }
        if self.fitted.gated is not None:
            arrays["gated"] = self.fitted.gated
        with written_whole(Path(folder) / FILE) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    def load(self, folder: Path | str, expected: Mapping[str, Any] | None = None) -> None:
        """Open a saved index of this kind with its correction. Raises `MissingFileError` or `DataError` where they do not fit."""
        self.index.load(folder, expected)
        stored = read(Path(folder))
        if str(stored["told"]) != self.correction.description():
            raise DataError(
                f"{folder}: its bank was fitted by scores={stored['told']}, and asked for is {self.correction.description()}"
            )
        if str(stored["index"]) != self.index.fingerprint:
            raise DataError(f"{Path(folder) / FILE}: what the bank says there is of another index than this one")
        gated = stored.get("gated")
        whole = Fitted(stored["bias"], float(stored["centre"]), gated, stored["rows"])
        self.bank = Bank.of(stored["bank"])
        self.fitted = whole.take(_places(tuple(str(name) for name in stored["ids"]), self.index.ids))
        self.__dict__.pop("_exact", None)


def _places(ids: tuple[str, ...], wanted: tuple[str, ...]) -> Any:
    """Where each wanted id stands. Raises `DataError` for those that are not there."""
    place = {name: i for i, name in enumerate(ids)}
    lacking = [name for name in wanted if name not in place]
    if lacking:
        raise DataError(f"scores: the bank says nothing of {len(lacking)} items, for example {examples(lacking)}")
    return np.array([place[name] for name in wanted], np.int64)


def read(folder: Path) -> dict[str, Any]:
    """The arrays beside a saved index. Raises `MissingFileError` or `DataError`."""
    path = folder / FILE
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file; this index was saved without a correction: leave scores out, or save it with one"
        )
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            found = {key: stored[key] for key in stored.files}
            needed = [found[key] for key in ("bias", "centre", "rows", "bank", "ids", "index", "told")]
            whole = len(found["bias"]) == len(found["ids"]) and len(found["rows"]) == len(found["bank"])
            whole = whole and bool(np.isfinite(found["bias"]).all()) and needed[3].ndim == 2
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not what the bank says of an index ({str(error)[:120]})") from None
    if not whole:
        raise DataError(f"{path}: not what the bank says of an index (its parts do not fit)")
    return found
