"""Files of queries and of captions by picture id."""

import json
from pathlib import Path

import pytest

from picdesk.data.queries import read_captions, read_queries
from picdesk.errors import DataError

ODD = "one\u2028text\u0085and\x0cno more"  # what str.splitlines also cuts at


def written(path: Path, content: str) -> str:
    path.write_bytes(content.encode())
    return str(path)


def test_zero_is_an_id_and_an_absent_or_empty_one_is_none(tmp_path: Path) -> None:
    rows = [{"id": 0, "query": "a", "picture_id": 0, "tags": 0}, {"id": None, "query": "b"}, {"id": "", "query": "c"}]
    queries = read_queries(written(tmp_path / "q.jsonl", "\n".join(map(json.dumps, rows))))
    assert [(query.id, query.picture_id) for query in queries] == [("0", "0"), ("q2", ""), ("q3", "")]
    assert [query.fields["tags"] for query in queries] == [("0",), (), ()]
    captions = written(tmp_path / "c.jsonl", '{"picture_id": 0, "caption": "a"}')
    assert read_captions(captions) == {"0": "a"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_at_line_ends_alone(tmp_path: Path, end: str) -> None:
    queries = read_queries(written(tmp_path / "q.txt", f"{ODD}{end}{end} second {end}"))
    assert [(query.id, query.fields["caption"]) for query in queries] == [("q1", ODD), ("q2", "second")]
    rows = end.join(json.dumps({"text": text}, ensure_ascii=False) for text in (ODD, "second"))
    assert [query.fields["title"] for query in read_queries(written(tmp_path / "q.jsonl", rows))] == [ODD, "second"]


@pytest.mark.parametrize("row", ["5", "null", '"text"', "[1]"])
def test_a_row_that_is_no_object_is_named_by_file_and_line(tmp_path: Path, row: str) -> None:
    file = written(tmp_path / "c.jsonl", f'{{"picture_id": "a", "caption": "b"}}\n{row}\n')
    with pytest.raises(DataError, match=rf"captions_file={file}, line 2: an object is needed, found \w+$"):
        read_captions(file)
