import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from picdesk.data.checks import check_collection
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.readers.npz import Npz
from picdesk.readers.vectors import unit_rows
from tests.data.samples import check_pictures, colour, jpeg, put, put_csv, reasons

RNG = np.random.default_rng(3)
NAMES = ["c.jpg", "a.jpg", "b.jpg"]
IMAGES = RNG.normal(size=(3, 8)).astype(np.float32) * 7
TEXTS = RNG.normal(size=(6, 8)).astype(np.float32)
ROWS = [[NAMES[n // 2], f"caption {n}"] for n in range(6)]


def npz(root: Path, rows: list[list[str]] = ROWS, arrays: dict[str, Any] | None = None, **options: Any) -> Npz:
    given = (
        {"image_embeddings": IMAGES, "text_embeddings": TEXTS, "names": np.array(NAMES)} if arrays is None else arrays
    )
    np.savez(root / "e.npz", **given)
    put_csv(root / "captions.csv", ["image", "caption"], rows)
    return Npz(root=str(root), file="e.npz", **options)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_vectors_go_by_name_not_by_the_order_of_the_folder(tmp_path: Path) -> None:
    for n, name in enumerate(NAMES):
        put(tmp_path / "pics" / name, jpeg(colour(n)))
    reader = npz(tmp_path, image_names="names", folder="pics")
    collection = reader.read()
    check_pictures(collection, {name: colour(n) for n, name in enumerate(NAMES)})
    assert reader.embeddings("image").ids == collection.picture_ids
    assert reader.embeddings("text").ids == collection.text_ids
    np.testing.assert_allclose(reader.embeddings("image").matrix, unit(IMAGES), atol=1e-6)
    np.testing.assert_allclose(reader.embeddings("text").matrix, unit(TEXTS), atol=1e-6)


def test_a_row_a_caption_gives_each_picture_once(tmp_path: Path) -> None:
    """System B's form: image row j belongs to the picture of caption row j."""
    reader = npz(tmp_path, arrays={"image_embeddings": IMAGES.repeat(2, axis=0), "text_embeddings": TEXTS})
    assert reader.read().picture_ids == tuple(NAMES)
    np.testing.assert_allclose(reader.embeddings("image").matrix, unit(IMAGES), atol=1e-6)
    assert reader.read().picture_of.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(DataError, match=r"has an embedding but no file; set data\.folder"):
        reader.read().pictures.read(0)


def test_misaligned_rows_are_named(tmp_path: Path) -> None:
    reader = npz(tmp_path, arrays={"image_embeddings": IMAGES[[0, 1, 1, 1, 2, 2]], "text_embeddings": TEXTS})
    assert reasons(reader.read()) == ["image_embeddings row 1: 'c.jpg' has another vector in row 0; the first was kept"]


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6])
def test_vectors_of_one_name_are_compared_by_direction(tmp_path: Path, scale: float) -> None:
    """Other vectors of a picture are listed however short all are; the same one at another length is the same."""
    images = np.concatenate([unit(IMAGES), unit(IMAGES[::-1]), unit(IMAGES[:1]) * 5]) * scale
    arrays = {"image_embeddings": images.astype(np.float32), "names": np.array([*NAMES, *NAMES, NAMES[0]])}
    reader = npz(tmp_path, arrays=arrays, image_names="names", text_array=None)
    assert reasons(reader.read()) == [
        f"image_embeddings row {row}: {NAMES[first]!r} has another vector in row {first}; the first was kept"
        for row, first in ((3, 0), (5, 2))
    ]


def test_zero_and_nan_vectors_are_left_out_with_their_texts(tmp_path: Path) -> None:
    images, texts = IMAGES.copy(), TEXTS.copy()
    images[1] = 0
    texts[5, 2] = np.nan
    arrays = {"image_embeddings": images, "text_embeddings": texts, "names": np.array(NAMES)}
    reader = npz(tmp_path, arrays=arrays, image_names="names")
    collection = reader.read()
    assert collection.picture_ids == ("c.jpg", "b.jpg")
    assert [fields["caption"] for fields in collection.texts] == ["caption 0", "caption 1", "caption 4"]
    np.testing.assert_allclose(reader.embeddings("text").matrix, unit(TEXTS[[0, 1, 4]]), atol=1e-6)
    np.testing.assert_allclose(reader.embeddings("image").matrix, unit(IMAGES[[0, 2]]), atol=1e-6)


def test_pictures_alone(tmp_path: Path) -> None:
    reader = npz(tmp_path, image_names="names", text_array=None, captions_file=None)
    assert reader.read().text_ids == ()
    with pytest.raises(ConfigError, match=r"data\.text_array=null: there are no text embeddings"):
        reader.embeddings("text")
    with pytest.raises(ConfigError, match=r"data\.captions_file=null"):
        Npz(root=str(tmp_path), file="e.npz", captions_file=None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"image_embeddings": IMAGES, "text_embeddings": TEXTS[:, :5], "names": np.array(NAMES)},
            "images are 8 wide, texts 5",
        ),
        (
            {"image_embeddings": IMAGES, "text_embeddings": TEXTS[:5], "names": np.array(NAMES)},
            "5 rows in text_embeddings for 6",
        ),
        (
            {"image_embeddings": IMAGES, "text_embeddings": TEXTS, "names": np.array(NAMES[:2])},
            "3 rows in image_embeddings for 2",
        ),
        (
            {"img": IMAGES, "text_embeddings": TEXTS, "names": np.array(NAMES)},
            r"data\.image_array=image_embeddings: no such array",
        ),
        (
            {"image_embeddings": IMAGES[0], "text_embeddings": TEXTS, "names": np.array(NAMES)},
            "wanted numbers of shape",
        ),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        npz(tmp_path, arrays=arrays, image_names="names").read()


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    reader = npz(
        tmp_path, arrays={"image_embeddings": IMAGES, "names": np.array([NAMES, 1], dtype=object)}, image_names="names"
    )
    with pytest.raises(DataError, match="Python objects, which is never unpickled"):
        reader.read()
    put(tmp_path / "e.npz", b"PK no zip")
    with pytest.raises(DataError, match=r"e\.npz: "):
        Npz(root=str(tmp_path), file="e.npz", image_names="names").read()


