"""Words against words: BM25 by hand, names kept whole, the query's own caption left out."""

import math
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picdesk.data.prompts import Field, HeadlineTopics
from picdesk.errors import ConfigError
from picdesk.interfaces import DIRECTIONS
from picdesk.rerankers.lexical import Lexical
from picdesk.rerankers.words import Words
from tests.rerankers.helpers import context_of, plain_picture, run_over

PICTURES = [plain_picture((i, 0, 0)) for i in range(3)]
SAID = {"i0": ["red boat sea"], "i1": ["red red car"], "i2": ["green tree"]}


def test_the_score_is_the_formula_of_bm25(caplog: pytest.LogCaptureFixture) -> None:
    run = run_over([[0, 1, 2]], 3)
    with caplog.at_level("INFO"):
        context = context_of(run, ["red boat"], PICTURES, captions=SAID)
        scores = Lexical(language=None, k1=1.2, b=0.75).score(run, context)[0]
    assert not caplog.records, "what the library says of its index is nothing to a user"

    def idf(having: int) -> float:
        return math.log(1 + (3 - having + 0.5) / (having + 0.5))

    def part(count: int, length: int) -> float:
        return count / (count + 1.2 * (1 - 0.75 + 0.75 * length / (8 / 3)))

    expected = [idf(2) * part(1, 3) + idf(1) * part(1, 3), idf(2) * part(2, 3), 0.0]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert not caplog.records, "the library says nothing of its own on the terminal"


def test_a_pictures_texts_are_pooled_and_the_querys_own_is_left_out() -> None:
    said = {"i0": ["red boat", "a boat at sea"], "i1": ["red boat"], "i2": ["green tree"]}
    run = run_over([[0, 1, 2]], 3)
    context = context_of(run, ["red boat"], PICTURES, captions=said)
    each = {pool: Lexical(pooling=pool).score(run, context)[0] for pool in ("sum", "mean", "max")}
    assert np.isnan(each["sum"][1]), "its only text is the query itself"
    assert each["sum"][0] == pytest.approx(each["max"][0])
    kept = {
        pool: Lexical(pooling=pool, leave_out_query=False).score(run, context)[0] for pool in ("sum", "mean", "max")
    }
    assert kept["sum"][0] == pytest.approx(2 * kept["mean"][0])
    assert kept["max"][0] == pytest.approx(kept["max"][1])


def test_both_directions_compare_the_same_pair_alike() -> None:
    forth, back = run_over([[0, 1, 2]], 3), run_over([[0]] * 3, 1)
    texts = ["a red boat"]
    there = Lexical().score(forth, context_of(forth, texts, PICTURES, captions=SAID))[0]
    again = Lexical().score(
        back, context_of(back, texts, PICTURES, "i2t", captions={f"q{i}": SAID[f"i{i}"] for i in range(3)})
    )[:, 0]
    assert there == pytest.approx(again)


def test_tags_that_a_prompt_put_into_the_query_are_left_out_too() -> None:
    """They are an article's own words, and would find its picture by themselves."""
    own = {"title": "a red boat", "tags": ["harbour", "storm"]}
    others = [{"title": "a storm", "tags": ["wind"]}, {"title": "harbour", "tags": ["harbour", "sea"]}]
    known = {f"i{i}": [fields] for i, fields in enumerate([own, *others])}
    run, prompt = run_over([[0, 1, 2]], 3), HeadlineTopics(max_tags=1)
    for direction in DIRECTIONS:
        asks = context_of(run, [prompt.render(own)], PICTURES, fields=[own])
        if direction == "i2t":
            run = run_over([[0]] * 3, 1)
            asks = context_of(run, [prompt.render(own)], PICTURES, "i2t", fields=[own])
            known = {f"q{i}": fields for i, fields in enumerate(known.values())}
        scores = {
            name: Lexical(fields=["title", "tags"]).score(run, replace(asks, known=known, render=render)).ravel()
            for name, render in (("both", prompt.render), ("title", Field("title").render))
        }
        assert np.isnan(scores["both"]).tolist() == [True, False, False]
        assert scores["title"][0] > 0, "the tags are known of the picture where the title alone asks"
        kept = Lexical(fields=["title", "tags"], leave_out_query=False)
        assert kept.score(run, replace(asks, known=known, render=prompt.render)).ravel()[0] > 0


