from pathlib import Path

import pytest

from picdesk.errors import DataError
from picdesk.text.files import read_text
from picdesk.text.table import need_columns, read_table
from tests.data.samples import put


def test_byte_order_mark_crlf_and_latin_lines_are_read_and_named(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbfimage,caption\r\na.jpg,caf\xe9 \x93au lait\x94\r\n" + "b.jpg,žluťoučký kůň\r\n".encode()
    table = read_table(put(tmp_path / "t.csv", raw))
    assert table.header == ("image", "caption")
    assert [row["caption"] for _, row in table.rows] == ["café “au lait”", "žluťoučký kůň"]
    assert "byte order mark" in table.note
    assert "CRLF" in table.note
    assert "not UTF-8 in 1 lines, which were read as Latin-1: 2" in table.note


def test_plain_utf8_has_no_note(tmp_path: Path) -> None:
    assert read_text(put(tmp_path / "t.txt", "grüße\n")) == ("grüße\n", "")


def test_a_byte_that_even_code_page_1252_lacks(tmp_path: Path) -> None:
    assert read_text(put(tmp_path / "t.txt", b"a\x81b\xff"))[0] == "a\x81bÿ"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    text, note = read_text(put(tmp_path / "t.csv", "a,žluť\n".encode(encoding)))
    assert text == "a,žluť\n"
    assert f"read as {encoding.upper()} by its mark" in note


def test_quoted_newlines_stay_in_their_cell(tmp_path: Path) -> None:
    table = read_table(put(tmp_path / "t.csv", 'a,b\n1,"two\nlines, ""quoted"""\n\n2,x\n'))
    assert table.rows == ((3, {"a": "1", "b": 'two\nlines, "quoted"'}), (5, {"a": "2", "b": "x"}))
    assert "1 rows with a line break inside quotes" in table.note


def test_rows_of_the_wrong_width_shift_nothing(tmp_path: Path) -> None:
    table = read_table(put(tmp_path / "t.csv", "a,b\n1\n2,x\n3,y,z\n4,w\n"))
    assert table.ragged == ((2, 1), (4, 3))
    assert [row["a"] for _, row in table.rows] == ["2", "4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("a,b,a\n", "a column name stands twice"),
        ('a,b\n1,"open\n2,x\n', "a quote that is not closed"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(put(tmp_path / "t.csv", content), quoting="csv")


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
@pytest.mark.parametrize("delimiter", ["auto", ",", ";"])
def test_the_first_line_of_a_spreadsheet_says_the_delimiter(tmp_path: Path, first: str, delimiter: str) -> None:
    path = put(tmp_path / "t.csv", f"{first}\r\nimage;caption\r\n0.png;a, b\r\n1.png\r\n")
    table = read_table(path, delimiter, wanted=("image", "caption"))
    assert table.header == ("image", "caption")
    assert table.rows == ((3, {"image": "0.png", "caption": "a, b"}),)
    assert table.ragged == ((4, 1),)
    assert "the first line, sep=;, is a spreadsheet's and no row" in table.note
    assert "blank" not in table.note


def test_a_delimiter_that_gives_no_column_is_not_asked_for(tmp_path: Path) -> None:
    wanted = {"picture_column": "image", "caption_column": "caption"}
    told = {
        "a;b\n1;2\n": r"the columns are 'a;b'$",
        "image;caption\n1;2\n": r"is the delimiter ';'\? \(data\.delimiter\)$",
        "# made by me; on Monday\nimage,caption\n1,2\n": "line 2 has them; take out what stands before it$",
    }
    for content, words in told.items():
        table = read_table(put(tmp_path / "t.csv", content), wanted=tuple(wanted.values()))
        with pytest.raises(DataError, match=words):
            need_columns(dict(wanted), table.header, "t.csv", hint=table.hint)


def test_messages_on_quotes_name_the_key_of_their_file(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", 'query,id\n"Beware" it says,a\nplain words,b\n')
    assert "(split.quoting=none" in read_table(path, key="split.encoding").note
    assert "quoting" not in read_table(path, key=None).note
    with pytest.raises(DataError, match=r"or set split\.quoting=none"):
        read_table(path, quoting="csv", key="split.encoding")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_header_of_a_second_file_is_no_row(tmp_path: Path, mark: str) -> None:
    """As `cat a.csv b.csv` makes it; a table of one column may say the same as its header."""
    table = read_table(
        put(tmp_path / "t.csv", f"{mark}id,query,\na,x\n{mark}id,query,\nb,id\nid,x\n{mark}id , query\n")
    )
    assert table.rows == (
        (2, {"id": "a", "query": "x"}),
        (4, {"id": "b", "query": "id"}),
        (5, {"id": "id", "query": "x"}),
    )
    assert table.ragged == ()
    assert "2 rows are the header again, and no rows: line 3, 6" in table.note
    assert len(read_table(put(tmp_path / "t.csv", "query\na\nquery\n")).rows) == 2
