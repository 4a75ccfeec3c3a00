"""Rows of CSV and TSV files: none is swallowed, none is dropped without a word."""

from pathlib import Path

import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.text.rows import Looks, split_rows
from picdesk.text.table import delimiter_named, read_table
from tests.data.samples import put

PETS = [("p1.png", "a cat"), ("p2.png", "a dog"), ("p3.png", "two birds"), ("p4.png", "a fish"), ("p5.png", "a snail")]


def tsv(**said: str) -> str:
    """The pets as TSV, with other words for some of them."""
    return "name\twords\n" + "".join(f"{name}\t{said.get(name[:2], words)}\n" for name, words in PETS)


def words(text: str, delimiter: str = "\t", quoting: str = "auto") -> tuple[list[str], str]:
    rows, notes = split_rows("t.tsv", text, delimiter, quoting)
    return [cells[1] for _, cells in rows[1:]], "; ".join(notes)


def test_a_quote_that_opens_in_one_row_and_closes_in_a_later_one_swallows_none() -> None:
    found, note = words(tsv(p2='"No dogs', p4='no fish"'))
    assert found == ["a cat", '"No dogs', "two birds", 'no fish"', "a snail"]
    assert "1 rows with a stray quote (line 3), so quotes were read as plain characters (data.quoting=none" in note


@pytest.mark.parametrize("said", ['"Keep out" on a door', '"never closed', '""double"" twice', '"a" and "b"'])
def test_a_quote_that_is_no_quoting_is_a_character(said: str) -> None:
    found, note = words(tsv(p3=said))
    assert found[2] == said
    assert len(found) == len(PETS)
    assert "stray quote (line 4)" in note


def test_once_quotes_are_characters_they_are_so_in_every_row() -> None:
    assert words(tsv(p1='"Stop"', p3='"Keep out" on a door'))[0][0] == '"Stop"'
    assert words(tsv(p1='"Stop"'))[0][0] == "Stop"


def test_where_other_cells_need_their_quotes_only_the_stray_rows_are_read_without() -> None:
    text = 'name,words\na1.png,"big, red"\na2.png,"Open" sign\na3.png,"say ""hi"", twice"\na4.png,"two\nlines"\n'
    found, note = words(text, ",")
    assert found == ["big, red", '"Open" sign', 'say "hi", twice', "two\nlines"]
    assert "1 rows with a stray quote were read as they stand: line 3" in note


def test_a_file_that_quotes_all_keeps_quoting_all() -> None:
    text = '"name","words"\n"a1.png","one"\n"a2.png","two\n"a3.png","three"\n"a4.png","four"\n'
    assert [cells for _, cells in split_rows("t.csv", text)[0]][1:4] == [
        ["a1.png", "one"],
        ["a2.png", '"two'],
        ["a3.png", "three"],
    ]


def test_a_line_break_inside_quotes_stays_where_the_lines_are_prose() -> None:
    text = 'name,words\nb1.png,"He fell.\nLuckily, nobody saw it"\nb2.png,fine\nb3.png,"x\ny\nz"\n'
    found, note = words(text, ",")
    assert found == ["He fell.\nLuckily, nobody saw it", "fine", "x\ny\nz"]
    assert note == ""


def test_quoting_can_be_named() -> None:
    assert words(tsv(p1='"Stop"'), quoting="none")[0][0] == '"Stop"'
    with pytest.raises(DataError, match=r"t\.tsv, line 4: .* set data\.quoting=none"):
        words(tsv(p3='"Keep out" on a door'), quoting="csv")
    with pytest.raises(ConfigError, match=r"data\.quoting=all: choose one of auto, csv, none"):
        words(tsv(), quoting="all")


def test_quotes_behind_backslashes_are_read_as_such() -> None:
    found, note = words('name,words\na.png,"he said \\"come, now\\" twice"\nb.png,x\n', ",")
    assert found == ['he said "come, now" twice', "x"]
    assert "have a backslash before them" in note


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_without_content_are_counted_and_lines_keep_their_numbers(end: str) -> None:
    rows, notes = split_rows("t.csv", end.join(["n,w", "", "a,b", ",", "  ", "c,d", "", ""]))
    assert [(line, cells[0]) for line, cells in rows] == [(1, "n"), (3, "a"), (6, "c")]
    assert notes == ["3 blank lines or rows without content"]


def test_a_cell_of_two_million_letters_is_a_cell() -> None:
    assert len(words("n,w\na,2\nb," + "x" * 2_000_000 + "\n", ",")[0][1]) == 2_000_000


def test_an_open_quote_in_each_of_many_rows_costs_no_more_than_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    plain = Looks.like_a_row
    monkeypatch.setattr(Looks, "like_a_row", lambda self, line: looked.append(line) or plain(self, line))
    text = "n\tw\n" + "".join(f'{i:05}.png\t"open {i}\n' for i in range(3000))
    assert len(words(text)[0]) == 3000
    assert 0 < len(looked) < 5 * 3000


def test_empty_names_and_cells_behind_the_last_column_are_none(tmp_path: Path) -> None:
    table = read_table(put(tmp_path / "t.csv", "image,caption,,\n0.png,a,,\n1.png,b\n2.png,c,d\n"))
    assert table.header == ("image", "caption")
    assert [row["caption"] for _, row in table.rows] == ["a", "b"]
    assert table.unused_rows("t.csv") == [("t.csv line 4", "3 cells for 2 columns")]


@pytest.mark.parametrize(("mark", "shown"), [("\t", "tab"), (";", "';'"), ("|", "'|'")])
def test_the_delimiter_that_gives_the_columns_is_found_and_said(tmp_path: Path, mark: str, shown: str) -> None:
    path = put(tmp_path / "t.csv", f"image{mark} caption\n0.png{mark} red, blue\n")
    table = read_table(path, "auto", wanted=("image", "caption"))
    assert table.rows[0][1] == {"image": "0.png", "caption": " red, blue"}
    assert table.note == f"t.csv: split at each {shown}"


def test_a_delimiter_has_a_name_or_is_one_character() -> None:
    assert [delimiter_named(name) for name in ("\\t", "tab", "TAB", "\t", "pipe", "semicolon", ",")] == list(
        "\t\t\t\t|;,"
    )
    with pytest.raises(ConfigError, match=r"data\.delimiter='::': one character is needed"):
        delimiter_named("::")
