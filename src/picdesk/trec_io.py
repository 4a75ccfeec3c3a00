"""The job files `run.trec` and `qrels.trec`: TREC text that other tools read, and that holds both directions in one file.

A query id is written `t2i/<id>` or `i2t/<id>`. White space, control characters and `%` in an id are percent-encoded. The sixth
column of a run, its tag, is `picdesk-<gallery size>`; lines of the tail (see `picdesk.trec`), whose rank column jumps, end in
`-tail`. Scores are float32 in the shortest form that reads back to the same number. Files of other tools are read too: without
a direction they are `t2i`, without our tag the gallery is the items that they name, and their rank column is not looked at.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from picdesk.errors import DataError, MissingFileError
from picdesk.files import written_whole
from picdesk.interfaces import DIRECTIONS, Direction
from picdesk.trec import Qrels, Run
from picdesk.trec_lines import Lines, Longs, compacted, lines_of_run, run_of_lines

RUN_COLUMNS = ("query", "Q0", "item", "rank", "score", "tag")
QRELS_COLUMNS = ("query", "iteration", "item", "relevance")
_UNSAFE = re.compile(r"[\s%\x00-\x1f\x7f]")
_TAG = re.compile(r"picdesk-(\d+)(-tail)?")
_TYPES = {
    "query": pa.dictionary(pa.int32(), pa.string()),
    "item": pa.dictionary(pa.int32(), pa.string()),
    "tag": pa.dictionary(pa.int32(), pa.string()),
    "rank": pa.int64(),
    "score": pa.float32(),
    "relevance": pa.int64(),
}
_CHUNK = 1 << 20


def write_runs(path: Path | str, runs: Mapping[Direction, Run]) -> None:
    """Write the runs of one job to one file, whole or not at all."""
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        for direction in DIRECTIONS:
            if direction in runs:
                _write_lines(stream, direction, lines_of_run(runs[direction]))


def write_qrels(path: Path | str, qrels: Mapping[Direction, Qrels]) -> None:
    """Write the qrels of one job to one file; the items of a query in the order of their ids."""
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        for direction in DIRECTIONS:
            if direction in qrels:
                _write_pairs(stream, direction, qrels[direction])


def read_runs(path: Path | str) -> dict[Direction, Run]:
    """Read a run file. Raises `DataError` naming file and line for whatever cannot be used."""
    path = Path(path)
    table = _read(path, RUN_COLUMNS)
    score = table["score"].to_numpy()
    query, queries = _codes(table["query"])
    item, items = _codes(table["item"])
    if not np.isfinite(score).all() or _repeats(query, item, len(items)):
        raise _fault(path, RUN_COLUMNS)
    tag, tags = _codes(table["tag"])
    marks = [_TAG.fullmatch(text) for text in tags]
    sizes = np.array([int(mark[1]) if mark else 0 for mark in marks], np.int64)[tag]
    tail = np.array([bool(mark and mark[2]) for mark in marks], bool)[tag]
    rank = table["rank"].to_numpy()
    found: dict[Direction, Run] = {}
    for direction, rows, names in _by_direction(query, queries):
        ours = queries != names
        kept, query_ids = compacted(query[rows], names)
        places, item_names = compacted(item[rows], items)
        item_ids = tuple(map(unquote, item_names)) if ours else item_names
        size = _gallery_size(path, direction, sizes[rows], len(item_ids))
        parts = (query_ids, item_ids, kept, places, rank[rows], score[rows], tail[rows])
        try:
            found[direction] = run_of_lines(Lines(*parts, gallery_size=size))
        except DataError as error:
            raise DataError(f"{path}: {direction}: {error}") from error
    return found


def read_qrels(path: Path | str) -> dict[Direction, Qrels]:
    """Read a qrels file; lines of relevance 0 or less are left out. Raises `DataError` naming file and line."""
    path = Path(path)
    table = _read(path, QRELS_COLUMNS)
    relevant = table["relevance"].to_numpy() > 0
    if not relevant.any():
        raise DataError(f"{path}: no line says that an item is relevant (fourth column above 0)")
    query, queries = _codes(table["query"])
    item, items = _codes(table["item"])
    found: dict[Direction, Qrels] = {}
    for direction, rows, names in _by_direction(query[relevant], queries):
        kept, query_ids = compacted(query[relevant][rows], names)
        places, item_names = compacted(item[relevant][rows], items)
        item_ids = tuple(map(unquote, item_names)) if queries != names else item_names
        order = sorted(range(len(item_ids)), key=item_ids.__getitem__)
        sorted_place = np.empty(len(order), np.int64)
        sorted_place[order] = np.arange(len(order))
        found[direction] = Qrels.from_pairs(query_ids, tuple(item_ids[i] for i in order), kept, sorted_place[places])
    return found


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


def _write_lines(stream: BinaryIO, direction: Direction, lines: Lines) -> None:
    queries = _names(lines.query_ids, f"{direction}/")
    items = _names(lines.item_ids)
    tags = pa.array([f"picdesk-{lines.gallery_size}\n", f"picdesk-{lines.gallery_size}-tail\n"], pa.large_string())
    for start in range(0, len(lines.query), _CHUNK):
        part = lines.take(np.arange(start, min(start + _CHUNK, len(lines.query))))
        rank = pc.cast(pa.array(part.rank), pa.large_string())
        score = pc.cast(pa.array(part.score), pa.large_string())
        tag = tags.take(pa.array(part.tail.astype(np.int64)))
        _write_joined(
            stream, queries.take(pa.array(part.query)), "Q0", items.take(pa.array(part.item)), rank, score, tag
        )


def _write_pairs(stream: BinaryIO, direction: Direction, qrels: Qrels) -> None:
    place = np.empty(len(qrels.item_ids), np.int64)
    place[sorted(range(len(place)), key=qrels.item_ids.__getitem__)] = np.arange(len(place))
    order = np.lexsort((place[qrels.items], qrels.query_of))
    query = _names(qrels.query_ids, f"{direction}/").take(pa.array(qrels.query_of[order]))
    item = _names(qrels.item_ids).take(pa.array(qrels.items[order]))
    _write_joined(stream, query, "0", item, "1\n")


def _write_joined(stream: BinaryIO, *columns: Any) -> None:
    """Join the columns with single blanks and write the text of all lines at once."""
    typed = [pa.scalar(column, pa.large_string()) if isinstance(column, str) else column for column in columns]
    joined = pc.binary_join_element_wise(*typed, pa.scalar(" ", pa.large_string()))
    if len(joined):
        stream.write(memoryview(joined.buffers()[2])[: pc.sum(pc.binary_length(joined)).as_py()])


def _names(ids: tuple[str, ...], prefix: str = "") -> Any:
    if "" in ids:
        raise DataError("an id is empty: it cannot be written to a TREC file")
    safe = (_UNSAFE.sub(lambda found: quote(found[0], safe=""), name) for name in ids)
    return pa.array([prefix + name for name in safe], pa.large_string())


def _codes(column: Any) -> tuple[Longs, tuple[str, ...]]:
    """Positions and names, in the order of first appearance."""
    whole = column.unify_dictionaries().combine_chunks()
    return whole.indices.to_numpy().astype(np.int64), tuple(whole.dictionary.to_pylist())


def _repeats(query: Longs, item: Longs, items: int) -> bool:
    keys = np.sort(query * items + item)
    return bool((keys[1:] == keys[:-1]).any())


def _read(path: Path, columns: tuple[str, ...]) -> Any:
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file")
    text = path.read_bytes()
    if not text.strip():
        raise DataError(f"{path}: no lines")
    if b"\t" in text or b"  " in text or b" \n" in text or b"\r" in text or text[:1] == b" ":
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
        raise _fault(path, columns) from error


def _fault(path: Path, columns: tuple[str, ...]) -> DataError:
    """The first line that cannot be used, found by the slow way."""
    seen: dict[tuple[str, str], int] = {}
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            words = line.split()
            if words and (what := _fault_of(words, columns)):
                return DataError(f"{path}, line {number}: {what}")
            if words and columns == RUN_COLUMNS and seen.setdefault((words[0], words[2]), number) != number:
                first = seen[words[0], words[2]]
                return DataError(
                    f"{path}, line {number}: item {words[2]} stands twice for query {words[0]}: first in line {first}"
                )
    return DataError(f"{path}: cannot be read as {len(columns)} columns of UTF-8 text")


def _fault_of(words: list[str], columns: tuple[str, ...]) -> str:
    if len(words) != len(columns):
        return f"{len(words)} columns, wanted {len(columns)}: {' '.join(columns)}"
    for name, word in zip(columns, words, strict=True):
        if name in ("rank", "relevance") and not re.fullmatch(r"-?\d{1,18}", word):
            return f"the {name} is {word!r}, wanted a whole number"
        if name == "score" and not _finite(word):
            return f"the score is {word!r}, wanted a finite number of float32"
    return ""


def _finite(word: str) -> bool:
    try:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float32(float(word))))
    except ValueError:
        return False
