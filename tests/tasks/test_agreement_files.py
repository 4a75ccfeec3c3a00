"""Files of ratings: no row is dropped."""

from pathlib import Path

import pytest

from picdesk.errors import DataError
from picdesk.tasks.agreement import Agreement, Judged, read
from tests.data.samples import put


def judgments(path: Path, form: str = "table") -> list[Judged]:
    return read(Agreement(name="agreement", door="evaluate", file=str(path), form=form), path)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a,x,1\nb,y,2,z\n", r"r\.csv line 3: 4 cells for 3 columns; 1 rows are so, a cell with a comma needs quotes"),
        ('a dog,x y.jpg,"1\nb,x z.jpg,2\nc,x v.jpg,3"\n', r"r\.csv, line 2: the quote in .* is not closed in its line"),
    ],
)
def test_a_row_that_would_be_lost_is_refused(tmp_path: Path, rows: str, told: str) -> None:
    path = put(tmp_path / "r.csv", f"text,picture,rating\n{rows}")
    with pytest.raises(DataError, match=told):
        judgments(path)


@pytest.mark.parametrize("content", [
    b"text\tpicture\trating\na\tx, 1.jpg\t1\n", b"text;picture;rating\r\na;x, 1.jpg;1\r\n",
    b'text,picture,rating\na,"x, 1.jpg",1\n',
])  # fmt: skip
def test_a_table_is_cut_where_its_columns_are(tmp_path: Path, content: bytes) -> None:
    assert judgments(put(tmp_path / "r.csv", content)) == [Judged("a", "x, 1.jpg", 1.0)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_flickr8ks_files_are_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """Also with a separator of Unicode's in a name, which ends no line."""
    text = "x.jpg\tcafé.jpg#0\t1\t2\t3\r\n\r\ny.jpg\ta\x0cb\t4\t4\t4\r\n"
    found = judgments(put(tmp_path / "e.txt", text.encode(encoding)), "expert")
    assert [one.rating for one in found] == [1, 2, 3, 4, 4, 4]
    assert [one.picture for one in found] == ["x.jpg"] * 3 + ["y.jpg"] * 3
    assert [found[0].text, found[3].text] == ["café.jpg#0", "a\x0cb"]


@pytest.mark.parametrize(("other", "told"), [("", "'x' alone"), ("x", "'x' twice")])
def test_a_choice_without_a_second_picture_is_refused(tmp_path: Path, other: str, told: str) -> None:
    """It was half met, whatever the model: a picture against itself."""
    path = put(tmp_path / "p.csv", f"text,picture,other,rating\na,x,y,b\na,x,{other},a\n")
    with pytest.raises(DataError, match=rf"p\.csv line 3: a choice is between two pictures, found {told}"):
        judgments(path, "pairs")
