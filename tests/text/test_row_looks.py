"""Rows that a stray quote swallowed are told from the lines of a text by how the rows look."""

import pytest

from picdesk.errors import DataError
from picdesk.text.rows import split_rows

NAMES = {
    "file names with spaces": "my photo {}.jpg",
    "names with spaces and no ending": "left photo {}",
    "words": "photo",
    "numbers": "{}",
    "paths": "a/b c/{}.jpeg",
}


def rows_of(text: str, delimiter: str = ",") -> tuple[list[list[str]], str]:
    rows, notes = split_rows("t.csv", text, delimiter)
    return [cells for _, cells in rows[1:]], "; ".join(notes)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", NAMES)
def test_a_quote_swallows_no_rows_whatever_their_names(name: str, delimiter: str) -> None:
    said = [f"a dog runs {n}" for n in range(12)]
    said[3], said[8] = '"quoted start', 'the end"'
    pairs = [[NAMES[name].format(n), text] for n, text in enumerate(said)]
    text = "\n".join(delimiter.join(cells) for cells in [["image", "caption"], *pairs])
    found, note = rows_of(text, delimiter)
    assert found == pairs
    assert "1 rows with a stray quote (line 5)" in note


@pytest.mark.parametrize("last", [5, 12])
def test_a_quote_that_swallows_most_of_a_file_is_found(last: int) -> None:
    said = ['"start', *(f"x {n}" for n in range(1, last)), 'end"']
    pairs = [[f"my photo {n}.jpg", text] for n, text in enumerate(said)]
    assert rows_of("image,caption\n" + "".join(f"{name},{text}\n" for name, text in pairs))[0] == pairs


def test_swallowed_rows_with_a_cell_too_many_are_rows_too() -> None:
    text = "image,caption\np1.jpg,one\np2.jpg,two\n"
    text += 'p3.jpg,"start\np4.jpg,red,blue\np5.jpg,big,red\n\np6.jpg,end"\np7.jpg,x\n'
    assert [len(cells) for cells in rows_of(text)[0]] == [2, 2, 2, 3, 3, 2, 2]


HONEST = [
    "A dog runs.\nIt is brown, and big.",
    "One, two,\nthree, four,\nfive",
    "Luckily,\nnobody saw it\n\nand, so, on",
    "He said:\n- red, blue\n- green, white",
    "They saw 12, maybe 13\nof them, at 10 o'clock",
    'She said "no, never"\nand left, at once',
]


@pytest.mark.parametrize("name", NAMES)
def test_texts_of_several_lines_stay_whole(name: str) -> None:
    pairs = [[NAMES[name].format(n), text] for n, text in enumerate([*HONEST, *"abcdef"])]
    quoted = [[name, '"' + text.replace('"', '""') + '"' if text in HONEST else text] for name, text in pairs]
    found, note = rows_of("image,caption\n" + "".join(f"{name},{text}\n" for name, text in quoted))
    assert found == pairs
    assert "stray" not in note


def test_texts_of_several_lines_stay_whole_in_the_first_column_too() -> None:
    rows = [["Over, near\nA house", "green"], ["Look big", "old"], ["two\nlines", "house"], ["One,\ntwo,\nthree", "x"]]
    quoted = [[f'"{text}"' if "\n" in text else text, name] for text, name in rows]
    for delimiter in ",;|\t":
        lines = "".join(delimiter.join(cells) + "\n" for cells in [["caption", "image"], *quoted])
        assert rows_of(lines, delimiter)[0] == rows
    swallowed = 'caption,image\n"a dog,green\na cat,old\na house",near\nx,y\n'
    assert [cells[1] for cells in rows_of(swallowed)[0]] == ["green", "old", "near", "y"]


def test_where_each_row_begins_with_a_quote_other_lines_are_of_a_text() -> None:
    text = '"image","caption"\n"my photo 1.jpg","see\nmy photo 2.jpg,below"\n"my photo 3.jpg","x"\n'
    assert rows_of(text)[0] == [["my photo 1.jpg", "see\nmy photo 2.jpg,below"], ["my photo 3.jpg", "x"]]


def test_quotes_behind_a_space_are_quotes() -> None:
    text = 'image, caption\np0.jpg, "a dog, brown"\np1.jpg, "he said ""no"""\np2.jpg, a cat\np3.jpg, "two\nlines"\n'
    found, note = rows_of(text)
    assert found == [
        ["p0.jpg", "a dog, brown"],
        ["p1.jpg", 'he said "no"'],
        ["p2.jpg", "a cat"],
        ["p3.jpg", "two\nlines"],
    ]
    assert note == "3 rows have a space between delimiter and quote, which was dropped"


def test_a_quote_behind_a_space_that_is_none_stays_and_is_told() -> None:
    found, note = rows_of('image,caption\np0.jpg,a dog\np1.jpg, "Open" sign\np2.jpg,"a, b"\n')
    assert [cells[1] for cells in found] == ["a dog", ' "Open" sign', "a, b"]
    assert note == "1 rows have a quote behind a space, which was read as a character"
    assert rows_of('image,caption\np0.jpg,"Dogs, cats, "\n')[1] == ""


def test_only_a_backslash_before_a_quote_or_a_backslash_is_taken_away() -> None:
    text = 'image,caption\np0.jpg,"a path C:\\new\\temp, \\\\ there"\np1.jpg,"he said \\"hi, there\\""\np2.jpg,C:\\x\n'
    found, note = rows_of(text)
    assert [cells[1] for cells in found] == ["a path C:\\new\\temp, \\ there", 'he said "hi, there"', "C:\\x"]
    assert note == "quotes inside cells have a backslash before them"


def test_without_recovery_the_line_of_the_quote_is_named() -> None:
    with pytest.raises(DataError, match=r"^t\.csv, line 3: the quote in '\"b' is not closed in its line"):
        split_rows("t.csv", 'query\na\n"b\nc\nd"\ne\n', recover=False)
    assert len(split_rows("t.csv", 'id,query\n1,"two\nlines"\n2,x\n', recover=False)[0]) == 3
