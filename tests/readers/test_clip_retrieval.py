"""What clip-retrieval inference leaves: parts of vectors beside parts of metadata."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from picdesk.backbones.precomputed import Precomputed
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.readers.clip_retrieval import ClipRetrieval
from tests.data.samples import check_pictures, colour, jpeg, put, reasons

RNG = np.random.default_rng(6)
IMAGES = RNG.normal(size=(5, 8)).astype(np.float16)
TEXTS = RNG.normal(size=(5, 8)).astype(np.float16)
PARTS = {0: slice(0, 2), 2: slice(2, 4), 10: slice(4, 5)}


def unit(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def save(root: Path, images: Any = IMAGES, texts: Any = TEXTS, captions: Any = None) -> Path:
    captions = [f"caption {n}" for n in range(5)] if captions is None else captions
    for folder in ("img_emb", "text_emb", "metadata"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for part, rows in PARTS.items():
        np.save(root / "img_emb" / f"img_emb_{part}.npy", images[rows])
        if texts is not None:
            np.save(root / "text_emb" / f"text_emb_{part}.npy", texts[rows])
        table = pa.table({"image_path": [f"{n}.jpg" for n in range(5)][rows], "caption": captions[rows]})
        pq.write_table(table, root / "metadata" / f"metadata_{part}.parquet")
    if texts is None:
        (root / "text_emb").rmdir()
    return root


def test_rows_of_all_parts_stay_together(tmp_path: Path) -> None:
    save(tmp_path)
    for n in range(5):
        put(tmp_path / "pics" / f"{n}.jpg", jpeg(colour(n)))
    collection = ClipRetrieval(root=str(tmp_path), folder="pics").read()
    check_pictures(collection, {f"{n}.jpg": colour(n) for n in range(5)})
    assert [fields["caption"] for fields in collection.texts] == [f"caption {n}" for n in range(5)]
    np.testing.assert_allclose(collection.vectors["image"], unit(IMAGES), atol=1e-6)
    np.testing.assert_allclose(collection.vectors["text"], unit(TEXTS), atol=1e-6)
    assert Precomputed(8).given_features("text", collection.vectors, collection.name) is collection.vectors["text"]
    assert ClipRetrieval(root=str(tmp_path)).embeddings("image").ids == collection.picture_ids


def test_rows_that_cannot_be_used_move_no_other(tmp_path: Path) -> None:
    images, texts = IMAGES.copy(), TEXTS.copy()
    images[1], texts[3, 2] = 0, np.nan
    save(tmp_path, images, texts, captions=pa.array(["a", "b", "c\0", "d", "e"]))
    collection = ClipRetrieval(root=str(tmp_path)).read()
    assert collection.picture_ids == ("0.jpg", "2.jpg", "3.jpg", "4.jpg")
    assert [fields["caption"] for fields in collection.texts] == ["a", "e"]
    np.testing.assert_allclose(collection.vectors["text"], unit(TEXTS[[0, 4]]), atol=1e-6)
    assert [line.split(": ")[0] for line in reasons(collection)] == [
        "metadata_2.parquet row 0",
        "metadata_0.parquet row 1",
        "metadata_2.parquet row 1",
    ]


def test_pictures_alone(tmp_path: Path) -> None:
    reader = ClipRetrieval(root=str(save(tmp_path, texts=None)))
    assert (len(reader.read().picture_ids), reader.read().texts) == (5, ())
    assert "there are pictures alone" in reader.read().notes[0]
    with pytest.raises(ConfigError, match="there are no text embeddings"):
        reader.embeddings("text")


@pytest.mark.parametrize("broken", ["part", "rows", "width", "object", "junk", "column", "number", "none"])
def test_what_does_not_fit_is_one_line(tmp_path: Path, broken: str) -> None:
    save(tmp_path)
    first = tmp_path / "img_emb" / "img_emb_0.npy"
    told = {
        "part": "picture vectors are not of the same parts: 10",
        "rows": "img_emb_0.npy: 1 rows for 2 rows in metadata_0.parquet",
        "width": "of several widths: [5, 8]",
        "object": "never unpickled",
        "junk": "img_emb_0.npy: ",
        "column": "no such column: data.picture_column=key",
        "number": "wanted names that end in a number",
        "none": "clip-retrieval inference writes them",
    }[broken]
    if broken == "part":
        (tmp_path / "metadata" / "metadata_10.parquet").unlink()
    elif broken == "none":
        first.parent.rename(tmp_path / "other")
    elif broken == "number":
        first.rename(first.with_name("vectors.npy"))
    elif broken == "junk":
        put(first, b"\x93NUMPY\x01\0\xff\xff junk")
    elif broken in ("rows", "width", "object"):
        np.save(first, {"rows": IMAGES[:1], "width": IMAGES[:2, :5], "object": np.array([{}, {}])}[broken])
    with pytest.raises((DataError, MissingFileError)) as error:
        ClipRetrieval(root=str(tmp_path), picture_column="key" if broken == "column" else "image_path").read()
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_captions_that_are_no_text_cost_their_rows_alone(tmp_path: Path) -> None:
    save(tmp_path, captions=list(range(5)))
    collection = ClipRetrieval(root=str(tmp_path)).read()
    assert (len(collection.picture_ids), collection.texts) == (5, ())
    assert reasons(collection)[0] == (
        "metadata_0.parquet row 0: data.caption_column=caption holds the number 0, which is no text"
    )
    assert len(collection.skipped) == 5
