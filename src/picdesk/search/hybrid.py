"""Hybrid search: where an index reads words too, a text is looked for by its vector and by its words.

What words find joins the candidates by its similarity; how much words count beside vectors is for a reranker to say
(`reranker=lexical`), whose weight is chosen on validation data like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from picdesk.errors import ConfigError
from picdesk.filters.language import Filter
from picdesk.interfaces import Embeddings, Index, Side
from picdesk.trec.runs import Run


def find(index: Index, queries: Embeddings, texts: Sequence[str], top_k: int, wanted: Filter | None = None) -> Run:
    """The `top_k` best items of each query; with what its text finds by words where the index reads them."""
    if texts and index.words:
        return index.search_both(queries, texts, top_k, wanted)
    return index.search(queries, top_k) if wanted is None else index.search_where(queries, top_k, wanted)


def find_scored(index: Index, queries: Side, top_k: int) -> Run:
    """The same for queries that are scored. Raises `ConfigError` where words would find a picture by the very text that asks."""
    assert queries.embeddings is not None
    own = own_words(queries, index.words)
    if own:
        told = "the queries that are scored are made of it, so that each would find its picture by itself"
        raise ConfigError(f"index.words={own}: {told}; name other columns")
    return find(index, queries.embeddings, queries.texts, top_k)


def own_words(queries: Side, words: Sequence[str]) -> str:
    """The first of these columns that a query is made of; empty where there is none."""
    for text, fields in zip(queries.texts, queries.fields, strict=False):
        for name in words:
            if any(said and said in text for said in values_of(fields, name)):
                return name
    return ""


def values_of(fields: Mapping[str, str | Sequence[str]], name: str) -> tuple[str, ...]:
    """What a field says: one text, several, or none."""
    said = fields.get(name, ())
    return (said,) if isinstance(said, str) else tuple(said)
