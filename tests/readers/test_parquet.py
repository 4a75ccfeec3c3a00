import base64
import contextlib
import json
import pickle
import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from picdesk.collection import Collection
from picdesk.errors import ConfigError, DataError, MissingFileError, UserError
from picdesk.filters.columns import columns_of
from picdesk.readers.hugging_face import HuggingFace
from picdesk.readers.parquet import Parquet
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


def test_decimals_times_and_durations_cost_no_row(tmp_path: Path) -> None:
    write(
        tmp_path / "x.parquet",
        picture_id=["a", "b"],
        picture=[jpeg(colour(1)), jpeg(colour(2))],
        price=pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
        at=pa.array([3600, 61], pa.time32("s")),
        long=pa.array([90_061_000, None], pa.duration("ms")),
    )
    collection = Parquet(
        root=str(tmp_path), file="x.parquet", more_columns={n: n for n in ("price", "at", "long")}
    ).read()
    assert collection.texts == (
        {"price": "1.50", "at": "01:00:00", "long": "P1DT1H1M1S"},
        {"price": "", "at": "00:01:01", "long": ""},
    )
    assert columns_of(collection, "t2i").fulfilling("price = 1.5").tolist() == [True, False]


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
    write(tmp_path / "n.parquet", picture_id=["a"], picture=[5])
    with pytest.raises(DataError, match=r"n\.parquet: data\.picture_column=picture holds int64; wanted binary"):
        Parquet(root=str(tmp_path), file="n.parquet").read()
    pq.write_table(pa.Table.from_arrays([pa.array([b"1"])] * 2, names=["picture", "picture"]), tmp_path / "two.parquet")
    with pytest.raises(DataError, match=r"two\.parquet: columns of one name stand twice: 'picture'"):
        Parquet(root=str(tmp_path), file="two.parquet", picture_id_column=None).read()
    put(tmp_path / "deep" / "y.pq", b"")
    with pytest.raises(MissingFileError, match=r"there are some deeper: data\.file='\*\*/\*\.pq'"):
        Parquet(root=str(tmp_path), file="*.pq").read()
    with pytest.raises(ConfigError, match=r"train-0\.parquet fits split 'test' and split 'train'"):
        Parquet(root=str(tmp_path), file={"train": "train-*.parquet", "test": "*-0.parquet"}).read()
    for pattern in ("../x.parquet", "/x.parquet", ""):
        with pytest.raises(ConfigError, match=r"data\.file=.*below data\.root"):
            Parquet(root=str(tmp_path), file=pattern).read()


def read(root: Path, **options: Any) -> Collection:
    return Parquet(
        root=str(root), file="*.parquet", **{"picture_id_column": None, "picture_column": "image"} | options
    ).read()


def test_without_an_id_column_a_picture_is_its_bytes(tmp_path: Path) -> None:
    """The usual form on the hub: `image` and `text` alone, a row a caption."""
    rows = [0, 0, 1, 2, 0]
    images = [{"bytes": jpeg(colour(n)), "path": f"{k}.jpg"} for k, n in enumerate(rows)]
    write(tmp_path / "train-0.parquet", image=images, text=list("abcde"))
    collection = read(tmp_path, caption_column="text")
    check_pictures(collection, {"train-0/0": colour(0), "train-0/2": colour(1), "train-0/3": colour(2)})
    texts = {
        str(fields["caption"]): collection.picture_ids[i]
        for fields, i in zip(collection.texts, collection.picture_of, strict=True)
    }
    assert texts == {k: f"train-0/{row}" for k, row in zip("abcde", (0, 0, 2, 3, 0), strict=True)}
    assert collection.notes == (
        "2 rows hold the picture of an earlier row, byte by byte; their texts were added to it",
    )
    with pytest.raises(
        DataError, match=r"data\.picture_id_column=picture_id; .*; data\.picture_id_column=null makes ids"
    ):
        Parquet(root=str(tmp_path), file="*.parquet", picture_column="image").read()


