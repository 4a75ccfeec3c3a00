"""Hybrid search: where an index reads words too, a text is looked for by its vector and by its words.

What words find joins the candidates by its similarity; how much words count beside vectors is for a reranker to say
(`reranker=lexical`), whose weight is chosen on validation data like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from picdesk.errors import ConfigError
from picdesk.filters.language import Filter
from picdesk.interfaces import Embeddings, Index, Side
from picdesk.text.alike import words_of
from picdesk.trec.runs import Run

MOST, FEW = 0.8, 0.05
"""The share of a column's words that make a query of it, and the share of queries of which that may be chance."""


def find(index: Index, queries: Embeddings, texts: Sequence[str], top_k: int, wanted: Filter | None = None) -> Run:
    """The `top_k` best items of each query; with what its text finds by words where the index reads them."""
    if texts and index.words:
        return index.search_both(queries, texts, top_k, wanted)
    return index.search(queries, top_k) if wanted is None else index.search_where(queries, top_k, wanted)


def find_scored(index: Index, queries: Side, top_k: int) -> Run:
    """The same for queries that are scored. Raises `ConfigError` where words would find a picture by the very text that asks."""
    assert queries.embeddings is not None
    for name in index.words:
        told = made_of(queries, name)
        if told:
            raise ConfigError(
                f"index.words={name}: {told}, so that each would find its picture by itself; name other columns"
            )
    return find(index, queries.embeddings, queries.texts, top_k)


def made_of(queries: Side, name: str) -> str:
    """How queries are made of what this column says of their own pictures: word for word, whatever the case, spaces and signs
    between, or by most of its words; empty where they are not."""
    near = 0
    for text, fields in zip(queries.texts, queries.fields, strict=False):
        asked, whole = words_of(text), join_words(words_of(text))
        said = [words_of(value) for value in values_of(fields, name)]
        if any(own and (join_words(own) if "".join(own).isascii() else " ".join(own)) in whole for own in said):
            return "the queries that are scored are made of it"
        near += any(own and len(set(own) & set(asked)) >= MOST * len(set(own)) for own in said)
    if near > FEW * len(queries.texts):
        return f"most of what it says stands in {near:,} of {len(queries.texts):,} queries that are scored"
    return ""


def join_words(words: Sequence[str]) -> str:
    """Words with one space around each, so that a run of words is found in others as a whole, where spaces part words."""
    return f" {' '.join(words)} "


def values_of(fields: Mapping[str, str | Sequence[str]], name: str) -> tuple[str, ...]:
    """What a field says: one text, several, or none. `reranker=lexical` makes one text of all; a query is made of one tag."""
    said = fields.get(name, ())
    return (said,) if isinstance(said, str) else tuple(said)
