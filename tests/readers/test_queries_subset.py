"""Subsets of queries by id."""

from pathlib import Path

import pytest

from picdesk.commands import check_submission
from picdesk.errors import DataError, MissingFileError
from picdesk.readers.queries import bare, only, read_ids

KNOWN = ["a1", "a2", "a3", "a10"]


@pytest.mark.parametrize(
    "content",
    [
        "article_id\na3\na1\n",
        "a3\na1\n",
        "\ufeffarticle_id\r\na3\r\na1\r\n",
        "ARTIKEL\na3\na1\n",
        "n,article_id\n1,a3\n2,a1\n",
        "a3,Storm\na1,Cat\n",
        "\na3\n\na1",
    ],
)
def test_defect_d_with_or_without_a_header(tmp_path: Path, content: str) -> None:
    """System D's subset has a header, which must not count as an article, and a file without one loses none."""
    (tmp_path / "subset.csv").write_text(content, encoding="utf-8")
    assert read_ids(str(tmp_path / "subset.csv"), KNOWN) == ["a3", "a1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a1\na9\n", "1 of 2 ids are not in queries"),
        ("a1\na1\n", "stand more than once"),
        ("article_id\n", "no ids"),
        ("", "no ids"),
        ("n,article_id\n1,a3\n2\n", "1 rows have another number of cells than the header's 2"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "subset.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        read_ids(str(tmp_path / "subset.csv"), KNOWN)


def test_queries_come_in_the_order_of_the_subset(tmp_path: Path) -> None:
    (tmp_path / "subset.csv").write_text("a10\na2\n")
    queries = [bare(name, f"title of {name}") for name in KNOWN]
    assert [query.id for query in only(queries, str(tmp_path / "subset.csv"))] == ["a10", "a2"]
    assert only(queries, None) == queries
    with pytest.raises(MissingFileError):
        only(queries, str(tmp_path / "none.csv"))


def test_a_stray_quote_swallows_no_id(tmp_path: Path) -> None:
    (tmp_path / "subset.csv").write_text('article_id,title\na1,"Open\na2,Dog\na3,door"\n')
    assert read_ids(str(tmp_path / "subset.csv"), KNOWN) == ["a1", "a2", "a3"]
    (tmp_path / "subset.tsv").write_text("article_id\ttitle\na1\tStorm, rain\n")
    assert read_ids(str(tmp_path / "subset.tsv"), KNOWN) == ["a1"]


@pytest.mark.parametrize(
    ("row", "words"), [("Storm, rain,a1", "another number of cells"), ("Storm,", "rows have no id")]
)
def test_a_row_whose_id_stands_elsewhere_is_refused(tmp_path: Path, row: str, words: str) -> None:
    (tmp_path / "subset.csv").write_text(f"title,article_id\n{row}\n")
    with pytest.raises(DataError, match=words):
        read_ids(str(tmp_path / "subset.csv"), None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a9\na2\na3\n", "1 of 3 ids .* 'a9'; the first row would be a header if it named a column: query_id, id"),
        ("A1\na2\n", "1 of 2 ids are not in queries=..., for example 'A1'"),
        ('"a1\na2\na3"\na10\n', "line 1: the id '\"a1' holds a quote or a line break"),
        ("a1,a2,a3\n", "line 1: 'a1', 'a2', 'a3' are several ids; one id a line is needed"),
        ("a1,x\na2,y,z\n", "1 rows have another number of cells than the first row's 2, for example line 2"),
    ],
)
def test_no_id_is_lost(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "subset.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        read_ids(str(tmp_path / "subset.csv"), KNOWN)


def test_a_header_of_no_known_name_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "subset.csv").write_text("ARTIKEL\na3\n")
    assert read_ids(str(tmp_path / "subset.csv"), KNOWN) == ["a3"]
    assert "its first row 'ARTIKEL' was taken for a header, not for an id" in caplog.text
    (tmp_path / "subset.csv").write_text("Query_ID\na3\n")
    assert read_ids(str(tmp_path / "subset.csv"), KNOWN) == ["a3"]


def test_json_is_no_subset(tmp_path: Path) -> None:
    (tmp_path / "subset.json").write_text('["a1","a2"]')
    with pytest.raises(DataError, match=r"subset=.*\.json: JSON is not read here; one id a line is needed"):
        read_ids(str(tmp_path / "subset.json"), None)


def test_a_list_is_told_by_the_key_that_named_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_submission.main([str(tmp_path), "--articles", "gone.csv"]) == 2
    assert "--articles=gone.csv: no such file" in capsys.readouterr().err