def test_paths_below_a_folder(tmp_path: Path) -> None:
    for n in range(3):
        put(tmp_path / "pics" / f"{n}.jpg", jpeg(colour(n)))
    names = ["0.jpg", "gone.jpg", "../x.jpg", "/etc/passwd", None, "2.jpg", "0.jpg"]
    write(tmp_path / "x.parquet", image=names, text=list("abcdefg"))
    collection = read(tmp_path, caption_column="text", folder="pics")
    check_pictures(collection, {"0.jpg": colour(0), "2.jpg": colour(2)})
    assert [fields["caption"] for fields in collection.texts] == ["a", "f", "g"]
    assert [skipped.item for skipped in collection.skipped] == [f"x.parquet row {row}" for row in (1, 2, 3, 4)]


def test_structs_with_paths_in_place_of_bytes_and_both_in_one_column(tmp_path: Path) -> None:
    put(tmp_path / "0.jpg", jpeg(colour(0)))
    images = [{"bytes": None, "path": "0.jpg"}, {"bytes": jpeg(colour(1)), "path": None}, {"bytes": None, "path": None}]
    write(tmp_path / "x.parquet", image=images, text=list("abc"))
    collection = read(tmp_path, caption_column="text")
    check_pictures(collection, {"0.jpg": colour(0), "x/1": colour(1)})
    assert reasons(collection) == ["x.parquet row 2: no picture bytes"]


@pytest.mark.parametrize("form", ["large", "dictionary", "fixed", "view", "large names"])
def test_other_forms_of_the_same_columns(tmp_path: Path, form: str) -> None:
    data = [jpeg(colour(n)) for n in range(3)]
    longest = max(map(len, data))
    data = [one + bytes(longest - len(one)) for one in data]
    binary = pa.array(data)
    column = {
        "large": lambda: binary.cast(pa.large_binary()),
        "dictionary": lambda: binary.dictionary_encode(),
        "fixed": lambda: pa.array(data, pa.binary(longest)),
        "view": lambda: binary.cast(pa.binary_view()),
        "large names": lambda: binary,
    }[form]()
    words = pa.array(["a", "b", "c"], pa.large_string())
    names = words.dictionary_encode() if form == "dictionary" else words
    pq.write_table(pa.table({"image": column, "id": names, "text": names}), tmp_path / "x.parquet")
    collection = read(tmp_path, picture_id_column="id", caption_column="text")
    check_pictures(collection, {name: colour(n) for n, name in enumerate("abc")})
    assert [fields["caption"] for fields in collection.texts] == ["a", "b", "c"]


def test_nested_columns(tmp_path: Path) -> None:
    write(
        tmp_path / "x.parquet",
        item=[{"id": 7, "image": {"bytes": jpeg(colour(1))}}, {"id": 8, "image": {"bytes": jpeg(colour(2))}}],
        sentences=[[{"raw": "one"}, {"raw": "two"}], [{"raw": "three"}]],
    )
    options = {"picture_column": "item.image", "picture_id_column": "item.id", "caption_column": "sentences.raw"}
    collection = read(tmp_path, **options)
    check_pictures(collection, {"7": colour(1), "8": colour(2)})
    assert [fields["caption"] for fields in collection.texts] == ["one", "two", "three"]
    with pytest.raises(DataError, match=r"data\.picture_column=item\.photo: item holds struct.*no 'photo'"):
        read(tmp_path, **options | {"picture_column": "item.photo"})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([5, 6], "holds the number 5, which is no text"),
        ([float("nan"), 1.5], "holds the number nan, which is no text"),
        ([b"a", b"b"], "holds bytes, which is no text"),
        ([{"raw": "a"}, {"raw": "b"}], "name the key in it, as in .raw"),
        ([[{"raw": "a"}], [{"raw": "b"}]], "name the key in it, as in .raw"),
        ([True, False], "holds the boolean true, which is no text"),
        ([[1, 2], [3]], "which is no text"),
    ],
)
def test_captions_that_are_no_text_are_refused_by_their_key(tmp_path: Path, values: list[Any], told: str) -> None:
    write(tmp_path / "x.parquet", image=[jpeg(colour(1)), jpeg(colour(2))], text=values)
    try:
        given = "\n".join(reasons(read(tmp_path, caption_column="text")))
    except DataError as error:
        given = str(error)
    assert "data.caption_column=text" in given
    assert told in given


