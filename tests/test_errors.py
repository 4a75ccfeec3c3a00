"""Ids that stand twice are told; a long list that was looked at once is not gone through at every query."""

import copy

import numpy as np
import pytest

from picdesk.errors import DataError, UniqueIds, check_unique, first_line, kind_and_line
from picdesk.interfaces import Embeddings
from picdesk.search.indexes import FlatIndex


def test_ids_that_stand_twice_are_told() -> None:
    for make in (lambda ids: check_unique(ids, "run items"), lambda ids: UniqueIds(ids, "run items")):
        make(("a", "b"))
        with pytest.raises(DataError, match=r"run items: 1 ids stand more than once, for example 'b'"):
            make(("a", "b", "b"))


def test_what_was_looked_at_is_a_tuple_like_any_other() -> None:
    ids = UniqueIds(["a", "b"], "ids")
    assert ids == ("a", "b")
    assert hash(ids) == hash(("a", "b"))
    assert type(ids[:1]) is tuple
    assert copy.deepcopy(ids) == ("a", "b")


def test_a_query_does_not_go_through_the_ids_of_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.eye(6, 4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    index = FlatIndex()
    index.build(Embeddings(tuple("abcdef"), matrix))
    looked_at: list[int] = []
    monkeypatch.setattr("picdesk.errors.set", lambda ids: looked_at.append(len(ids)) or set(ids), raising=False)
    run = index.search(Embeddings(("q",), matrix[:1]), 3)
    assert len(run.item_ids) == 6
    assert looked_at == [1, 1], "the query's id alone: of the embeddings, and of the run"


def test_a_reason_is_one_line_even_where_a_library_gives_none() -> None:
    assert first_line(ValueError()) == first_line(ValueError(" \n")) == kind_and_line(ValueError("")) == "ValueError"
    assert first_line(ValueError("\n  one  thing.\nmore")) == "one thing"
    assert kind_and_line(KeyError("x" * 300), 9) == "KeyError: 'xxxxxxxx"
