"""Only text is text: what is taken apart, what is refused, and in which words."""

import json
from typing import Any

import pytest

from picdesk.files import json_object, json_value
from picdesk.readers.text_columns import TextColumns
from picdesk.text.as_text import NoTextError, name_of, one_text, parse_cell, walk


def captions(value: Any, column: str = "said", record: dict[str, Any] | None = None) -> tuple[list[str], list[str]]:
    taken = TextColumns(column, None, None).take(record or {"said": value})
    return [str(fields["caption"]) for fields in taken.texts], taken.faults


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7, "the number 7"),
        (2.5, "the number 2.5"),
        (float("nan"), "the number nan"),
        (False, "the boolean false"),
        (b"abc", "bytes"),
        ({"text": "x", "n": 1}, "a record with the keys text, n, which is no text; name the key in it, as in .text"),
        ([{"text": "x"}, {"text": "y"}], "a list of 2 records, which is no text; name the key in it, as in .text"),
        ([], "an empty list"),
        ([["a", "b"]], "a list"),
        ('{"text": "x"}', "a record with the keys text"),
        ("{'text': 'x'}", "a record with the keys text"),
        ("[1, 2]", "a list"),
        ("b'abc'", "bytes as Python writes them"),
        ("['a' 'b' ... 'z']", "what looks like a list"),
        ("array(['a', 'b'], dtype=object)", "what looks like a list"),
    ],
)
def test_what_is_no_text_is_refused_by_its_key(value: Any, words: str) -> None:
    found, faults = captions(value)
    assert found == []
    assert len(faults) == 1
    assert faults[0].startswith("data.caption_column=said holds ")
    assert words in faults[0]


@pytest.mark.parametrize(
    "cell",
    [
        ["a dog", "it's wet"],
        '["a dog", "it\'s wet"]',
        "['a dog', \"it's wet\"]",
        "['a dog'\n \"it's wet\"]",
        "('a dog', \"it's wet\")",
    ],
)
def test_a_list_of_texts_is_several_also_as_json_python_or_numpy_write_it(cell: Any) -> None:
    assert captions(cell) == (["a dog", "it's wet"], [])


@pytest.mark.parametrize("text", ["[Untitled]", "(a man)", "{x}", "[1990s] a car", "a [sic] b", "5", '"quoted"'])
def test_brackets_alone_make_no_list(text: str) -> None:
    assert captions(text) == ([text], [])


def test_items_that_are_no_text_are_told_one_by_one_and_the_others_kept() -> None:
    found, faults = captions(["a", None, 3, "b"])
    assert found == ["a", "b"]
    assert [fault.split(" item ")[1][:12] for fault in faults] == ["1 holds null", "2 holds the "]


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "null", "<NA>"])
def test_words_for_no_value_are_no_text_and_counted(word: str) -> None:
    taken = TextColumns("said", None, "tags").take({"said": word, "tags": word})
    assert taken.texts == [{"caption": "", "tags": ()}]
    assert taken.odd["cells that say nan, None or null: no value"] == 2


def test_a_name_with_dots_leads_into_records() -> None:
    record: dict[str, Any] = {"s": [{"raw": "a"}, {"raw": "b"}], "image": {"path": "x.png"}, "a.b": "as it stands"}
    assert captions(None, "s.raw", record) == (["a", "b"], [])
    assert captions(None, "s.1.raw", record) == (["b"], [])
    assert captions(None, "said.raw", {"said": json.dumps(record["s"])}) == (["a", "b"], [])
    assert walk(record, "image.path") == "x.png"
    assert walk(record, "a.b") == "as it stands"
    assert captions(None, "s.rwa", record)[1] == ["data.caption_column=s.rwa has no key 'rwa' (there are 'raw')"]
    with pytest.raises(NoTextError, match=r"where a record with the key 'x' is needed"):
        walk({"s": 5}, "s.x")


def test_titles_tags_and_further_fields_follow_the_same_rule() -> None:
    columns = TextColumns(None, "t", "k", {"by": "b"})
    assert columns.take({"t": ["one"], "k": [1999, "war"], "b": "me"}).texts == [
        {"title": "one", "tags": ("1999", "war"), "by": "me"}
    ]
    for record, key in (
        ({"t": ["a", "b"], "k": "", "b": ""}, "data.title_column=t holds a list of 2"),
        ({"t": "a", "k": [True], "b": ""}, "data.tags_column=k holds a list with the boolean true"),
        ({"t": "a", "k": "", "b": {"x": 1}}, "data.more_columns.by=b holds a record"),
    ):
        taken = columns.take(record)
        assert taken.texts == []
        assert taken.faults[0].startswith(key)


def test_names_are_strings_or_whole_numbers() -> None:
    assert [name_of(value) for value in ("a ", 7, None)] == ["a", "7", ""]
    for value in (1.0, True, ["a"], {"a": 1}):
        with pytest.raises(NoTextError, match="which is no name"):
            name_of(value)


def test_nested_without_end_is_text_as_it_stands() -> None:
    deep = "[" * 50_000 + "]" * 50_000
    assert parse_cell(deep) == deep
    assert one_text(deep) == deep


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"n": ' + "7" * 10_000_000 + "}", "thousands of digits"),
        ('{"a": 1', "not JSON (Expecting"),
    ],
)
def test_json_that_cannot_be_read_is_one_kind_of_error(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"not JSON") as told:
        json_value(text)
    assert words in str(told.value)


def test_a_key_that_stands_twice_is_an_error_of_its_object_alone() -> None:
    with pytest.raises(ValueError, match="the key 'a' stands twice"):
        json_object('{"a": 1, "b": 2, "a": 3}')
    assert captions(None, "s.a", {"s": json_value('{"a": "x", "a": "y"}')})[1]
