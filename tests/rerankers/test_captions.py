"""Captions as the bridge."""

import json
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.rerankers.captions import Captions, read_captions
from picdesk.rerankers.lexical import Lexical
from tests.rerankers.helpers import context_of, plain_picture, run_over, vector_of

PICTURES = [plain_picture((i, 0, 0)) for i in range(4)]


class Sentences:
    name = "fake"


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_scores_are_the_cosines_of_the_candidates_captions(pooling: str) -> None:
    said = {"i0": ["a", "b"], "i1": ["c"], "i3": ["d", "e", "f"]}
    run = run_over([[3, 0, 2], [1, 3, -1]], 4)
    scores = Captions(Sentences(), pooling=pooling).score(run, context_of(run, ["x", "y"], PICTURES, captions=said))  # type: ignore[arg-type]
    pool = max if pooling == "max" else lambda values: sum(values) / len(values)

    def expected(text: str, item: str) -> float:
        return pool([float(vector_of(text) @ vector_of(caption)) for caption in said[item]])

    assert scores[0, 0] == pytest.approx(expected("x", "i3"), abs=1e-6)
    assert scores[0, 1] == pytest.approx(expected("x", "i0"), abs=1e-6)
    assert scores[1, 0] == pytest.approx(expected("y", "i1"), abs=1e-6)
    assert np.isnan(scores[0, 2]), "a candidate without a caption is unscored"
    assert np.isnan(scores[1, 2]), "padding is unscored"


def test_a_caption_that_is_the_query_is_left_out_of_every_picture() -> None:
    said = {"i0": ["x", "near"], "i1": ["x"], "i2": ["far"]}
    run = run_over([[0, 1, 2]], 3)
    context = context_of(run, ["x"], PICTURES[:3], captions=said)
    scores = Captions(Sentences()).score(run, context)[0]  # type: ignore[arg-type]
    assert scores[0] == pytest.approx(float(vector_of("x") @ vector_of("near")), abs=1e-6)
    assert np.isnan(scores[1])
    kept = Captions(Sentences(), leave_out_query=False).score(run, context)[0]  # type: ignore[arg-type]
    assert kept[:2] == pytest.approx([1.0, 1.0], abs=1e-6)


@pytest.mark.parametrize("form", ["a dog runs", "A  dog runs .", '"A DOG RUNS!"'])
def test_the_querys_own_caption_is_left_out_in_any_case_and_with_any_signs(form: str) -> None:
    """A file of a data set's captions in small letters, without full stops, would find each picture by the caption that asks."""
    run = run_over([[0, 1]], 2)
    said = {"i0": [form, "an animal"], "i1": [form, form.lower(), "a dog"]}
    context = context_of(run, ["A dog runs ."], PICTURES[:2], captions=said)
    scores = Captions(Sentences()).score(run, context)[0]  # type: ignore[arg-type]
    query = vector_of("A dog runs .")
    assert scores.tolist() == pytest.approx([float(query @ vector_of(one)) for one in ("an animal", "a dog")], abs=1e-6)
    words = Lexical(leave_out_query=True).score(run, context)[0]
    assert (words[0], words[1] > 0) == (0, True)


def test_the_other_way_round_compares_the_pictures_captions_with_each_text() -> None:
    run = run_over([[1, 0]], 2)
    context = context_of(run, ["s", "t"], PICTURES[:1], "i2t", captions={"q0": ["a", "t"]})
    scores = Captions(Sentences()).score(run, context)[0]  # type: ignore[arg-type]
    assert scores[0] == pytest.approx(float(vector_of("t") @ vector_of("a")), abs=1e-6), "its own caption is left out"
    assert scores[1] == pytest.approx(max(float(vector_of("s") @ vector_of(c)) for c in "at"), abs=1e-6)


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv"])
def test_defect_d_captions_are_keyed_by_id_not_by_row(tmp_path: Path, ending: str) -> None:
    """System D kept captions by row number while its subset used ids: here their order in the file does not matter."""
    file = tmp_path / f"captions{ending}"
    if ending == ".json":
        file.write_text(json.dumps({"i1": ["second"], "i0": "first"}))
    elif ending == ".jsonl":
        file.write_text('{"id": "i1", "captions": ["second"]}\n{"id": "i0", "caption": "first"}\n')
    else:
        file.write_text("\ufeffid,caption\r\ni1,second\r\ni0,first\r\n", encoding="utf-8")
    assert read_captions(str(file), "reranker.file") == {"i0": ("first",), "i1": ("second",)}
    run = run_over([[0, 1]], 2)
    scores = Captions(Sentences(), file=str(file)).score(run, context_of(run, ["x"], PICTURES[:2]))[0]  # type: ignore[arg-type]
    assert scores.tolist() == pytest.approx(
        [float(vector_of("x") @ vector_of(c)) for c in ("first", "second")], abs=1e-6
    )


