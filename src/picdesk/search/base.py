"""What every index has, whatever finds for it: the defaults of the contract in `interfaces.Index`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from picdesk.errors import ConfigError, DataError
from picdesk.filters.columns import Columns
from picdesk.filters.language import Filter
from picdesk.interfaces import Embeddings
from picdesk.trec.runs import Floats, Run

Shards = Callable[[], Iterable[Embeddings]]
"""Gives the shards from the first on, each time it is called."""


class IndexBase:
    """An index of one's own has `ids`, `fingerprint`, `build` and `search`; the rest is here, as far as it goes."""

    tunable: ClassVar[bool] = False
    corrected: ClassVar[bool] = False
    of_vectors: ClassVar[bool] = True
    searches_among: ClassVar[bool] = False
    keeps_columns: ClassVar[bool] = False
    words: Sequence[str] = ()

    @property
    def at_work(self) -> Any:
        """The index that does the work: this one, unless it hands all on to another."""
        return self

    @property
    def inverted_lists(self) -> int:
        """None."""
        return 0

    @property
    def probes(self) -> int:
        """None."""
        return 0

    def probe(self, lists: int) -> None:
        """There are no lists to look into."""

    @property
    def has_columns(self) -> bool:
        """No columns were given to it."""
        return False

    def know(self, known: Columns) -> None:
        """Forget it: an index that `keeps_columns` has its own."""

    def costs_less(self, admitted: int, depth: int) -> bool:
        """It cannot look among some of its items, so that costs nothing less."""
        return False

    def search_among(self, queries: Embeddings, top_k: int, admitted: NDArray[np.bool_]) -> Run:
        """Only an index that `searches_among` some of its items has this."""
        raise NotImplementedError

    def count_where(self, wanted: Filter) -> int:
        """Only an index that `keeps_columns` has this."""
        raise NotImplementedError

    def search_where(self, queries: Embeddings, top_k: int, wanted: Filter) -> Run:
        """Only an index that `keeps_columns` has this."""
        raise NotImplementedError

    def search_both(self, queries: Embeddings, texts: Sequence[str], top_k: int, wanted: Filter | None) -> Run:
        """Only an index that reads `words` has this."""
        raise NotImplementedError

    def to_stream(self) -> Any:
        """Refuse: there are no inverted lists that could stay on disk."""
        raise ConfigError(f"on_disk=true: {type(self).__name__} has no inverted lists; choose ivf_flat or factory")

    def expect(self, queries: int | None, depth: int) -> None:
        """It is built the same, however many queries come."""

    def remember_in(self, choices: Any) -> None:
        """It chooses nothing that would have to be remembered."""

    @property
    def vectors(self) -> Embeddings | None:
        """Not to be had, unless an index says otherwise."""
        return None

    def build(self, gallery: Embeddings, queries: Embeddings | None = None) -> None:
        """Take in the whole gallery."""
        raise NotImplementedError

    def build_from_shards(self, shards: Shards) -> None:
        """Take in what comes in shards, all of it at once in memory."""
        self.build(join_shards(list(shards())))

    def add(self, more: Embeddings) -> None:
        """Refuse further items."""
        raise ConfigError(f"index={type(self).__name__}: takes no further items; build it anew")

    def remove(self, ids: Sequence[str]) -> None:
        """Refuse to let items go."""
        raise ConfigError(f"index={type(self).__name__}: lets no items go; build it anew")

    def save(self, folder: Path | str, made_from: Mapping[str, Any] | None = None) -> None:
        """Refuse to be kept."""
        raise ConfigError(f"index={type(self).__name__}: cannot be saved; it is built anew each time")

    def load(self, folder: Path | str, expected: Mapping[str, Any] | None = None) -> None:
        """Refuse to be opened."""
        raise ConfigError(f"index={type(self).__name__}: cannot be saved, so there is nothing to open")

    def similarity(self, queries: Embeddings, run: Run) -> Floats | None:
        """None: the scores of the run are similarities themselves."""
        return None

    def to_tune(self, items: Embeddings, queries: Embeddings) -> Any:
        """Refuse: there is no ladder of settings."""
        raise ConfigError(f"index={type(self).__name__} has no settings that can be tuned")


def join_shards(parts: Sequence[Embeddings]) -> Embeddings:
    """All shards in one."""
    return Embeddings(tuple(i for part in parts for i in part.ids), np.concatenate([part.matrix for part in parts]))


def sample_of(shards: Shards, size: int, seed: int = 0) -> tuple[Floats, int]:
    """An even random sample of at most `size` vectors over all shards (Vitter's reservoir), and how many there are in all."""
    rng = np.random.default_rng(seed)
    kept: Floats | None = None
    seen = 0
    for shard in shards():
        if kept is None:
            kept = np.empty((size, shard.dim), np.float32)
        places = np.arange(seen, seen + len(shard.ids))
        drawn = np.where(places < size, places, (rng.random(len(places)) * (places + 1)).astype(np.int64))
        chosen = drawn < size
        kept[drawn[chosen]] = shard.matrix[chosen]
        seen += len(shard.ids)
    if kept is None or not seen:
        raise DataError("index: the shards hold no vectors; there is nothing to search")
    return kept[: min(size, seen)], seen
