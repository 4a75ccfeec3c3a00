"""The job files `run.trec` and `qrels.trec`: TREC text that other tools read, and that holds both directions in one file.

A query id is written `t2i/<id>` or `i2t/<id>`. White space, control characters and `%` in an id are percent-encoded. The sixth
column of a run, its tag, is `picdesk-<gallery size>`; lines of the tail (see `picdesk.trec`), whose rank column jumps, end in
`-tail`. Scores are float32 in the shortest form that reads back to the same number. Files of other tools are read too: without
a direction they are `t2i`, without our tag the gallery is the items that they name, and their rank column is not looked at.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from picdesk.errors import DataError, MissingFileError
from picdesk.files import file_digest, written_whole
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.trec.arrow import codes, numbers, strings, values
from picdesk.trec.faults import QRELS_COLUMNS, RUN_COLUMNS, fault
from picdesk.trec.run_lines import Lines, Longs, drop_unused_names, lines_of_run, run_of_lines
from picdesk.trec.runs import MOST_GRADE, Qrels, Run

_UNSAFE = re.compile(r"[\s%\x00-\x1f\x7f]")
_TAG = re.compile(r"picdesk-(\d+)(-tail)?")
_TYPES = {
    "query": pa.dictionary(pa.int32(), pa.string()),
    "item": pa.dictionary(pa.int32(), pa.string()),
    "tag": pa.dictionary(pa.int32(), pa.string()),
    "rank": pa.int64(),
    "score": pa.float32(),
    "relevance": pa.int64(),
    "iteration": pa.dictionary(pa.int32(), pa.string()),
}
_CHUNK = 1 << 15
OWN = "own"
"""Stands in the second column of a line of the qrels, which other tools do not read, where its item is the one that the query is
about: a caption's own picture. Only where that cannot be told from the relevant items."""


def write_runs(path: Path | str, runs: Mapping[Direction, Run]) -> str:
    """Write the runs of one job to one file, whole or not at all; its SHA-256."""
    with runs_written(path, runs) as digest:
        return digest


@contextmanager
def runs_written(path: Path | str, runs: Mapping[Direction, Run]) -> Iterator[str]:
    """The same while the block is at something else, in which the disk takes the file: it has its name when the block is left, or
    is dropped with what the block raises. Gives its SHA-256."""
    with written_whole(path) as temporary, temporary.open("wb") as stream, ThreadPoolExecutor(2) as pool:
        parts = (part for d in DIRECTIONS if d in runs for part in _parts_of(d, lines_of_run(runs[d])))
        waiting = [pool.submit(part) for part in islice(parts, 3)]
        while waiting:
            text = waiting.pop(0).result()
            waiting += [pool.submit(part) for part in islice(parts, 1)]
            stream.write(text)
        stream.flush()
        kept = pool.submit(os.fsync, stream.fileno())
        yield file_digest(temporary)
        kept.result()


def write_qrels(path: Path | str, qrels: Mapping[Direction, Qrels]) -> None:
    """Write the qrels of one job to one file; the items of a query in the order of their ids.

    Where it is known what the queries are about, those lines have `own` in their second column, and such items that are not
    relevant lines of grade 0.
    """
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        for direction in DIRECTIONS:
            if direction in qrels:
                _write_pairs(stream, direction, qrels[direction])


def read_runs(path: Path | str) -> dict[Direction, Run]:
    """Read a run file. Raises `DataError` naming file and line for whatever cannot be used."""
    path = Path(path)
    table = _read(path, RUN_COLUMNS)
    score = values(table["score"], np.float32)
    query, queries = codes(table["query"])
    item, items = codes(table["item"])
    if not np.isfinite(score).all() or _repeats(query, item, len(items)):
        raise fault(path, RUN_COLUMNS)
    tag, tags = codes(table["tag"])
    marks = [_TAG.fullmatch(text) for text in tags]
    sizes = np.array([int(mark[1]) if mark else 0 for mark in marks], np.int64)[tag]
    tail = np.array([bool(mark and mark[2]) for mark in marks], bool)[tag]
    rank = values(table["rank"], np.int64)
    found: dict[Direction, Run] = {}
    for direction, rows, names in _by_direction(query, queries):
        ours = queries != names
        kept, query_ids = drop_unused_names(query[rows], names)
        places, item_names = drop_unused_names(item[rows], items)
        item_ids = tuple(map(unquote, item_names)) if ours else item_names
        size = _gallery_size(path, direction, sizes[rows], len(item_ids))
        parts = (query_ids, item_ids, kept, places, rank[rows], score[rows], tail[rows])
        with _name_file(path, direction):
            found[direction] = run_of_lines(Lines(*parts, gallery_size=size))
    return found