def test_files_that_are_no_captions_by_id_are_refused(tmp_path: Path) -> None:
    rows = {
        "a.json": '["a", "b"]',
        "b.json": '{"i0": 3}',
        "c.jsonl": '{"caption": "a"}',
        "d.csv": "x,y\n1,2\n",
        "e.json": "{",
    }
    for name, text in rows.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match="not captions by id"):
            read_captions(str(tmp_path / name), "reranker.file")
    (tmp_path / "f.json").write_text("{}")
    with pytest.raises(DataError, match="no captions in it"):
        read_captions(str(tmp_path / "f.json"), "reranker.file")
    with pytest.raises(MissingFileError, match="write_captions"):
        read_captions(str(tmp_path / "none.json"), "reranker.file")
    (tmp_path / "g.txt").write_text("a")
    with pytest.raises(ConfigError, match="the ending must be one of"):
        read_captions(str(tmp_path / "g.txt"), "reranker.file")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("5", "an object is needed, found int"),
        ('["id"]', "an object is needed, found list"),
        ("{", "not JSON"),
        ('{"id": 1}', "lacks id or picture_id"),
    ],
)
def test_a_row_that_is_no_caption_is_named_by_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text('{"id": "a", "caption": "b"}\n\n' + row)
    with pytest.raises(DataError, match=rf"reranker\.file={file}: not captions by id \(line 3:? {said}"):
        read_captions(str(file), "reranker.file")


def test_lines_of_captions_end_at_line_ends_alone(tmp_path: Path) -> None:
    said = "one\u2028caption\u0085and no more"
    rows = [json.dumps({"id": name, "caption": said}, ensure_ascii=False) for name in ("a", "b")]
    (tmp_path / "c.jsonl").write_bytes("\r\n".join(rows).encode())
    assert read_captions(str(tmp_path / "c.jsonl"), "reranker.file") == dict.fromkeys(("a", "b"), (said,))


def test_nothing_to_go_by_scores_nothing() -> None:
    run = run_over([[0, 1]], 2)
    assert np.isnan(Captions(Sentences()).score(run, context_of(run, ["x"], PICTURES[:2]))).all()  # type: ignore[arg-type]


def test_bad_settings_are_refused() -> None:
    for settings in ({"pooling": "sum"}, {"weight": 1.5}, {"weight": -0.1}, {"top_k": 0}):
        with pytest.raises(ConfigError, match=f"reranker.{next(iter(settings))}"):
            Captions(Sentences(), **settings)  # type: ignore[arg-type]


def test_the_title_that_a_prompt_made_the_query_of_is_left_out_too() -> None:
    """With `prompt=headline_topics` the query is more than the title, and the title would find its own picture."""
    said = {"i0": ["Storm"], "i1": ["Calm"]}
    run = run_over([[0, 1]], 2)
    fields = [{"title": "Storm", "tags": "sea"}]
    asked = ["News headline: Storm. Related topics: sea."]
    scores = Captions(Sentences()).score(run, context_of(run, asked, PICTURES[:2], captions=said, fields=fields))[0]  # type: ignore[arg-type]
    assert np.isnan(scores[0])
    assert scores[1] == pytest.approx(float(vector_of(asked[0]) @ vector_of("Calm")), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("r.csv", "id,caption\n1,a, b\n2,c\n", "r.csv line 2: 3 cells for 2 columns"),
        ("r.json", '{"1": "a", "1": "b"}', "the id '1' stands twice"),
        ("r.json", "[" * 100_000, "nested too deeply"),
        ("r.json", '{"1": ' + "7" * 5000 + "}", "thousands of digits"),
        ("r.json", '{"1": "\\ud800"}', "half of a character"),
        ("r.jsonl", '{"id": true, "caption": "a"}', "line 1: holds the boolean true"),
        ("r.csv", 'id,caption\n1,"{""raw"": ""a""}"\n', "found a record with the keys raw"),
    ],
)
def test_no_caption_is_dropped_or_made_up(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as told:
        read_captions(str(tmp_path / name), "reranker.file")
    assert words in str(told.value)


def test_captions_in_other_forms(tmp_path: Path) -> None:
    said = {"1": ('"Red" one', "b"), "2": ("c, d",)}
    forms = {
        "a.tsv": 'id\tcaption\n1\t"Red" one\n1\tb\n2\tc, d\n',
        "b.csv": 'id,caption\n1,"[""\\""Red\\"" one"", ""b""]"\n2,"c, d"\n',
        "c.json": '[{"id": 1, "captions": ["\\"Red\\" one", "b"]}, {"id": 2, "caption": "c, d"}]',
    }
    for name, content in forms.items():
        (tmp_path / name).write_text(content)
        assert read_captions(str(tmp_path / name), "reranker.file") == said, name
