"""Only text is text: what is taken apart, what is refused, and in which words."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from datetime import time as hour
from decimal import Decimal
from typing import Any

import pytest

from picdesk.errors import ConfigError
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
        (
            "{'raw': 'a dog', 'score': nan}",
            "a record with the keys raw, score, which is no text; name the key in it, as in .raw",
        ),
        ("[{'raw': 'a dog', 'n': nan}]", "a list of 1 records"),
        ("[{'raw': 'a'} {'raw': 'b'}]", "a list of 2 records"),
        ("array([{'raw': 'x'}], dtype=object)", "a list of 1 records"),
        ("OrderedDict([('raw', 'x')])", "a record with the keys raw"),
        ("defaultdict(<class 'list'>, {'raw': ['a']})", "a record with the keys raw"),
        (
            "{'raw': 'a', 'picture': <PIL.Image.Image image mode=RGB size=1x1 at 0x7F>}",
            "a record with the keys raw, picture",
        ),
        ("<PIL.Image.Image image mode=RGB size=1x1 at 0x7F>", "a value as Python writes it"),
        ("datetime.datetime(2020, 1, 1, 0, 0)", "a value as Python writes it"),
        ("[nan, nan]", "a list ([nan, nan])"),
        ("[['a' 'b']\n ['c' 'd']]", "a list ([['a', 'b'], ['c', 'd']])"),
        ('["a dog", "a cat 0"', "what looks like a list or record but cannot be read as one"),
        ('["a dog", "a ca', "what looks like a list or record but cannot be read as one"),
        ('["a dog runs', "what looks like a list or record but cannot be read as one"),
        ("['a dog', None", "what looks like a list or record but cannot be read as one"),
        ('[{"raw": "a", "n": 1},', "what looks like a list or record but cannot be read as one"),
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
        "array(['a dog', \"it's wet\"], dtype=object)",
        "array(['a dog', \"it's wet\"], dtype='<U8')",
        "[np.str_('a dog'), np.str_(\"it's wet\")]",
    ],
)
def test_a_list_of_texts_is_several_also_as_json_python_or_numpy_write_it(cell: Any) -> None:
    assert captions(cell) == (["a dog", "it's wet"], [])


HONEST = (
    *("[Untitled]", "(a man)", "{x}", "[1990s] a car", "a [sic] b", "5", '"quoted"', "[a dog, a cat]", "{a dog,a cat}"),
    *(
        "nan bread on a plate",
        "[nan bread] and curry",
        "(nan bread)",
        "[Nan and grandpa]",
        "None of them",
        "null and void",
    ),
    *(
        "['Tis the season] a shop",
        "['Til Tuesday",
        "{'90s style}",
        "[AP] '90s",
        "[Photo: 'Reuters']",
        "('Tis', he said) a man",
    ),
    *(
        '["Untitled"] by Warhol',
        '["Untitled", "Blue"] two paintings',
        "a list: ['a', 'b']",
        '("Blue"',
        '"a", "b"',
        "[ ... a crowd]",
    ),
    *(
        "(1990) a car",
        "(L-R) Anna, Ben",
        "date(2020) palms",
        "set(3)",
        "Paris (2019)",
        "array of lights (red)",
        "b'day cake",
    ),
    *("<b>bold</b>", "<3 my dog", "[", "{", "(", "[1] see the note", "(1990)"),
)


@pytest.mark.parametrize("text", HONEST)
def test_brackets_alone_make_no_list(text: str) -> None:
    assert captions(text) == ([text], [])


def test_items_that_are_no_text_are_told_one_by_one_and_the_others_kept() -> None:
    found, faults = captions(["a", None, 3, "b"])
    assert found == ["a", "b"]
    assert [fault.split(" item ")[1][:12] for fault in faults] == ["1 holds null", "2 holds the "]


@pytest.mark.parametrize(
    "cell",
    [
        "['a', nan, 'b']",
        "['a' nan 'b']",
        "array(['a', nan, 'b'], dtype=object)",
        "['a', datetime.date(2020, 1, 1), 'b']",
    ],
)
def test_items_of_a_cell_that_are_no_text_are_told_one_by_one(cell: str) -> None:
    found, faults = captions(cell)
    assert found == ["a", "b"]
    assert len(faults) == 1
    assert " item 1 holds " in faults[0]


def test_records_within_a_list_of_texts_are_told_too() -> None:
    found, faults = captions(["a", "{'raw': 'x', 'n': nan}"])
    assert found == ["a"]
    assert "item 1 holds a record with the keys raw, n" in faults[0]


def test_a_name_leads_into_records_with_nan() -> None:
    assert captions(None, "said.raw", {"said": "[{'raw': 'a dog', 'n': nan}]"}) == (["a dog"], [])


def test_long_cells_are_read_in_good_time() -> None:
    started = time.monotonic()
    for cell in ("[" + "'a' " * 50_000 + "]", "{'a': " * 20_000, "array(" * 20_000 + ")", "['" + "x" * 1_000_000):
        parse_cell(cell)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "null", "<NA>", "N/A", "#N/A", "#NAME?", "#REF!", "\\N"])
def test_words_for_no_value_are_no_text_and_counted(word: str) -> None:
    taken = TextColumns("said", None, "tags").take({"said": word, "tags": word})
    assert taken.texts == [{"caption": "", "tags": ()}]
    assert taken.odd["cells that say nan, None, #N/A or the like: no value"] == 2
    longer = f"{word} it says"
    assert TextColumns("said", None, None).take({"said": longer}).texts == [{"caption": longer}]


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.50"), "1.50"),
        (Decimal("0E-8"), "0.00000000"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E+999999"), "1E+999999"),
        (Decimal("nan"), ""),
        (hour(9, 30), "09:30:00"),
        (datetime(2020, 1, 2, 3, 4, tzinfo=UTC), "2020-01-02T03:04:00+00:00"),
        (timedelta(days=1, seconds=61, microseconds=500_000), "P1DT1M1.5S"),
        (timedelta(minutes=-90), "-PT1H30M"),
        (timedelta(days=2), "P2D"),
        (timedelta(0), "PT0S"),
        ([Decimal("1.5"), hour(1)], ("1.5", "01:00:00")),
    ],
)
def test_numbers_times_and_durations_stand_in_further_fields(value: Any, text: Any) -> None:
    taken = TextColumns(None, None, None, {"n": "n"}).take({"n": value})
    assert (taken.texts, taken.faults) == ([{"n": text}], [])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"caption": "headline"},
            "caption=headline: the name caption is taken; name the caption by data.caption_column=headline",
        ),
        ({"title": "t"}, "title=t: the name title is taken"),
        ({"tags": "t"}, "tags=t: the name tags is taken"),
        ({"id": "n"}, "id=n: the name id is taken, for the ids of pictures and texts; choose another"),
        ({"by": {"a": "b"}}, "by={'a': 'b'}: the name of one column is wanted"),
        ({"by": ["a"]}, "by=['a']: the name of one column is wanted"),
    ],
)
def test_a_further_column_takes_no_name_that_stands_for_something(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"data.more_columns.{told}")):
        TextColumns("description", None, None, more)
    assert TextColumns("description", None, None, {"by": 5, "at": None}).keys() == {
        "caption_column": "description",
        "more_columns.by": "5",
    }


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
