"""What is asked of an index where only some of its items may be found, as those that a filter admits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from picdesk.filters.columns import Columns
    from picdesk.filters.language import Filter
    from picdesk.interfaces import Embeddings
    from picdesk.trec.runs import Run


class PartialSearch(Protocol):
    """The part of `interfaces.Index` that a filter asks; `search.base.IndexBase` has what is true of most.

    `searches_among`: it looks among some of its items by itself (`costs_less`, `search_among`). `keeps_columns`: it takes the
    columns of its items (`know`) and asks a filter by itself (`count_where`, `search_where`). `words`: the columns in which it
    looks for a text word by word as well (`search_both`); none where it compares vectors alone.
    """

    searches_among: ClassVar[bool]
    keeps_columns: ClassVar[bool]
    words: Sequence[str]

    @property
    def at_work(self) -> Any:
        """The index that does the work: itself, or the one that it chose."""

    @property
    def inverted_lists(self) -> int:
        """How many inverted lists a search may look into; 0 where there are none."""

    @property
    def probes(self) -> int:
        """How many of them a search usually looks into."""

    def probe(self, lists: int) -> None:
        """Look into so many lists from now on; what is usual stays what it was."""

    @property
    def has_columns(self) -> bool:
        """Whether the columns of its items were given to it."""

    def know(self, known: Columns) -> None:
        """Take in what is known of the items that are put in from now on."""

    def costs_less(self, admitted: int, depth: int) -> bool:
        """Whether to search among so many items costs less than a list of that depth over all."""

    def search_among(self, queries: Embeddings, top_k: int, admitted: NDArray[np.bool_]) -> Run:
        """The `top_k` best of the items that are admitted [ids]."""

    def count_where(self, wanted: Filter) -> int:
        """How many items fulfil a filter."""

    def search_both(self, queries: Embeddings, texts: Sequence[str], top_k: int, wanted: Filter | None) -> Run:
        """The `top_k` nearest of each query and those that its text finds by words, of the items that fulfil a filter: up to
        twice as many, each with its similarity."""

    def search_where(self, queries: Embeddings, top_k: int, wanted: Filter) -> Run:
        """The `top_k` best of the items that fulfil a filter."""
