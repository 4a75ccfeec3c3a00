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

NAMES = ["P0.jpg", "p0.jpg", "P1.JPG"]  # on disk: p0.jpg and p1.jpg


def table(root: Path) -> Collection:
    put_csv(root / "t.csv", ["image", "caption"], [[name, f"of {name}"] for name in NAMES])
    return Csv(root=str(root), file="t.csv", folder="pics").read()


def records(root: Path) -> Collection:
    """The two spellings in two files."""
    for file, names in (("a", NAMES[:1]), ("b", NAMES[1:])):
        put(
            root / f"{file}.jsonl",
            "".join(json.dumps({"image": name, "caption": f"of {name}"}) + "\n" for name in names),
        )
    return Jsonl(root=str(root), file={"train": "a.jsonl", "test": "b.jsonl"}, folder="pics").read()


def columns(root: Path) -> Collection:
    for file, names in (("a", NAMES[:1]), ("b", NAMES[1:])):
        rows = pa.table({"picture": names, "id": names, "caption": [f"of {name}" for name in names]})
        pq.write_table(rows, root / f"{file}.parquet")
    options: dict[str, Any] = {"picture_id_column": "id", "caption_column": "caption"}
    return Parquet(root=str(root), file="*.parquet", folder="pics", **options).read()


def lines(root: Path) -> Collection:
    put(root / "names.txt", "\n".join(NAMES) + "\n")
    put(root / "captions.txt", "".join(f"of {name}\n" for name in NAMES))
    return Aligned(str(root), "names.txt", "captions.txt", folder="pics").read()


def flickr(root: Path) -> Collection:
    put_csv(root / "captions.txt", ["image", "caption"], [[name, f"of {name}"] for name in NAMES])
    return Flickr8k(str(root), folder="pics").read()


def karpathy(root: Path) -> Collection:
    images = [{"filename": name, "split": "test", "sentences": [{"raw": f"of {name}"}]} for name in NAMES]
    put(root / "k.json", json.dumps({"images": images}))
    return Karpathy(str(root), "k.json", folder="pics").read()


def coco(root: Path) -> Collection:
    images = [{"id": n, "file_name": name} for n, name in enumerate(NAMES)]
    captions = [{"image_id": n, "caption": f"of {name}"} for n, name in enumerate(NAMES)]
    put(root / "c.json", json.dumps({"images": images, "annotations": captions}))
    return Coco(str(root), "c.json", folder="pics", max_bad_fraction=1).read()


def news(root: Path) -> Collection:
    rows = [[f"{n}", name, f"of {name}"] for n, name in enumerate(NAMES)]
    put_csv(root / "n.csv", ["article_id", "image_id", "article_title"], rows)
    return NewsImages(root=str(root), file="n.csv", folder="pics", tags_column=None).read()


def vectors(root: Path) -> Collection:
    np.savez(root / "v.npz", image_embeddings=np.eye(3), names=np.array(NAMES))
    put_csv(root / "captions.csv", ["image", "caption"], [[name, f"of {name}"] for name in NAMES])
    return Npz(str(root), "v.npz", image_names="names", text_array=None, folder="pics").read()


@pytest.mark.parametrize("read", [table, records, columns, lines, flickr, karpathy, coco, news, vectors])
def test_a_missing_picture_is_not_replaced(tmp_path: Path, read: Callable[[Path], Collection]) -> None:
    """One in letters of another case is found where it is the only one of the rows that the file fits."""
    for n in range(2):
        put(tmp_path / "pics" / f"p{n}.jpg", jpeg(colour(n)))
    collection = read(tmp_path)
    assert collection.picture_ids == ("p0.jpg", "P1.JPG")
    texts = [next(iter(fields.values())) for fields in collection.texts]
    assert texts == ["of p0.jpg", "of P1.JPG"]
    assert [one.picture for one in collection.skipped][:1] == ["P0.jpg"]
    assert "'P1.JPG -> p1.jpg'" in " ".join(collection.notes)
