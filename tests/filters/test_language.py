"""The filter language: what it means on a handful of items, by hand, and what it says of what it cannot read."""

import numpy as np
import pytest

from picdesk.collection import Collection
from picdesk.errors import ConfigError
from picdesk.filters.columns import Columns, columns_of
from picdesk.filters.language import DEEPEST, columns_in, parse_filter
from picdesk.filters.sql import with_id
from picdesk.retrieval.system import PicturesInMemory

ROWS: list[dict[str, str | tuple[str, ...]]] = [
    {"date": "2020-12-31", "credit": "Reuters", "words": "9", "tags": ("sport", "rugby"), "the credit": "x"},
    {"date": "2021-01-01", "credit": "dpa", "words": "10", "tags": ("politics",), "the credit": ""},
    {"date": "2021-01-01T18:30:00+02:00", "credit": "O'Neill", "words": "-2.5", "tags": (), "the credit": "y"},
    {"date": "2022-06-15T08:00Z", "credit": "reuters", "words": "1e3", "tags": ("sport",), "the credit": ""},
    {"date": "", "credit": "", "words": "many", "tags": ("Sport",), "the credit": "x"},
]


def known_columns() -> Columns:
    ids = tuple(f"p{i}" for i in range(len(ROWS)))
    order = np.arange(len(ROWS))
    part = Collection("c", ids, PicturesInMemory((b"",) * len(ids)), tuple(f"t{i}" for i in order), tuple(ROWS), order)
    return columns_of(part, "t2i")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("date > 2021-01-01", "3"),
        ("date >= 2021-01-01", "123"),
        ("date = 2021-01-01", "12"),  # a day means all of it
        ("date < 2021-01-01T16:31", "012"),  # 18:30 two hours east is 16:30
        ("date < 2021-01-01T16:30", "01"),
        ("date > 2021-01-01T00", "23"),  # an hour is a time, and no whole day
        ("date = 2021-01-01T00", "1"),
        ("date != 2021-01-01", "034"),
        ("date >= '2021-01-01T' and date < '2022'", "2"),  # as texts, letter by letter
        ("credit = 'Reuters'", "0"),
        ("credit = \"O'Neill\" or credit = 'O''Neill'", "2"),
        ("credit contains 'REUT'", "03"),
        ("credit not contains 'reut'", "124"),
        ("credit in ('dpa', 'Reuters')", "01"),
        ("credit not in ('dpa', 'Reuters')", "234"),
        ("words > 9.5", "13"),
        ("words = 1000", "3"),
        ("words <= -2.5", "2"),
        ("tags = 'sport'", "03"),
        ("tags != 'sport'", "124"),
        ("tags is empty", "2"),
        ("date is not empty and credit IS NOT NULL", "0123"),
        ("`the credit` = 'x'", "04"),
        ("id in ('p1', 'p4')", "14"),
        ("not (tags = 'sport' or words < 0)", "14"),
        ("credit = 'dpa' or credit = 'Reuters' and words > 100", "1"),  # and binds closer
        ("(credit = 'dpa' or credit = 'Reuters') AND words < 100", "01"),
        ("not not credit == 'dpa'", "1"),
        ("credit <> 'dpa' and words >= +9", "03"),
    ],
)
def test_what_a_filter_keeps(wanted: str, found: str) -> None:
    assert "".join(str(i) for i in np.flatnonzero(known_columns().fulfilling(wanted))) == found


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("", "character 1: the name of a column is expected; it ends here"),
        ("date >", r"filter=date >: character 7: a number, a date such as 2021-01-01, or a text in quotes is expected"),
        ("credit = Reuters", "character 10: a number, a date .*, or a text in quotes is expected; found 'Reuters'"),
        ("credit = 'Reuters", "character 10: ' is opened and never closed"),
        ("date > 2021-13-01", "character 8: 2021-13-01 is no date"),
        ("credit ~ 'x'", "character 8: '~' cannot be read"),
        ("credit contains 5", "character 17: a text in quotes is expected; found '5'"),
        ("credit in 'x'", r"character 11: \( is expected"),
        ("credit in ('x'", "character 15: , or .* is expected; it ends here"),
        ("(credit = 'x'", "and, or, or .* is expected; it ends here"),
        ("credit = 'x' date > 5", "character 14: and, or, or the end is expected; found 'date'"),
        ("credit not = 'x'", "in or contains is expected; found '='"),
        ("credit is good", "empty is expected; found 'good'"),
        ("and = 5", "the name of a column is expected; found 'and'"),
        ("__import__('os')", r"a comparison \(= != < <= > >= in contains is\) is expected; found '\('"),
        ("(" * 60 + "id = 'x'" + ")" * 60, f"not more than {DEEPEST} deep"),
        ("not " * 500 + "id = 'x'", f"not more than {DEEPEST} deep"),
        ("id = 'x' or " * 2000 + "id = 'x'", "at most 10,000 are read"),
        ("dat > 5", "there is no column dat; there are date, credit, words, tags, the credit, id; did you mean date?"),
        ("price > 5", r"there is no column price; .* \(data.more_columns names further ones\)"),
        (
            "credit > 5",
            "column credit holds no numbers to compare with: it says 'Reuters', ...; a text stands in quotes",
        ),
        ("tags > 2021-01-01", "column tags holds no dates to compare with"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(wanted: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        known_columns().fulfilling(wanted)
    assert "\n" not in str(raised.value)


def test_every_cut_of_a_filter_is_read_or_told() -> None:
    whole = (
        "not (date >= 2021-01-01T10:00Z and `the credit` in ('a''b', \"c\")) or tags contains 'x' and words <= -1.5e3"
    )
    read = 0
    for start in range(0, len(whole), 3):
        for end in range(start, len(whole) + 1):
            try:
                known_columns().fulfilling(whole[start:end])
                read += 1
            except ConfigError as error:
                assert str(error).startswith("filter")  # noqa: PT017 - some are read, and those raise nothing
    assert read > 10


def test_the_columns_that_a_filter_asks_about() -> None:
    assert columns_in(parse_filter("a = 1 and not (b.c is empty or a = 2) or `d e` contains 'x'")) == (
        "a",
        "b.c",
        "d e",
    )


def test_items_are_taken_and_joined() -> None:
    whole = known_columns()
    some = whole.take(("p3", "p0", "none"))
    assert some.column("tags").values(1) == ("rugby", "sport") or some.column("tags").values(1) == ("sport", "rugby")
    assert some.fulfilling("tags = 'sport'").tolist() == [True, True, False]
    assert some.fulfilling("credit is empty").tolist() == [False, False, True]
    both = some.join(Columns(("q",), whole.take(("p1",)).columns))
    assert both.ids == ("p3", "p0", "none", "q")
    assert both.fulfilling("credit = 'dpa'").tolist() == [False, False, False, True]


def test_a_picture_fulfils_what_one_of_its_texts_does() -> None:
    texts = ({"caption": "a dog"}, {"caption": "a cat"}, {"caption": "a bird"})
    part = Collection("c", ("a", "b"), PicturesInMemory((b"", b"")), ("1", "2", "3"), texts, np.array([1, 1, 0]))
    assert columns_of(part, "t2i").fulfilling("caption contains 'dog'").tolist() == [False, True]
    assert columns_of(part, "i2t").fulfilling("caption contains 'dog'").tolist() == [True, False, False]


def test_id_stands_for_the_ids_whatever_fields_there_are() -> None:
    """A reader of somebody's own may have a field of that name."""
    part = Collection(
        "c", ("a", "b"), PicturesInMemory((b"", b"")), ("t", "u"), ({"id": "b"}, {"id": "7"}), np.arange(2)
    )
    known = columns_of(part, "t2i")
    assert known.fulfilling("id = 'b'").tolist() == [False, True]
    assert with_id(known)["id"].words == ("a", "b")