def test_names_are_kept_whole_and_found_by_their_parts() -> None:
    words = Words()
    assert words("the New York Times") == ["new", "york", "time", "new york time"]
    assert words("Jean-Luc's O'Brien") == ["jeanluc", "jean", "luc", "obrien", "brien", "jean-luc o'brien"]
    assert words("U.S. dogs, Müller and it") == ["us", "dog", "muller"]
    assert words("WHO") == ["who"]
    assert words("who") == []
    assert Words(None)("running dogs") == ["running", "dogs"]
    assert words.entities("storm hits Cape Town in 1987") == ["cape", "town", "cape town", "1987"]
    assert words.entities("a dog runs") == []


def test_marks_are_part_of_a_word() -> None:
    """Words of Hindi came apart at their vowels, and so did names whose accents are signs of their own."""
    words = Words(None)
    assert words("दिन") != words("दान")
    assert words("मोदी कीव में") == ["मोदी", "कीव", "में"]
    assert words(unicodedata.normalize("NFD", "César Muñoz")) == words("César Muñoz")


def test_entities_are_the_share_of_names_that_a_picture_has() -> None:
    said = {"i0": ["harbour of Cape Town"], "i1": ["the town hall"], "i2": ["trees"]}
    run = run_over([[0, 1, 2], [0, 1, 2]], 3)
    context = context_of(run, ["Storm over Cape Town", "a dog runs"], PICTURES, captions=said)
    scores = Lexical(score="entities").score(run, context)
    assert 0 < scores[0, 1] < scores[0, 0] < 1, "'Storm' is nowhere"
    assert scores[0, 2] == 0
    assert np.isnan(scores[1]).all(), "a text without a name says nothing"


def test_a_file_adds_what_else_is_known(tmp_path: Path) -> None:
    file = tmp_path / "said.json"
    file.write_text('{"i2": ["red boat painted on a wall"]}')
    run = run_over([[0, 1, 2]], 3)
    context = context_of(run, ["boat wall"], PICTURES, captions=SAID)
    reranker = Lexical(file=str(file))
    assert reranker.score(run, context)[0].argmax() == 2
    assert reranker.fingerprint(context) != Lexical().fingerprint(context)
    alone = Lexical(fields=(), file=str(file)).score(run, context)[0]
    assert np.isnan(alone[:2]).all()
    assert alone[2] > 0


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"reranker\.language=klingon: choose one of .*english"):
        Lexical(language="klingon")
    with pytest.raises(ConfigError, match=r"reranker\.score=tfidf: choose one of bm25, entities"):
        Lexical(score="tfidf")
    with pytest.raises(ConfigError, match=r"reranker\.k1=-1"):
        Lexical(k1=-1)


def test_a_field_that_no_text_has_is_named() -> None:
    run = run_over([[0, 1, 2]], 3)
    known = {f"i{i}": [{"title": "a red boat", "tags": ["sea"], "credit": "Reuters"}] for i in range(3)}
    context = replace(context_of(run, ["red boat"], PICTURES), known=known)
    for fields in (("foo",), ("title", "foo")):
        with pytest.raises(ConfigError, match=r"reranker\.fields=foo: no text .* there are credit, tags, title"):
            Lexical(fields=fields).score(run, context)
    assert np.isfinite(Lexical().score(run, context)).all(), "of caption and title, one is enough"
    without = replace(context, known={"i0": [{"credit": "Reuters"}]})
    with pytest.raises(ConfigError, match=r"reranker\.fields=caption,title: .* there are credit"):
        Lexical().score(run, without)