@pytest.mark.parametrize("form", [np.float16, np.float64, "F", ">f4", np.longdouble])
def test_other_forms_of_the_same_numbers(tmp_path: Path, form: Any) -> None:
    arrays = {
        name: np.asfortranarray(values) if form == "F" else values.astype(form)
        for name, values in (("image_embeddings", IMAGES), ("text_embeddings", TEXTS))
    }
    reader = npz(tmp_path, arrays=arrays | {"names": np.array(NAMES)}, image_names="names")
    np.testing.assert_allclose(reader.embeddings("image").matrix, unit(IMAGES), atol=2e-3)
    assert reader.embeddings("image").matrix.flags.c_contiguous


def test_numbers_too_large_for_float32_are_left_out(tmp_path: Path) -> None:
    images = IMAGES.astype(np.float64)
    images[1, 0] = 1e300
    reader = npz(
        tmp_path,
        arrays={"image_embeddings": images, "text_embeddings": TEXTS, "names": np.array(NAMES)},
        image_names="names",
    )
    assert reader.read().picture_ids == ("c.jpg", "b.jpg")
    assert "image_embeddings row 1: the vector of 'a.jpg' is zero or not finite" in reasons(reader.read())


@pytest.mark.parametrize(
    "names", [np.array([b"c.jpg", b"a.jpg", b"b.jpg"]), np.array(["c.jpg", "a.jpg", "b.jpg"], dtype="<U9")]
)
def test_names_of_bytes_are_names(tmp_path: Path, names: Any) -> None:
    arrays = {"image_embeddings": IMAGES, "text_embeddings": TEXTS, "names": names}
    assert npz(tmp_path, arrays=arrays, image_names="names").read().picture_ids == tuple(NAMES)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (np.array([1.0, 2.0, 3.0]), r"data\.image_names=names: float64 of shape \(3,\), wanted one row of text"),
        (np.array([["c.jpg", "a.jpg", "b.jpg"]]), r"shape \(1, 3\), wanted one row of text"),
        (np.array([True, False, True]), "bool of shape"),
        (np.array([b"c\xff.jpg", b"\xff", b"\xff\xff"]), r"no usable picture .*the name is not UTF-8"),
        (np.array(["", "", ""]), "no picture is named"),
    ],
)
def test_names_that_are_none(tmp_path: Path, names: Any, message: str) -> None:
    arrays = {"image_embeddings": IMAGES, "text_embeddings": TEXTS, "names": names}
    with pytest.raises(DataError, match=message):
        npz(tmp_path, arrays=arrays, image_names="names").read()


