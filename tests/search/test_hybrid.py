"""Hybrid search in LanceDB: what the words of a text find joins what its vector finds, saved and under a filter too."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.filters.columns import Column, Columns
from picdesk.filters.language import parse_filter
from picdesk.interfaces import Index, Side
from picdesk.search.corrected import Corrected
from picdesk.search.hybrid import find, find_scored
from picdesk.search.lance.index import LanceIndex
from picdesk.trec.runs import Run
from tests.search.vectors import clustered_vectors, embeddings

GALLERY = embeddings(clustered_vectors(300, seed=1), "item")
QUERIES = embeddings(clustered_vectors(3, seed=2), "query")
NAMES = ("Ana O'Neill", "Łódź, naïve café", 'the "Mary Rose" (1545)')
"""Said of item 290, 291 and 292 alone; the rest says a common word."""


@pytest.fixture(autouse=True)
def need_lancedb() -> None:
    """Imported by the process that runs these tests, not by each that collects them: it takes seconds."""
    pytest.importorskip("lancedb", reason="lancedb is not installed (extra: lancedb)")


def known(ids: tuple[str, ...] = GALLERY.ids) -> Columns:
    place = {name: i for i, name in enumerate(GALLERY.ids)}
    titles = [NAMES[place[i] - 290] if 290 <= place.get(i, 0) < 293 else "harbours at night" for i in ids]
    years = [str(2000 + place.get(i, 0) % 2) for i in ids]
    said = {"title": titles, "year": years}
    return Columns(ids, {name: Column.of(len(ids), enumerate(own)) for name, own in said.items()})


def build(**given: object) -> LanceIndex:
    index = LanceIndex(words=["title"], **given)  # type: ignore[arg-type]
    index.know(known())
    index.build(GALLERY)
    return index


def lists_of(run: Run) -> list[list[str]]:
    return [[run.item_ids[i] for i in row if i >= 0] for row in run.index]


@pytest.mark.parametrize("kind", [{}, {"kind": "IVF_FLAT", "params": {"num_partitions": 4}}])
def test_words_find_what_vectors_do_not(tmp_path: Path, kind: dict[str, object]) -> None:
    index = build(**kind)
    asked = ("is O'Neill there?", "a NAIVE cafe", "Mary Rose + (1545")
    alone = lists_of(index.search(QUERIES, 5))
    both = index.search_both(QUERIES, asked, 5, None)
    for row, (near, found) in enumerate(zip(alone, lists_of(both), strict=True)):
        item = f"item{290 + row}" if GALLERY.ids[0] == "item0" else GALLERY.ids[290 + row]
        assert found == [*near, item], "what words find comes by its similarity, which is lower"
        products = GALLERY.matrix[[GALLERY.ids.index(name) for name in found]] @ QUERIES.matrix[row]
        np.testing.assert_allclose(both.scores[row, : len(found)], products, atol=1e-6)
    index.save(tmp_path)
    again = LanceIndex(words=["title"], **kind)  # type: ignore[arg-type]
    again.load(tmp_path)
    assert lists_of(again.search_both(QUERIES, asked, 5, None)) == lists_of(both)


def test_words_and_a_filter() -> None:
    index = build()
    asked = ("O'Neill", "harbour", "")  # a stem of what is said; and no words at all
    even, odd = (lists_of(find(index, QUERIES, asked, 4, parse_filter(f"year = {year}"))) for year in (2000, 2001))
    near = lists_of(index.search_where(QUERIES, 4, parse_filter("year = 2001")))
    assert GALLERY.ids[290] in even[0]
    assert odd[0] == near[0], "the filter leaves the one that words would find out"
    assert len(set(odd[1])) == 8
    assert odd[2] == near[2]


def test_items_that_are_added_are_found_by_words_and_those_removed_are_not() -> None:
    index = build()
    more = embeddings(clustered_vectors(2, seed=9), "more")
    index.know(Columns(more.ids, {"title": Column.of(2, enumerate(["quokka", "harbour"]))}))
    index.add(more)
    index.remove([GALLERY.ids[290]])
    found = lists_of(index.search_both(QUERIES.take(np.array([0, 1])), ("quokka", "O'Neill"), 3, None))
    assert more.ids[0] in found[0]
    assert len(found[1]) == 3, "nothing says that name any more"


def test_other_words_than_were_saved_are_told(tmp_path: Path) -> None:
    build().save(tmp_path)
    with pytest.raises(DataError, match=r"words is \['title'\] there, \[\] here"):
        LanceIndex().load(tmp_path)


def test_a_column_that_is_not_there_is_told() -> None:
    index = LanceIndex(words=["headline"])
    index.know(known())
    told = r"index\.words=headline: there is no such column; there are title, year"
    with pytest.raises(ConfigError, match=told):
        index.build_from_shards(lambda: pytest.fail("told before anything is encoded"))
    index = LanceIndex(words=["headline"])
    index.build(GALLERY)
    with pytest.raises(ConfigError, match=r"index\.words=headline: there is no such column; there are none"):
        index.search_both(QUERIES, ("a", "b", "c"), 3, None)


def test_a_correction_of_vectors_and_words_do_not_go_together() -> None:
    class Rule:
        name = "csls"

    with pytest.raises(ConfigError, match=r"index\.words=title: scores=csls corrects what vectors find"):
        Corrected(build(), Rule(), None, None)  # type: ignore[arg-type]


def test_queries_that_are_scored_do_not_find_their_picture_by_themselves() -> None:
    index: Index = build()
    fields = tuple({"title": name, "year": "2000"} for name in NAMES)
    side = Side(QUERIES.ids, QUERIES, tuple(f"News headline: {name}." for name in NAMES), fields)
    with pytest.raises(ConfigError, match=r"index\.words=title: the queries that are scored are made of it"):
        find_scored(index, side, 5)
    others = Side(QUERIES.ids, QUERIES, ("a storm",) * 3, fields)
    assert lists_of(find_scored(index, others, 5)) == lists_of(index.search(QUERIES, 5))


def scored_by(texts: Sequence[str], titles: Sequence[str]) -> Side:
    queries = embeddings(clustered_vectors(len(texts), seed=2), "query")
    return Side(queries.ids, queries, tuple(texts), tuple({"title": title} for title in titles))


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("news: STORM HITS THE COAST", "Storm hits the coast"),
        ("Storm hits  the\u00a0coast", "Storm hits the coast"),
        ("storm, hits the coast!", "Storm hits\nthe coast."),
        ("\u65e5\u672c\u306e\u6e2f\u306e\u591c", "\u6e2f\u306e\u591c"),
        ("\ufb01re in the harbour tonight", "Fire in the harbour"),
    ],
)
def test_another_case_or_other_spaces_are_the_same_text(text: str, title: str) -> None:
    with pytest.raises(ConfigError, match=r"index\.words=title: the queries that are scored are made of it"):
        find_scored(build(), scored_by(["a boat", text], ["a map", title]), 5)


def test_most_of_the_words_in_many_queries_are_refused_and_in_few_are_not() -> None:
    said, asked = "five boats left harbour today", "today five small boats left the sea harbour"
    unlike = ["a boat"] * 19, ["maps of two towns"] * 19
    few = scored_by([asked, *unlike[0]], [said, *unlike[1]])  # one in twenty is 5%, not more
    assert lists_of(find_scored(build(), few, 5))
    many = scored_by([asked, asked, *unlike[0]], [said, said, *unlike[1]])
    with pytest.raises(ConfigError, match=r"index\.words=title: most of what it says stands in 2 of 21 queries"):
        find_scored(build(), many, 5)
    less = scored_by([asked.replace("harbour", "port")] * 2, ["five boats left harbour at night"] * 2)
    assert lists_of(find_scored(build(), less, 5))


def test_a_part_of_a_longer_word_is_not_that_text() -> None:
    assert lists_of(find_scored(build(), scored_by(["a map of the harbour"] * 3, ["AP", "har", "a m"]), 5))
