"""Files of queries and of captions by picture id."""

import gzip
import json
from pathlib import Path

import pytest

from picdesk.errors import DataError
from picdesk.readers.queries import NAMES, read_captions, read_queries
from tests.conftest import PROJECT

ODD = "one\u2028text\u0085and\x0cno more"  # what str.splitlines also cuts at


def write_file(path: Path, content: str) -> str:
    path.write_bytes(content.encode())
    return str(path)


def test_zero_is_an_id_and_an_absent_or_empty_one_is_none(tmp_path: Path) -> None:
    rows = [{"id": 0, "query": "a", "picture_id": 0, "tags": 0}, {"id": None, "query": "b"}, {"id": "", "query": "c"}]
    queries = read_queries(write_file(tmp_path / "q.jsonl", "\n".join(map(json.dumps, rows))))
    assert [(query.id, query.picture_id) for query in queries] == [("0", "0"), ("q2", ""), ("q3", "")]
    assert [query.fields["tags"] for query in queries] == [("0",), (), ()]
    captions = write_file(tmp_path / "c.jsonl", '{"picture_id": 0, "caption": "a"}')
    assert read_captions(captions) == {"0": "a"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_at_line_ends_alone(tmp_path: Path, end: str) -> None:
    queries = read_queries(write_file(tmp_path / "q.txt", f"{ODD}{end}{end} second {end}"))
    assert [(query.id, query.fields["caption"]) for query in queries] == [("q1", ODD), ("q2", "second")]
    rows = end.join(json.dumps({"text": text}, ensure_ascii=False) for text in (ODD, "second"))
    assert [query.fields["title"] for query in read_queries(write_file(tmp_path / "q.jsonl", rows))] == [ODD, "second"]


@pytest.mark.parametrize("row", ["5", "null", '"text"', "[1]"])
def test_a_row_that_is_no_object_is_named_by_file_and_line(tmp_path: Path, row: str) -> None:
    file = write_file(tmp_path / "c.jsonl", f'{{"picture_id": "a", "caption": "b"}}\n{row}\n')
    with pytest.raises(DataError, match=rf"captions_file={file}, line 2: an object is needed, found \w+$"):
        read_captions(file)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("q.csv", "id,query\n1,red\n2,green, blue\n3,a\n4,b,c\n", "line 3: 3 cells for 2 columns (and 1 more rows)"),
        ("q.jsonl", '{"query": 5}\n', "line 1: query holds the number 5, which is no text"),
        ("q.jsonl", '{"text": ["a", "b"]}\n', "line 1: text holds a list"),
        ("q.jsonl", '{"text": "a", "id": {"n": 1}}\n', "line 1: id holds a record"),
        ("q.jsonl", '{"text": "a", "tags": [{"n": 1}]}\n', "line 1: tags holds a list with a record"),
        ("q.jsonl", '{"text": "a", "text": "b"}\n', "line 1: the key 'text' stands twice"),
        ("q.jsonl", '{"text": "\\ud800"}\n', "line 1: half of a character"),
        ("q.csv", "query\nnan\nx\n", "line 2: query says 'nan': no text"),
        ("q.csv", 'query\n"[""a"", ""b""]"\nx\n', "line 2: query holds a list"),
        ("q.csv", 'query\na\n"b\nc\nd"\n', "line 3: the quote in '\"b' is not closed in its line"),
        ("q.csv", 'query,id\nhello world,"x\nmore words,y\nlast one,z"\n', "line 2: the quote in 'hello world"),
        ("q.csv", 'id,query\n1,"a\n2,b\n3,c"\n4,d\n', "line 2: the quote in '1,\"a' is not closed"),
        ("q.txt", "one\n\ntw\0o\n", "line 3: a NUL character in the text"),
        ("q.json", '["a", "b"]', "record 1: not a JSON object (and 1 more rows)"),
    ],
)
def test_no_query_is_dropped_or_made_up(tmp_path: Path, name: str, content: str, words: str) -> None:
    file = write_file(tmp_path / name, content)
    with pytest.raises(DataError) as told:
        read_queries(file)
    assert str(told.value).startswith(f"queries={file}, {words}")