def test_text_that_is_not_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    raw = pa.array([b"one", b"caf\xe9", b"three"])
    words = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pictures = pa.array([jpeg(colour(n)) for n in range(3)])
    pq.write_table(pa.table({"image": pictures, "text": words}), tmp_path / "x.parquet")
    collection = read(tmp_path, caption_column="text")
    assert [fields["caption"] for fields in collection.texts] == ["one", "three"]
    assert reasons(collection) == ["x.parquet row 1: a text that is not UTF-8"]


def test_damaged_files_are_one_line_or_the_same(tmp_path: Path) -> None:
    """A byte changed at 300 places of a file with checksums: the same pictures, a line, or something listed."""
    table = pa.table({"image": [jpeg(colour(n)) for n in range(6)], "text": [f"text {n}" for n in range(6)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2, write_page_checksum=True)
    whole, wanted = (tmp_path / "x.parquet").read_bytes(), read(tmp_path, caption_column="text")
    rng = random.Random(3)
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        put(tmp_path / "x.parquet", bytes(data))
        with contextlib.suppress(DataError):
            found = read(tmp_path, caption_column="text")
            same = found.texts == wanted.texts and found.picture_ids == wanted.picture_ids
            assert same or found.skipped


HF: dict[str, Any] = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_data_files": None}


def save_to_disk(folder: Path, table: pa.Table, state: dict[str, Any] | None = None, indexed: bool = False) -> None:
    """As the datasets library saves."""
    folder.mkdir(parents=True)
    path = folder / "data-00000-of-00001.arrow"
    with (pa.ipc.new_file if indexed else pa.ipc.new_stream)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    put(folder / "state.json", json.dumps(HF if state is None else state))
    put(folder / "dataset_info.json", "{}")


def hub_table(*numbers: int) -> pa.Table:
    images = [{"bytes": jpeg(colour(n)), "path": f"{n}.jpg"} for n in numbers]
    return pa.table({"image": images, "text": [f"text {n}" for n in numbers], "label": list(numbers)})


@pytest.mark.parametrize("indexed", [False, True])
def test_a_data_set_saved_to_disk(tmp_path: Path, indexed: bool) -> None:
    save_to_disk(tmp_path / "d", hub_table(0, 1, 2), indexed=indexed)
    collection = HuggingFace(root=str(tmp_path / "d")).read()
    check_pictures(collection, {f"data-00000-of-00001/{n}": colour(n) for n in range(3)})
    assert [fields["caption"] for fields in collection.texts] == ["text 0", "text 1", "text 2"]
    assert collection.official == ()


def test_splits_saved_to_disk(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "validation", "test")):
        save_to_disk(tmp_path / split, hub_table(number))
    put(tmp_path / "dataset_dict.json", json.dumps({"splits": ["train", "validation", "test"]}))
    collection = HuggingFace(root=str(tmp_path)).read()
    assert collection.official == ("train", "val", "test")
    check_pictures(
        collection,
        {f"{split}/data-00000-of-00001/0": colour(n) for n, split in enumerate(("train", "validation", "test"))},
    )


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("state.json", None, "no state.json in"),
        ("state.json", b"{", "state.json: not JSON"),
        ("state.json", b"[]", "state.json: a JSON object is needed, found list"),
        ("state.json", b"{}", "wanted the names of the Arrow files"),
        ("state.json", b'{"_data_files": [{"filename": "../x.arrow"}]}', "climbs out of the data folder"),
        ("state.json", b'{"_data_files": [{"filename": "gone.arrow"}]}', "no file 'gone.arrow'"),
        ("state.json", b'{"_data_files": [1], "_indices_data_files": [{}]}', "call flatten_indices"),
        ("data-00000-of-00001.arrow", b"junk", "not a readable Arrow file"),
        ("data-00000-of-00001.arrow", b"", "not a readable Arrow file"),
        ("dataset_dict.json", b'{"splits": ["../x"]}', "which has no folder of that name here"),
        ("dataset_dict.json", b'{"splits": []}', "wanted the names of the splits"),
    ],
)
def test_a_saved_folder_that_is_none(tmp_path: Path, file: str, content: bytes | None, told: str) -> None:
    save_to_disk(tmp_path / "d", hub_table(0))
    if content is None:
        (tmp_path / "d" / file).unlink()
    else:
        put(tmp_path / "d" / file, content)
    with pytest.raises(UserError, match=re.escape(told)) as error:
        HuggingFace(root=str(tmp_path / "d")).read()
    assert "\n" not in str(error.value)