def read_qrels(path: Path | str) -> dict[Direction, Qrels]:
    """Read a qrels file; the fourth column is the grade, and lines of 0 or less are left out. Raises `DataError` naming file
    and line."""
    path = Path(path)
    table = _read(path, QRELS_COLUMNS)
    relevance = values(table["relevance"], np.int64)
    if not (relevance > 0).any():
        raise DataError(f"{path}: no line says that an item is relevant (fourth column above 0)")
    if relevance.max() > MOST_GRADE:
        raise DataError(f"{path}: a relevance of {relevance.max()}; at most {MOST_GRADE} can be told apart")
    mark, marks = codes(table["iteration"])
    own = mark == marks.index(OWN) if OWN in marks else np.zeros(len(mark), np.bool_)
    used = (relevance > 0) | own
    grade, own = relevance[used], own[used]
    query, queries = codes(table["query"])
    item, items = codes(table["item"])
    found: dict[Direction, Qrels] = {}
    for direction, rows, names in _by_direction(query[used], queries):
        kept, query_ids = drop_unused_names(query[used][rows], names)
        places, item_names = drop_unused_names(item[used][rows], items)
        item_ids = tuple(map(unquote, item_names)) if queries != names else item_names
        order = sorted(range(len(item_ids)), key=item_ids.__getitem__)
        sorted_place = np.empty(len(order), np.int64)
        sorted_place[order] = np.arange(len(order))
        relevant, marked = grade[rows] > 0, own[rows]
        with _name_file(path, direction):
            pairs = (column[relevant] for column in (kept, sorted_place[places], grade[rows]))
            found[direction] = Qrels.from_pairs(query_ids, tuple(item_ids[i] for i in order), *pairs)
            if marked.any():
                about = found[direction].subjects.astype(np.int32)
                about[kept[marked]] = sorted_place[places][marked]
                found[direction] = replace(found[direction], about=about)
    return found


def write_runs_parquet(path: Path | str, runs: Mapping[Direction, Run]) -> None:
    """Write the runs of one job as a table: direction, query, item, rank, score, tail, gallery_size. Ids stand as they are."""
    tables = []
    for direction, run in runs.items():
        lines = lines_of_run(run)
        columns = {
            "direction": pa.repeat(direction, len(lines.query)),
            "query": strings(lines.query_ids).take(numbers(lines.query)),
            "item": strings(lines.item_ids).take(numbers(lines.item)),
            "rank": lines.rank.astype(np.int32),
            "score": lines.score,
            "tail": lines.tail,
            "gallery_size": np.full(len(lines.query), lines.gallery_size),
        }
        tables.append(pa.table(columns))
    with written_whole(path) as temporary:
        pyarrow.parquet.write_table(pa.concat_tables(tables), temporary)


def read_runs_parquet(path: Path | str) -> dict[Direction, Run]:
    """Read what `write_runs_parquet` wrote. Raises `DataError` for another table."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    try:
        table = pyarrow.parquet.read_table(
            path, columns=["direction", "query", "item", "rank", "score", "tail", "gallery_size"]
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise DataError(f"{path}: not a table of runs: {error}") from error
    found: dict[Direction, Run] = {}
    for direction in DIRECTIONS:
        part = table.filter(pc.equal(table["direction"], direction))
        if len(part):
            query, query_ids = codes(part["query"].dictionary_encode())
            item, item_ids = codes(part["item"].dictionary_encode())
            if _repeats(query, item, len(item_ids)):
                raise DataError(f"{path}: {direction}: an item stands twice for one query")
            rank, score, tail = (part[name].to_numpy() for name in ("rank", "score", "tail"))
            size = _gallery_size(path, direction, part["gallery_size"].to_numpy(), len(item_ids))
            lines = Lines(query_ids, item_ids, query, item, rank.astype(np.int64), score, tail, gallery_size=size)
            with _name_file(path, direction):
                found[direction] = run_of_lines(lines)
    return found


@contextmanager
def _name_file(path: Path, direction: Direction) -> Iterator[None]:
    """Put the file's name before what is wrong with its content."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {direction}: {error}") from error


def _by_direction(query: Longs, queries: tuple[str, ...]) -> list[tuple[Direction, Any, tuple[str, ...]]]:
    """Direction, its lines, and all query ids without their prefix."""
    heads = [name.partition("/")[0] for name in queries]
    ours = any(head in DIRECTIONS for head in heads)
    names = tuple(
        unquote(name.partition("/")[2]) if h in DIRECTIONS else name for h, name in zip(heads, queries, strict=True)
    )
    number = np.array([DIRECTIONS.index(h) if h in DIRECTIONS else 0 for h in heads])[query]
    if not ours:
        return [("t2i", slice(None), names)]
    return [(d, np.flatnonzero(number == i), names) for i, d in enumerate(DIRECTIONS) if (number == i).any()]


