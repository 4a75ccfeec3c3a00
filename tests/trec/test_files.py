"""The files run.trec and qrels.trec: what is written reads back, and bad lines are named."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from picdesk.errors import DataError, MissingFileError
from picdesk.files import file_digest
from picdesk.interfaces import DIRECTIONS
from picdesk.trec import files
from picdesk.trec.files import read_qrels, read_runs, read_runs_parquet, write_qrels, write_runs, write_runs_parquet
from picdesk.trec.runs import Qrels, Run, Tail
from tests.evaluation.ranking_cases import random_case


def test_both_directions_in_one_file_and_back_to_the_byte(tmp_path: Path) -> None:
    case = random_case(np.random.default_rng(1), pictures=30, levels=4)
    write_runs(tmp_path / "run.trec", {direction: case.run(direction, depth=8) for direction in DIRECTIONS})
    write_qrels(tmp_path / "qrels.trec", {direction: case.qrels(direction) for direction in DIRECTIONS})
    runs, qrels = read_runs(tmp_path / "run.trec"), read_qrels(tmp_path / "qrels.trec")
    assert {d: run.gallery_size for d, run in runs.items()} == {"t2i": 30, "i2t": len(case.text_ids)}
    for direction in DIRECTIONS:
        wanted = case.run(direction, depth=8)
        assert runs[direction].query_ids == wanted.query_ids
        assert np.array_equal(runs[direction].scores, wanted.scores)
        assert np.array_equal(
            np.array(runs[direction].item_ids)[runs[direction].index], np.array(wanted.item_ids)[wanted.index]
        )
    write_runs(tmp_path / "run2.trec", runs)
    write_qrels(tmp_path / "qrels2.trec", qrels)
    assert (tmp_path / "run2.trec").read_bytes() == (tmp_path / "run.trec").read_bytes()
    assert (tmp_path / "qrels2.trec").read_bytes() == (tmp_path / "qrels.trec").read_bytes()


def test_parts_of_a_long_run_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(np.random.default_rng(2), pictures=30, levels=4)
    runs = {direction: case.run(direction, depth=8) for direction in DIRECTIONS}
    assert write_runs(tmp_path / "whole.trec", runs) == file_digest(tmp_path / "whole.trec")
    monkeypatch.setattr(files, "_CHUNK", 7)
    write_runs(tmp_path / "parts.trec", runs)
    assert (tmp_path / "parts.trec").read_bytes() == (tmp_path / "whole.trec").read_bytes()


def test_the_text_is_that_of_trec(tmp_path: Path) -> None:
    tail = Tail(np.array([0], np.int32), np.array([2], np.int32), np.array([-0.1], np.float32), np.array([7], np.int32))
    index, scores = np.array([[1, 0]], np.int32), np.array([[1e-9, 1e-10]], np.float32)
    write_runs(tmp_path / "run.trec", {"t2i": Run(("a b%",), ("x", "y\u00a0", "é"), index, scores, 9, tail)})
    assert (tmp_path / "run.trec").read_text(encoding="utf-8") == (
        "t2i/a%20b%25 Q0 y%C2%A0 1 1e-9 picdesk-9\n"
        "t2i/a%20b%25 Q0 x 2 1e-10 picdesk-9\n"
        "t2i/a%20b%25 Q0 é 7 -0.1 picdesk-9-tail\n"
    )
    run = read_runs(tmp_path / "run.trec")["t2i"]
    assert (run.query_ids, set(run.item_ids), run.gallery_size) == (("a b%",), {"x", "y\u00a0", "é"}, 9)
    assert run.tail.rank.tolist() == [7]


def test_files_of_other_tools(tmp_path: Path) -> None:
    """No direction, no tag of ours, tabs, CRLF, ranks that mean nothing, lines in any order."""
    (tmp_path / "run.trec").write_bytes(b"q1\tQ0\td1\t0\t0.5\tbm25\r\nq2 Q0 d3 0 1 bm25\n\nq1  Q0 d%202 0 0.75 bm25\n")
    (tmp_path / "qrels.trec").write_text("q1 0 d1 1\nq1 0 d3 0\nq2 0 d3 2\n")
    run = read_runs(tmp_path / "run.trec")["t2i"]
    assert (run.query_ids, run.item_ids, run.gallery_size) == (("q1", "q2"), ("d1", "d3", "d%202"), 3)
    assert run.index.tolist() == [[2, 0], [1, -1]]
    qrels = read_qrels(tmp_path / "qrels.trec")["t2i"]
    assert [qrels.item_ids[i] for i in qrels.items] == ["d1", "d3"]


@pytest.mark.parametrize("text", ["q Q0 d 1 0.5 t\n q Q0 e 2 0.4 t\n", "q Q0 d 1 0.5 t\nq Q0 e 2 0.4 t "])
def test_blanks_at_the_ends_of_lines_say_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.trec").write_text(text)
    run = read_runs(tmp_path / "run.trec")["t2i"]
    assert (run.query_ids, run.item_ids) == (("q",), ("d", "e"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            gzip.compress(b"q Q0 d 1 0.5 t\n", mtime=0).decode("latin-1"),
            "compressed by gzip; give the file itself: gunzip -k",
        ),
        ("q Q0 d 1 0.5 t\nq Q0 e 2 0.4\n", "line 2: 5 columns, wanted 6: query Q0 item rank score tag"),
        ("q Q0 d 1 high t\n", "line 1: the score is 'high', wanted a finite number of float32"),
        ("q Q0 d 1 0.5 t\nq Q0 e 2 nan t\n", "line 2: the score is 'nan'"),
        ("q Q0 d 1 1_0 t\n", "line 1: the score is '1_0', wanted a finite number of float32"),
        ("q Q0 d 1 1e39 t\n", "line 1: the score is '1e39'"),
        ("q Q0 d one 0.5 t\n", "line 1: the rank is 'one', wanted a whole number"),
        (
            "q Q0 d 1 0.5 t\n\nq Q0 e 2 0.4 t\nq Q0 d 3 0.1 t\n",
            "line 4: item d stands twice for query q: first in line 1",
        ),
        ("\n", "no lines"),
        ("q Q0 \xe9 1 0.5 t\n", "cannot be read as 6 columns of UTF-8 text"),
        ("t2i/q Q0 a 1 0.5 t\nq Q0 b 1 0.5 t\n", "t2i: run queries: 1 ids stand more than once, for example 'q'"),
        ("q Q0 d 1 0.5 picdesk-3\nq Q0 e 2 0.4 picdesk-4\n", "different gallery sizes: [3, 4]"),
        ("q Q0 d 1 0.5 picdesk-1\nq Q0 e 2 0.4 picdesk-1\n", "gallery_size=1, but 2 items"),
        ("q Q0 d 1 0.5 picdesk-9\nq Q0 e 1 0.4 picdesk-9-tail\n", "tail line of rank 1, wanted 2 to 9"),
    ],
)
def test_bad_run_lines_are_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.trec").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as error:
        read_runs(tmp_path / "bad.trec")
    assert "bad.trec" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("q 0 d\n", "line 1: 3 columns, wanted 4"),
        ("q 0 d yes\n", "line 1: the relevance is 'yes', wanted a whole number"),
        ("q 0 d 0\n", "no line says that an item is relevant"),
        ("", "no lines"),
    ],
)
def test_bad_qrels_lines_are_named(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.trec").write_text(text)
    with pytest.raises(DataError, match=r"bad\.trec") as error:
        read_qrels(tmp_path / "bad.trec")
    assert told in str(error.value)


def test_a_query_without_items_cannot_be_written(tmp_path: Path) -> None:
    run = Run(("a", "b"), ("x",), np.array([[0], [-1]], np.int32), np.array([[1], [-np.inf]], np.float32), 1)
    with pytest.raises(DataError, match="1 queries have no item and cannot be written, for example 'b'"):
        write_runs(tmp_path / "run.trec", {"t2i": run})
    assert not list(tmp_path.iterdir())


def test_parquet_and_back(tmp_path: Path) -> None:
    case = random_case(np.random.default_rng(2), pictures=20, levels=4)
    tail = Tail(np.array([0], np.int32), np.array([2], np.int32), np.array([-9], np.float32), np.array([17], np.int32))
    index, scores = np.array([[1, 0]], np.int32), np.array([[0.5, 0.25]], np.float32)
    runs = {"t2i": Run(("a b%",), ("x", "y", "é"), index, scores, 19, tail), "i2t": case.run("i2t", depth=3)}
    write_runs_parquet(tmp_path / "run.parquet", runs)
    write_runs(tmp_path / "one.trec", runs)
    write_runs(tmp_path / "two.trec", read_runs_parquet(tmp_path / "run.parquet"))
    assert (tmp_path / "one.trec").read_bytes() == (tmp_path / "two.trec").read_bytes()
    (tmp_path / "not.parquet").write_text("no")
    with pytest.raises(DataError, match=r"not\.parquet: not a table of runs"):
        read_runs_parquet(tmp_path / "not.parquet")
    with pytest.raises(MissingFileError, match="no such file"):
        read_runs_parquet(tmp_path / "none.parquet")


def test_what_a_query_is_about_reads_back(tmp_path: Path) -> None:
    """The own picture of q1 is the second of its relevant ones by id, that of q2 is not relevant to it."""
    asked, items = np.array([0, 0, 1]), np.array([0, 1, 2])
    qrels = Qrels.from_pairs(("q1", "q2"), ("a", "b", "c"), asked, items, about=np.array([1, 0]))
    write_qrels(tmp_path / "q", {"t2i": qrels})
    assert (tmp_path / "q").read_text() == "t2i/q1 0 a 1\nt2i/q1 own b 1\nt2i/q2 own a 0\nt2i/q2 0 c 1\n"
    again = read_qrels(tmp_path / "q")["t2i"]
    assert [again.item_ids[i] for i in again.subjects] == ["b", "a"]
    assert [[again.item_ids[i] for i in again.relevant(q)] for q in (0, 1)] == [["a", "b"], ["c"]]
    assert again.grades is None


def test_qrels_order(tmp_path: Path) -> None:
    qrels = Qrels.from_pairs(("q2", "q1"), ("z", "a", "m"), np.array([0, 0, 1]), np.array([0, 1, 2]))
    write_qrels(tmp_path / "q", {"i2t": qrels})
    assert (tmp_path / "q").read_text() == "i2t/q2 0 a 1\ni2t/q2 0 z 1\ni2t/q1 0 m 1\n"
