import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from picdesk.data.readers import Parquet
from picdesk.errors import DataError, MissingFileError
from tests.data.samples import check_pictures, colour, jpeg, pairs, put, reasons


def write(file: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), file, row_group_size=2)


def test_the_form_of_the_demo_set(tmp_path: Path) -> None:
    ids = [f"d{n}" for n in range(5)]
    write(
        tmp_path / "demo.parquet",
        picture_id=ids,
        picture=[jpeg(colour(n)) for n in range(5)],
        title=[f"Title {n}" for n in range(5)],
        tags=[["a", "b"], [], None, ["c"], ["d"]],
        author=["someone"] * 5,
    )
    reader = Parquet(
        root=str(tmp_path),
        file="demo.parquet",
        title_column="title",
        tags_column="tags",
        more_columns={"author": "author"},
    )
    collection = reader.read()
    check_pictures(collection, {name: colour(n) for n, name in enumerate(ids)})
    assert pairs(collection) == {f"{name}#0": name for name in ids}
    assert collection.texts[0] == {"title": "Title 0", "tags": ("a", "b"), "author": "someone"}
    again = pickle.loads(pickle.dumps(collection.pictures))  # noqa: S301
    assert again.read(3) == collection.pictures.read(3)


def test_null_pictures_and_repeated_ids(tmp_path: Path) -> None:
    one, other = jpeg(colour(1)), jpeg(colour(2))
    write(
        tmp_path / "x.parquet",
        picture_id=["a", "b", "a", "a", None, "c"],
        picture=[one, None, one, other, one, other],
        caption=list("uvwxyz"),
    )
    collection = Parquet(root=str(tmp_path), file="*.parquet", caption_column="caption").read()
    check_pictures(collection, {"a": colour(1), "c": colour(2)})
    assert [fields["caption"] for fields in collection.texts] == ["u", "w", "z"]
    assert pairs(collection) == {"a#0": "a", "a#1": "a", "c#0": "c"}
    assert reasons(collection) == [
        "x.parquet row 1: no picture bytes for 'b'",
        "x.parquet row 3: picture id 'a' stands already, for another picture",
        "x.parquet row 4: no picture id",
    ]


def test_struct_pictures_lists_of_captions_and_splits_over_two_files(tmp_path: Path) -> None:
    for part, split in ((0, "train"), (1, "validation")):
        write(
            tmp_path / f"{part}.parquet",
            id=[2 * part, 2 * part + 1],
            image=[{"bytes": jpeg(colour(2 * part + k)), "path": None} for k in (0, 1)],
            captions=[["x", "y"], ["z"]],
            split=[split, split],
        )
    collection = Parquet(
        root=str(tmp_path),
        file="*.parquet",
        picture_column="image",
        picture_id_column="id",
        caption_column="captions",
        split_column="split",
    ).read()
    check_pictures(collection, {str(n): colour(n) for n in range(4)})
    assert list(pairs(collection)) == ["0#0", "0#1", "1#0", "2#0", "2#1", "3#0"]
    assert collection.official == ("train", "train", "val", "val")


def test_a_gallery_without_texts(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", picture_id=["a"], picture=[jpeg(colour(1))])
    collection = Parquet(root=str(tmp_path), file="x.parquet").read()
    assert (collection.text_ids, len(collection.picture_of)) == ((), 0)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no file 'x\.parquet' in data\.root"):
        Parquet(root=str(tmp_path), file="x.parquet").read()
    put(tmp_path / "x.parquet", b"PAR1 no")
    with pytest.raises(DataError, match=r"x\.parquet: not a readable parquet file"):
        Parquet(root=str(tmp_path), file="x.parquet").read()
    write(tmp_path / "x.parquet", picture_id=["a"], picture=[b"1"])
    with pytest.raises(
        DataError, match=r"no such column: data\.title_column=titel, data\.more_columns\.by=author; the columns"
    ):
        Parquet(root=str(tmp_path), file="x.parquet", title_column="titel", more_columns={"by": "author"}).read()


def test_a_pattern_for_each_split_and_a_column_of_another_type(tmp_path: Path) -> None:
    for n, name in enumerate(("train-0", "train-1", "test-0")):
        write(tmp_path / f"{name}.parquet", picture_id=[name], picture=[jpeg(colour(n))], path=["x.jpg"])
    collection = Parquet(root=str(tmp_path), file={"train": "train-*.parquet", "test": "test-*.parquet"}).read()
    check_pictures(collection, {name: colour(n) for n, name in enumerate(("train-0", "train-1", "test-0"))})
    assert collection.official == ("train", "train", "test")
    with pytest.raises(DataError, match=r"data\.picture_column=path holds string; wanted binary"):
        Parquet(root=str(tmp_path), file="*.parquet", picture_column="path").read()