def test_queries_in_other_forms(tmp_path: Path) -> None:
    forms = {
        "a.TSV": 'id\ttext\n1\t"Red" is a colour\n2\tgreen, blue\n',
        "b.csv": 'id;text\n1;"Red" is a colour\n2;green, blue\n',
        "c.json": '[{"id": 1, "text": "\\"Red\\" is a colour"}, {"id": 2, "text": "green, blue"}]',
    }
    for name, content in forms.items():
        found = read_queries(write_file(tmp_path / name, content))
        assert [(one.id, one.fields["caption"]) for one in found] == [("1", '"Red" is a colour'), ("2", "green, blue")]
    packed = tmp_path / "d.csv.gz"
    packed.write_bytes(gzip.compress("query\nüber\n".encode("utf-16")))
    assert read_queries(str(packed))[0].fields["title"] == "über"


def test_a_text_beside_the_one_that_is_asked_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_file(tmp_path / "q.csv", "caption,title,id\na dog runs,Dogs,1\na cat,Cats,2\n")
    with caplog.at_level("INFO"):
        assert [query.fields["caption"] for query in read_queries(file)] == ["Dogs", "Cats"]
    assert "each row asks by the first that it has of title, caption; the others are not read" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        read_queries(write_file(tmp_path / "q.csv", "id,title\n1,Dogs\n"))
        assert "the others are not read" not in caplog.text
    page = (PROJECT / "docs/queries.md").read_text()
    assert all(f"| {', '.join(f'`{name}`' for name in names)} |" in page for names in NAMES.values())


def test_a_query_of_several_lines_is_one(tmp_path: Path) -> None:
    file = write_file(tmp_path / "q.csv", 'id,query\n1,"A dog, brown.\nIt runs, too"\n2,x\n')
    assert [one.fields["caption"] for one in read_queries(file)] == ["A dog, brown.\nIt runs, too", "x"]
    file = write_file(tmp_path / "r.csv", '"query"\n"two\nlines"\n"one"\n')
    assert [one.fields["caption"] for one in read_queries(file)] == ["two\nlines", "one"]


def test_a_caption_with_a_comma_is_not_dropped(tmp_path: Path) -> None:
    file = write_file(tmp_path / "c.csv", "image,caption\na.png,red, blue\nb.png,green\n")
    with pytest.raises(DataError, match=rf"captions_file={file}, line 2: 3 cells for 2 columns"):
        read_captions(file)


@pytest.mark.parametrize("other", ["title", "query", "text", "headline", "article_title"])
def test_captions_are_taken_from_the_column_of_that_name(tmp_path: Path, other: str) -> None:
    file = write_file(tmp_path / "c.csv", f"picture,{other},caption\na.jpg,NEWS HEADLINE,a dog on grass\n")
    assert read_captions(file) == {"a.jpg": "a dog on grass"}
    rows = [{"picture": "a.jpg", other: "NEWS", "caption": "a dog"}, {"picture": "b.jpg", other: "NEWS"}]
    with pytest.raises(DataError, match=r"captions_file=.*c\.jsonl, line 2: no caption"):
        read_captions(write_file(tmp_path / "c.jsonl", "\n".join(map(json.dumps, rows))))
    assert read_captions(write_file(tmp_path / "d.csv", f"picture,{other}\na.jpg,a dog\n")) == {"a.jpg": "a dog"}


def test_two_columns_that_may_hold_captions_are_refused(tmp_path: Path) -> None:
    file = write_file(tmp_path / "c.csv", "picture,title,query\na.jpg,NEWS HEADLINE,a dog on grass\n")
    with pytest.raises(DataError, match=r"captions_file=.*several columns may hold the captions: query, title; call"):
        read_captions(file)


def test_what_is_told_of_quotes_names_no_key_that_query_files_lack(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told = ""
    try:
        read_queries(write_file(tmp_path / "q.csv", 'query,id\n"Beware" it says,a\nplain words,b\nmore words,c\n'))
    except DataError as error:
        told = str(error)
    assert "quot" in caplog.text + told
    assert "data.quoting" not in caplog.text + told
