"""Pictures that are not there, in every reader that looks for files by name: none is replaced by one whose name is alike."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from picdesk.collection import Collection
from picdesk.readers.aligned import Aligned
from picdesk.readers.coco import Coco
from picdesk.readers.flickr8k import Flickr8k
from picdesk.readers.karpathy import Karpathy
from picdesk.readers.newsimages import NewsImages
from picdesk.readers.npz import Npz
from picdesk.readers.parquet import Parquet
from picdesk.readers.tables import Csv, Jsonl
from tests.data.samples import colour, jpeg, put, put_csv

ALIKE = ["P0.jpg", "p0.jpg", "P1.JPG"]  # on disk: p0.jpg and p1.jpg
SAME = ["./p0.jpg", "p0.jpg", "sub//q.jpg", "sub/./q.jpg", "sub/q.jpg", "link.jpg"]  # which leads to sub/q.jpg
Names = list[str]


def rows(names: Names) -> list[list[str]]:
    return [[name, f"of {name}"] for name in names]


def table(root: Path, names: Names) -> Collection:
    put_csv(root / "t.csv", ["image", "caption"], rows(names))
    return Csv(root=str(root), file="t.csv", folder="pics").read()


def records(root: Path, names: Names) -> Collection:
    """The spellings in two files."""
    for file, own in (("a", names[: len(names) // 3]), ("b", names[len(names) // 3 :])):
        put(root / f"{file}.jsonl", "".join(json.dumps({"image": a, "caption": b}) + "\n" for a, b in rows(own)))
    return Jsonl(root=str(root), file={"train": "a.jsonl", "test": "b.jsonl"}, folder="pics").read()


def columns(root: Path, names: Names) -> Collection:
    for file, own in (("a", names[: len(names) // 3]), ("b", names[len(names) // 3 :])):
        made = pa.table({"picture": own, "id": own, "caption": [f"of {name}" for name in own]})
        pq.write_table(made, root / f"{file}.parquet")
    options: dict[str, Any] = {"picture_id_column": "id" if names is ALIKE else None, "caption_column": "caption"}
    return Parquet(root=str(root), file="*.parquet", folder="pics", **options).read()


def lines(root: Path, names: Names) -> Collection:
    put(root / "names.txt", "\n".join(names) + "\n")
    put(root / "captions.txt", "".join(f"of {name}\n" for name in names))
    return Aligned(str(root), "names.txt", "captions.txt", folder="pics").read()


def flickr(root: Path, names: Names) -> Collection:
    put_csv(root / "captions.txt", ["image", "caption"], rows(names))
    return Flickr8k(str(root), folder="pics").read()


def karpathy(root: Path, names: Names) -> Collection:
    images = [{"filename": a, "split": "test", "sentences": [{"raw": b}]} for a, b in rows(names)]
    put(root / "k.json", json.dumps({"images": images}))
    return Karpathy(str(root), "k.json", folder="pics").read()


def coco(root: Path, names: Names) -> Collection:
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    captions = [{"image_id": n, "caption": f"of {name}"} for n, name in enumerate(names)]
    put(root / "c.json", json.dumps({"images": images, "annotations": captions}))
    return Coco(str(root), "c.json", folder="pics", max_bad_fraction=1).read()


def news(root: Path, names: Names) -> Collection:
    articles = [[f"{n}", *row] for n, row in enumerate(rows(names))]
    put_csv(root / "n.csv", ["article_id", "image_id", "article_title"], articles)
    return NewsImages(root=str(root), file="n.csv", folder="pics", tags_column=None).read()


def vectors(root: Path, names: Names) -> Collection:
    np.savez(root / "v.npz", image_embeddings=np.ones((len(names), 3)), names=np.array(names))
    put_csv(root / "captions.csv", ["image", "caption"], rows(names))
    return Npz(str(root), "v.npz", image_names="names", text_array=None, folder="pics").read()


READERS = [table, records, columns, lines, flickr, karpathy, coco, news, vectors]
Read = Callable[[Path, Names], Collection]


def captions(collection: Collection) -> list[object]:
    return [next(iter(fields.values())) for fields in collection.texts]


@pytest.mark.parametrize("read", READERS)
def test_a_missing_picture_is_not_replaced(tmp_path: Path, read: Read) -> None:
    """One in letters of another case is found where it is the only one of the rows that the file fits."""
    for n in range(2):
        put(tmp_path / "pics" / f"p{n}.jpg", jpeg(colour(n)))
    collection = read(tmp_path, ALIKE)
    assert collection.picture_ids == ("p0.jpg", "P1.JPG")
    assert captions(collection) == ["of p0.jpg", "of P1.JPG"]
    assert [one.picture for one in collection.skipped][:1] == ["P0.jpg"]
    assert "'P1.JPG -> p1.jpg'" in " ".join(collection.notes)


@pytest.mark.parametrize("read", READERS)
def test_a_file_under_several_names_is_one_picture(tmp_path: Path, read: Read) -> None:
    """With the texts of all of them; its id is the first name (in parquet, where no column has ids, its path)."""
    for n, name in enumerate(("p0.jpg", "sub/q.jpg")):
        put(tmp_path / "pics" / name, jpeg(colour(n)))
    (tmp_path / "pics" / "link.jpg").symlink_to(tmp_path / "pics" / "sub" / "q.jpg")
    collection = read(tmp_path, SAME)
    assert collection.picture_ids == (("p0.jpg", "sub/q.jpg") if read is columns else ("./p0.jpg", "sub//q.jpg"))
    assert (captions(collection), collection.skipped) == ([f"of {name}" for name in SAME], ())
    assert collection.picture_of.tolist() == [0, 0, 1, 1, 1, 1]
    assert len(set(collection.text_ids)) == 6
    [note] = [note for note in collection.notes if "names mean a picture" in note]
    assert note.startswith(
        "4 names mean a picture that has an earlier name, under which it is there once: 'p0.jpg -> ./p0.jpg'"
    )
    assert "case" not in " ".join(collection.notes)


def test_names_with_and_without_their_ending_are_one_picture(tmp_path: Path) -> None:
    put(tmp_path / "pics" / "p0.jpg", jpeg(colour(0)))
    for read in (table, vectors):
        for names in (["p0", "p0.jpg"], ["p0.jpg", "p0"], ["P0", "P0.jpg"], ["P0.jpg", "./P0"]):
            collection = read(tmp_path, names)
            assert collection.picture_ids == (names[0],)
            assert (captions(collection), collection.skipped) == ([f"of {name}" for name in names], ())


def test_vectors_without_files_are_joined_by_plain_spelling(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", image_embeddings=np.eye(4)[[0, 0, 1, 2]], names=np.array(["./a", "a", "b//c", "A"]))
    put_csv(tmp_path / "captions.csv", ["image", "caption"], rows(["a", "./a", "b/c", "A"]))
    collection = Npz(str(tmp_path), "v.npz", image_names="names", text_array=None).read()
    assert collection.picture_ids == ("./a", "b//c", "A")
    assert collection.picture_of.tolist() == [0, 0, 1, 2]
    assert "1 names mean a picture" in " ".join(collection.notes)