@pytest.mark.parametrize(
    "array", [np.zeros((3, 0), np.float32), IMAGES.astype(complex), np.full((3, 8), np.nan), IMAGES > 0, IMAGES[None]]
)
def test_arrays_that_hold_no_vectors(tmp_path: Path, array: Any) -> None:
    arrays = {"image_embeddings": array, "text_embeddings": array, "names": np.array(NAMES)}
    with pytest.raises(DataError, match=r"wanted numbers of shape|data set is empty|rows in text_embeddings") as error:
        npz(tmp_path, arrays=arrays, image_names="names").read()
    assert "\n" not in str(error.value)


def test_captions_that_are_no_single_text_move_no_vector(tmp_path: Path) -> None:
    rows = [row.copy() for row in ROWS]
    rows[1][1], rows[2][1], rows[3][1] = '["a", "b"]', "{'raw': 'a'}", "b'a'"
    arrays = {"image_embeddings": IMAGES.repeat(2, axis=0), "text_embeddings": TEXTS}
    collection = npz(tmp_path, rows, arrays).read()
    assert collection.picture_ids == tuple(NAMES)
    assert [fields["caption"] for fields in collection.texts] == ["caption 0", "caption 4", "caption 5"]
    np.testing.assert_allclose(collection.vectors["text"], unit(TEXTS[[0, 4, 5]]), atol=1e-6)
    told = reasons(collection)
    assert [line.split(": ")[0] for line in told] == [f"captions.csv line {line}" for line in (3, 4, 5)]
    assert all("data.caption_column=caption holds" in line for line in told)