def test_damaged_arrow_files_are_one_line_or_listed(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "d", hub_table(0, 1, 2, 3))
    path = tmp_path / "d" / "data-00000-of-00001.arrow"
    whole = path.read_bytes()
    rng = random.Random(4)
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        put(path, bytes(data))
        with contextlib.suppress(UserError):
            HuggingFace(root=str(tmp_path / "d")).read()
    for length in range(0, len(whole), 97):
        put(path, whole[:length])
        with contextlib.suppress(UserError):
            HuggingFace(root=str(tmp_path / "d")).read()


def test_tables_that_no_pattern_fits_are_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for n, name in enumerate(("a.parquet", "b.PARQUET", "c.parq", "sub/d.parquet")):
        write(tmp_path / name, picture_id=[f"p{n}"], picture=[jpeg(colour(n))])
    collection = Parquet(root=str(tmp_path), file="*.parquet").read()
    assert collection.picture_ids == ("p0", "p1")
    assert reasons(collection) == [
        "c.parq: data.file does not fit it, so it was not read; data.file='*.parq' would",
        "sub/d.parquet: data.file does not fit it, so it was not read; data.file='sub/*.parquet' would",
    ]
    named = Parquet(root=str(tmp_path), file="a.parquet").read()
    assert named.skipped == ()
    assert any(note.startswith("3 files that data.file does not name were not read") for note in named.notes)


def test_paths_without_an_ending_are_tried_with_the_usual_ones(tmp_path: Path) -> None:
    for n in range(2):
        put(tmp_path / f"p{n}.jpg", jpeg(colour(n)))
    write(tmp_path / "x.parquet", image=["p0", "P1"])
    options: dict[str, Any] = {"file": "x.parquet", "picture_column": "image", "picture_id_column": None}
    check_pictures(Parquet(root=str(tmp_path), **options).read(), {"p0.jpg": colour(0), "p1.jpg": colour(1)})


def test_pictures_in_base64_are_named_as_such(tmp_path: Path) -> None:
    packed = base64.b64encode(jpeg(colour(0))).decode()
    write(tmp_path / "x.parquet", image=[packed, f"data:image/jpeg;base64,{packed}"])
    with pytest.raises(DataError, match="a picture in base64, where a path is needed") as error:
        Parquet(root=str(tmp_path), file="x.parquet", picture_column="image", picture_id_column=None).read()
    assert "absolute path" not in str(error.value)


def test_one_column_with_a_comma_names_no_delimiter(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", **{"a,b": ["x"]})
    with pytest.raises(DataError, match="no such column") as error:
        Parquet(root=str(tmp_path), file="x.parquet").read()
    assert "delimiter" not in str(error.value)