def _gallery_size(path: Path, direction: Direction, sizes: Longs, named: int) -> int:
    told = np.unique(sizes)
    if len(told) > 1:
        raise DataError(f"{path}: {direction}: the tag column tells different gallery sizes: {told.tolist()[:3]}")
    return int(told[0]) or named


def _parts_of(direction: Direction, lines: Lines) -> Iterator[Callable[[], memoryview]]:
    """What makes the text of `_CHUNK` lines, for one such part after the other."""
    queries = _names(lines.query_ids, f"{direction}/")
    items = _names(lines.item_ids)
    tags = strings([f"picdesk-{lines.gallery_size}\n", f"picdesk-{lines.gallery_size}-tail\n"])

    def text_from(start: int) -> memoryview:
        part = lines.take(slice(start, start + _CHUNK))
        rank, score = (pc.cast(numbers(column), pa.large_string()) for column in (part.rank, part.score))
        tag = tags.take(numbers(part.tail.astype(np.int64)))
        return _join(queries.take(numbers(part.query)), "Q0", items.take(numbers(part.item)), rank, score, tag)

    return (partial(text_from, start) for start in range(0, len(lines.query), _CHUNK))


def _write_pairs(stream: BinaryIO, direction: Direction, qrels: Qrels) -> None:
    place = np.empty(len(qrels.item_ids), np.int64)
    place[sorted(range(len(place)), key=qrels.item_ids.__getitem__)] = np.arange(len(place))
    asked, items = qrels.query_of, qrels.items.astype(np.int64)
    grades = np.ones(len(items), np.int64) if qrels.grades is None else qrels.grades.astype(np.int64)
    own = np.zeros(len(items), np.bool_)
    if qrels.about is not None:
        own = items == qrels.about[asked]
        other = np.setdiff1d(np.arange(len(qrels.query_ids)), asked[own])  # about what is not relevant
        asked, items = np.append(asked, other), np.append(items, qrels.about[other])
        grades, own = np.append(grades, np.zeros_like(other)), np.append(own, np.ones(len(other), np.bool_))
    order = np.lexsort((place[items], asked))
    query = _names(qrels.query_ids, f"{direction}/").take(numbers(asked[order]))
    item = _names(qrels.item_ids).take(numbers(items[order]))
    mark = strings(["0", OWN]).take(numbers(own[order].astype(np.int64))) if own.any() else "0"
    last = "1\n" if (grades == 1).all() else strings([f"{grade}\n" for grade in grades[order]])
    stream.write(_join(query, mark, item, last))


def _join(*columns: Any) -> memoryview:
    """The text of all lines at once: their columns with single blanks between them."""
    typed = [strings([column])[0] if isinstance(column, str) else column for column in columns]
    joined = pc.binary_join_element_wise(*typed, strings([" "])[0])
    return memoryview(joined.buffers()[2] or b"")[: pc.sum(pc.binary_length(joined)).as_py() or 0]


def _names(ids: tuple[str, ...], prefix: str = "") -> Any:
    if "" in ids:
        raise DataError("an id is empty: it cannot be written to a TREC file")
    safe = (_UNSAFE.sub(lambda found: quote(found[0], safe=""), name) for name in ids)
    return strings([prefix + name for name in safe])


def _repeats(query: Longs, item: Longs, items: int) -> bool:
    keys = np.sort(query * items + item)
    return bool((keys[1:] == keys[:-1]).any())


def _read(path: Path, columns: tuple[str, ...]) -> Any:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    text = path.read_bytes()
    if not text.strip():
        raise DataError(f"{path}: no lines")
    if any(mark in text for mark in (b"\t", b"  ", b" \n", b"\n ", b"\r")) or b" " in (text[:1], text[-1:]):
        text = b"\n".join(b" ".join(line.split()) for line in text.splitlines())
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(text),
            pyarrow.csv.ReadOptions(column_names=list(columns)),
            pyarrow.csv.ParseOptions(delimiter=" ", quote_char=False),
            pyarrow.csv.ConvertOptions(
                column_types={name: _TYPES.get(name, pa.string()) for name in columns},
                include_columns=[name for name in columns if name in _TYPES],
                null_values=[],
            ),
        )
    except pa.ArrowInvalid as error:
        raise fault(path, columns) from error