def test_a_folder_with_a_vector_a_picture(tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    for name, vector in zip(NAMES, IMAGES, strict=True):
        np.save(folder / f"{name}.npy", vector)
    put_csv(tmp_path / "captions.csv", ["image", "caption"], ROWS)
    reader = Npz(root=str(tmp_path), file="vectors", text_array=None)
    found = reader.embeddings("image")
    assert sorted(found.ids) == sorted(NAMES)
    order = [NAMES.index(name) for name in found.ids]
    np.testing.assert_allclose(found.matrix, unit(IMAGES[order]), atol=1e-6)
    assert len(reader.read().text_ids) == 6


def test_a_folder_with_a_vector_a_picture_and_no_captions(tmp_path: Path) -> None:
    (tmp_path / "vectors" / "deep").mkdir(parents=True)
    for name, vector in zip(NAMES, IMAGES, strict=True):
        np.save(tmp_path / "vectors" / "deep" / f"{name}.npy", vector)
    reader = Npz(root=str(tmp_path), file="vectors", text_array=None, captions_file=None)
    assert reader.read().picture_ids == ("deep/a.jpg", "deep/b.jpg", "deep/c.jpg")


def test_a_folder_with_an_array_a_file(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    arrays = {"image_embeddings": IMAGES, "text_embeddings": TEXTS, "who": np.array(NAMES)}
    for name, array in arrays.items():
        np.save(tmp_path / "vectors" / f"{name}.npy", array)
    put_csv(tmp_path / "captions.csv", ["image", "caption"], ROWS)
    reader = Npz(root=str(tmp_path), file="vectors", image_names="who")
    assert reader.embeddings("image").ids == tuple(NAMES)
    np.testing.assert_allclose(reader.embeddings("text").matrix, unit(TEXTS), atol=1e-6)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_parquet_table_with_a_vector_a_row(tmp_path: Path, fixed: bool) -> None:
    kind = pa.list_(pa.float32(), 8) if fixed else pa.list_(pa.float64())
    table = pa.table({"file": NAMES, "vector": pa.array(IMAGES.tolist(), kind), "more": [1, 2, 3]})
    pq.write_table(table, tmp_path / "v.parquet")
    put_csv(tmp_path / "captions.csv", ["image", "caption"], ROWS)
    options = {"image_array": "vector", "image_names": "file", "text_array": None}
    reader = Npz(root=str(tmp_path), file="v.parquet", **options)
    assert reader.embeddings("image").ids == tuple(NAMES)
    np.testing.assert_allclose(reader.embeddings("image").matrix, unit(IMAGES), atol=1e-6)
    with pytest.raises(DataError, match=r"data\.image_array=wrong"):
        Npz(root=str(tmp_path), file="v.parquet", **(options | {"image_array": "wrong"})).read()


@pytest.mark.parametrize("file", ["folder", "table"])
def test_vectors_of_several_widths_are_told(tmp_path: Path, file: str) -> None:
    vectors = [np.ones(8), np.ones(8), np.ones(7)]
    if file == "folder":
        (tmp_path / file).mkdir()
        for name, vector in zip(NAMES, vectors, strict=True):
            np.save(tmp_path / file / f"{name}.npy", vector)
    else:
        pq.write_table(
            pa.table({"names": NAMES, "image_embeddings": [v.tolist() for v in vectors]}), tmp_path / "x.parquet"
        )
        file = "x.parquet"
    reader = Npz(root=str(tmp_path), file=file, image_names="names", text_array=None, captions_file=None)
    with pytest.raises(DataError, match=r"vectors of several widths"):
        reader.read()


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingFileError, match=r"data\.file=none: no \.npy file"):
        Npz(root=str(tmp_path), file="none", text_array=None, captions_file=None).read()


def test_captions_without_a_vector_are_left_out_and_stop_the_job(tmp_path: Path) -> None:
    arrays = {"image_embeddings": IMAGES[:2], "text_embeddings": TEXTS, "names": np.array(NAMES[:2])}
    collection = npz(tmp_path, arrays=arrays, image_names="names").read()
    assert len(collection.texts) == 4
    assert reasons(collection) == [f"captions.csv line {line}: no vector of picture 'b.jpg'" for line in (6, 7)]
    with pytest.raises(DataError, match="2 of 6 rows are bad"):
        check_collection(collection, {})


def test_names_are_tried_without_their_ending(tmp_path: Path) -> None:
    for n, name in enumerate(NAMES):
        put(tmp_path / "pics" / name, jpeg(colour(n)))
    names = np.array([name.removesuffix(".jpg").upper() for name in NAMES])
    arrays = {"image_embeddings": IMAGES, "text_embeddings": TEXTS, "names": names}
    collection = npz(tmp_path, arrays=arrays, image_names="names", folder="pics").read()
    assert (len(collection.texts), collection.skipped) == (6, ())
    assert collection.picture_of.tolist() == [0, 0, 1, 1, 2, 2]
    assert any(note.startswith("6 captions name their picture but for its ending or case") for note in collection.notes)
    check_pictures(collection, {name: colour(n) for n, name in enumerate(names)})


def test_the_captions_of_a_picture_that_is_left_out_go_with_it(tmp_path: Path) -> None:
    """Never to another whose name differs by case or by what looks like an ending."""
    names = ["1.left", "1.right", "a.jpg", "A.JPG", "b.jpg", "B.jpg"]
    vectors = RNG.normal(size=(6, 8)).astype(np.float32)
    vectors[1], vectors[3] = 0, np.nan
    arrays = {"image_embeddings": vectors, "text_embeddings": TEXTS, "names": np.array(names)}
    rows = [[name, f"caption of {name}"] for name in names]
    collection = npz(tmp_path, rows, arrays, image_names="names").read()
    picture_of = [collection.picture_ids[i] for i in collection.picture_of]
    told = [f"{name} {fields['caption']}" for name, fields in zip(picture_of, collection.texts, strict=True)]
    assert told == [f"{name} caption of {name}" for name in ("1.left", "a.jpg", "b.jpg", "B.jpg")]
    assert [line for line in reasons(collection) if line.startswith("captions")] == [
        "captions.csv line 3: no vector of picture '1.right'",
        "captions.csv line 5: no vector of picture 'A.JPG'",
    ]


def test_captions_in_another_encoding_by_the_key_that_the_message_names(tmp_path: Path) -> None:
    npz(tmp_path)
    text = "image;caption\n" + "".join(f"{name};一只狗在雪地里\n" for name, _ in ROWS)
    put(tmp_path / "captions.csv", text.encode("gb18030"))
    with pytest.raises(DataError, match=r"set data\.encoding=gb18030"):
        Npz(root=str(tmp_path), file="e.npz", image_names="names").read()
    reader = Npz(root=str(tmp_path), file="e.npz", image_names="names", encoding="gb18030")
    assert reader.read().texts[0] == {"caption": "一只狗在雪地里"}


def test_what_lies_beside_vectors_in_a_folder_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    for name, vector in zip(NAMES, IMAGES, strict=True):
        np.save(folder / f"{name}.npy", vector)
    (folder / "a.jpg.npy").rename(folder / "a.jpg.NPY")
    put(folder / "d.jpg.npy.gz", b"x")
    put(folder / "notes.md", b"x")
    reader = Npz(root=str(tmp_path), file="v", text_array=None, captions_file=None)
    assert sorted(reader.read().picture_ids) == sorted(NAMES)
    assert [line.split(": ")[0] for line in reasons(reader.read())] == ["d.jpg.npy.gz"]
    assert any("1 files beside the .npy files of data.file=v were not read" in note for note in reader.read().notes)
    put(folder / "a.jpg.npy", (folder / "b.jpg.npy").read_bytes())
    with pytest.raises(DataError, match=r"two files of one name but for the case of \.npy: 'a\.jpg'"):
        Npz(root=str(tmp_path), file="v", text_array=None, captions_file=None).read()


def test_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    reader = npz(tmp_path, image_names="names")
    with zipfile.ZipFile(tmp_path / "e.npz", "a") as packed, pytest.warns(UserWarning, match="Duplicate name"):
        packed.writestr("names.npy", packed.read("names.npy"))
    with pytest.raises(DataError, match="arrays of one name stand twice: 'names'"):
        reader.read()


@pytest.mark.parametrize("at_once", [1, 7, 4096])
def test_rows_come_to_length_one_in_blocks_as_they_do_at_once(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picdesk.readers.vectors.AT_ONCE", at_once)
    rng = np.random.default_rng(at_once)
    given = (rng.standard_normal((50, 33)) * rng.uniform(0.1, 9, (50, 1))).astype(np.float32)
    rows = rng.permutation(50)[:41]
    made, norms = unit_rows(given, rows)
    wide = given[rows].astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    assert made.tobytes() == (wide / lengths).astype(np.float32).tobytes()
    assert norms.tobytes() == lengths[:, 0].tobytes()


def test_reading_holds_the_vectors_twice_and_no_oftener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the file, and what is brought to length 1."""
    monkeypatch.setattr("picdesk.readers.vectors.AT_ONCE", 16)
    names = [f"{i}.jpg" for i in range(400)]
    vectors = np.random.default_rng(0).standard_normal((400, 4096)).astype(np.float32)
    np.savez(tmp_path / "v.npz", image_embeddings=vectors, names=np.array(names))
    reader = Npz(str(tmp_path), "v.npz", image_names="names", text_array=None, captions_file=None)
    tracemalloc.start()
    try:
        reader.read()
        assert tracemalloc.get_traced_memory()[1] < 2.6 * vectors.nbytes
    finally:
        tracemalloc.stop()


def test_all_pictures_in_their_order_share_their_vectors(tmp_path: Path) -> None:
    whole = npz(tmp_path, image_names="names").read()
    everything = np.arange(len(whole.picture_ids))
    assert whole.take(everything).vectors["image"] is whole.vectors["image"]
    assert whole.take(everything).vectors["text"] is whole.vectors["text"]
    turned = whole.take(everything[::-1])
    assert np.array_equal(turned.vectors["image"], whole.vectors["image"][::-1])
