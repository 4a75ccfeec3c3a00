import json
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from picdesk.errors import ConfigError, DataError
from picdesk.filters.columns import columns_of
from picdesk.readers.parquet import Parquet
from picdesk.readers.tables import Csv, Jsonl
from picdesk.retrieval.dataset import Dataset
from tests.data.samples import check_pictures, colour, jpeg, pairs, put, put_csv, reasons


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for n in range(4):
        put(tmp_path / "pics" / f"{n}.jpg", jpeg(colour(n)))
    return tmp_path


def test_csv_with_columns_of_any_name(root: Path) -> None:
    put_csv(
        root / "t.csv",
        ["file", "words", "keys", "by", "part", "nr"],
        [[f"{n}.jpg", f"w{n}", "x;y", "me", "dev" if n else "test", f"T{n}"] for n in (2, 0, 3)],
    )
    collection = Csv(
        root=str(root),
        file="t.csv",
        folder="pics",
        picture_column="file",
        caption_column=None,
        title_column="words",
        tags_column="keys",
        more_columns={"author": "by"},
        split_column="part",
        text_id_column="nr",
    ).read()
    check_pictures(collection, {f"{n}.jpg": colour(n) for n in (2, 0, 3)})
    assert pairs(collection) == {"T2": "2.jpg", "T0": "0.jpg", "T3": "3.jpg"}
    assert collection.texts[0] == {"title": "w2", "tags": ("x", "y"), "author": "me"}
    assert collection.official == ("val", "test", "val")


def test_rows_may_repeat_a_picture_and_another_delimiter(root: Path) -> None:
    put(root / "t.csv", "image;caption\n0.jpg;a, b\n1.jpg;c\n0.jpg;d\n")
    collection = Csv(root=str(root), file="t.csv", folder="pics", delimiter=";").read()
    assert pairs(collection) == {"0.jpg#0": "0.jpg", "1.jpg#0": "1.jpg", "0.jpg#1": "0.jpg"}
    with pytest.raises(ConfigError, match=r"data\.delimiter='': one character"):
        Csv(root=str(root), file="t.csv", delimiter="")


def test_one_picture_id_for_two_files_is_named(root: Path) -> None:
    put(root / "t.csv", "id,image,caption\nA,0.jpg,a\nA,1.jpg,b\n")
    collection = Csv(root=str(root), file="t.csv", folder="pics", picture_id_column="id").read()
    check_pictures(collection, {"A": colour(0)})
    assert reasons(collection) == ["t.csv line 3: picture id 'A' stands already, for another picture"]


def test_ids_that_share_a_file_are_told(root: Path) -> None:
    """Ids of rows in place of ids of pictures: each is an item of the gallery, equal to others."""
    put(root / "t.csv", "id,image,caption\nA,0.jpg,a\nB,1.jpg,b\nC,0.jpg,c\nB,1.jpg,d\nD,./0.jpg,e\n")
    collection = Csv(root=str(root), file="t.csv", folder="pics", picture_id_column="id").read()
    check_pictures(collection, {"A": colour(0), "B": colour(1), "C": colour(0), "D": colour(0)})
    told = "pictures lie in the file of an earlier one, so the gallery holds it more than once; give a picture one id"
    assert collection.notes == (f"2 {told}: 'C -> A', 'D -> A'",)


def test_jsonl_splits_with_lists_of_captions(root: Path) -> None:
    for split, numbers in (("train", (0, 1)), ("val", (2,)), ("test", (3,))):
        rows = [{"image": f"{n}.jpg", "captions": [f"c{n}{k}" for k in range(5)], "id": n} for n in numbers]
        put(root / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    files = {split: f"{split}.jsonl" for split in ("train", "val", "test")}
    collection = Jsonl(root=str(root), file=files, folder="pics", caption_column="captions").read()
    check_pictures(collection, {f"{n}.jpg": colour(n) for n in range(4)})
    assert collection.official == ("train", "train", "val", "test")
    assert collection.text_ids[7] == "1.jpg#2"
    assert collection.texts[7] == {"caption": "c12"}


def test_broken_json_lines_are_named_and_shift_nothing(root: Path) -> None:
    lines = [
        '{"image": "0.jpg", "caption": "a"}',
        "{broken",
        "[1]",
        '{"caption": "no picture"}',
        '{"image": "2.jpg", "caption": "c"}',
    ]
    put(root / "t.jsonl", "\n".join(lines) + "\n\n" + "[" * 100_000)
    collection = Jsonl(root=str(root), file="t.jsonl", folder="pics").read()
    check_pictures(collection, {"0.jpg": colour(0), "2.jpg": colour(2)})
    assert [line.split(":")[0] for line in reasons(collection)] == [f"t.jsonl line {n}" for n in (2, 3, 7, 4)]


def test_missing_columns_are_told_by_their_config_key(root: Path) -> None:
    put(root / "t.csv", "image,text\n0.jpg,a\n")
    with pytest.raises(
        DataError, match=r"t\.csv: no such column: data\.caption_column=caption; the columns are 'image', 'text'"
    ):
        Csv(root=str(root), file="t.csv", folder="pics").read()
    put(root / "t.jsonl", '{"image": "0.jpg", "text": "a"}\n')
    with pytest.raises(DataError, match=r"t\.jsonl: no such column: data\.caption_column=caption"):
        Jsonl(root=str(root), file="t.jsonl", folder="pics").read()


def test_an_unknown_split_and_a_picture_in_two(root: Path) -> None:
    put(root / "t.csv", "image,caption,split\n0.jpg,a,tset\n")
    reader = Csv(root=str(root), file="t.csv", folder="pics", split_column="split")
    with pytest.raises(DataError, match=r"t\.csv line 2: split 'tset' is none of train, val, test"):
        reader.read()
    put(root / "t.csv", "image,caption,split\n0.jpg,a,test\n0.jpg,b,train\n")
    with pytest.raises(DataError, match=r"t\.csv line 3: picture '0\.jpg' is in split 'train' and in 'test'"):
        reader.read()


def test_lists_in_cells_stray_quotes_and_capitals_in_one_table(root: Path) -> None:
    put(root / "pics" / "4.JPG", jpeg(colour(4)))
    cells = ['0.jpg\t["a dog", "wet"]', '1\t"Beware" it says', "4.jpg\t['x'\n", "4.jpg\ty", "gone\tz", "3.jpg\t[3]"]
    put(root / "t.tsv", "image\tcaption\n" + "\n".join(cells) + "\n")
    collection = Csv(root=str(root), file="t.tsv", folder="pics").read()
    assert [fields["caption"] for fields in collection.texts] == ["a dog", "wet", '"Beware" it says', "['x'", "y"]
    check_pictures(collection, {"0.jpg": colour(0), "1": colour(1), "4.jpg": colour(4)})
    assert [line.split(" ", 3)[2:] for line in reasons(collection)] == [
        ["7:", "no file 'gone'"],
        ["8:", "data.caption_column=caption holds a list ([3]), which is no text"],
    ]
    for words in (
        "split at each tab",
        "stray quote (line 3)",
        "1 blank lines",
        "4.jpg -> 4.JPG",
        "1 lists written in a cell",
    ):
        assert any(words in note for note in collection.notes), words


def test_the_encoding_of_a_table_is_named(root: Path) -> None:
    put(root / "t.csv", "image,caption\n0.jpg,两只小猫在睡觉\n".encode("gb18030"))
    with pytest.raises(DataError, match=r"t\.csv: not UTF-8 at byte \d+ \(line 2\); set data\.encoding=gb18030"):
        Csv(root=str(root), file="t.csv", folder="pics").read()
    collection = Csv(root=str(root), file="t.csv", folder="pics", encoding="gb18030").read()
    assert collection.texts == ({"caption": "两只小猫在睡觉"},)


def test_records_are_walked_into_and_their_pictures_too(root: Path) -> None:
    rows = [{"img": {"path": f"{n}.jpg"}, "said": [{"en": f"a{n}"}, {"en": f"b{n}"}]} for n in range(2)]
    put(root / "t.jsonl", "\n".join(map(json.dumps, [*rows, {"img": {"file": "2.jpg"}, "said": []}])))
    reader = Jsonl(root=str(root), file="t.jsonl", folder="pics", picture_column="img.path", caption_column="said.en")
    collection = reader.read()
    assert [fields["caption"] for fields in collection.texts] == ["a0", "b0", "a1", "b1"]
    assert reasons(collection) == ["t.jsonl line 3: data.picture_column=img.path has no key 'path' (there are 'file')"]
    put(root / "u.jsonl", json.dumps(rows[0]))
    with pytest.raises(DataError, match=r"the first: data\.caption_column=said holds a list of 2 records.*as in \.en"):
        Jsonl(root=str(root), file="u.jsonl", folder="pics", picture_column="img.path", caption_column="said").read()


def test_a_frame_says_what_it_says_as_a_parquet_file(root: Path) -> None:
    frame = pd.DataFrame(
        {
            "file": [f"{n}.jpg" for n in range(4)],
            "said": ["a", None, "c", "d"],
            "day": pd.to_datetime(["2020-01-01", "2020-01-06", None, "2020-01-07 10:30"], format="ISO8601"),
            "zone": pd.date_range("2020-01-01", periods=4, tz="Europe/Paris"),
            "long": pd.to_timedelta([1, 90, None, 86_400], unit="s"),
            "share": [0.123456789012345, 1e-12, np.inf, np.nan],
            "whole": pd.array([2**60 + 1, None, 3, 4], dtype="Int64"),
            "truth": [True, None, False, True],
            "kind": pd.Categorical(["x", "y", None, "x"]),
            "words": [["a", "b"], np.array(["c"]), [], None],
        }
    )
    columns = {name: name for name in frame.columns[2:]}
    chosen = {"picture_column": "file", "caption_column": "said", "more_columns": columns}
    of_frame = Dataset.from_pandas(frame, root / "pics", **chosen).collection
    frame.to_parquet(root / "t.parquet")
    of_file = Parquet(root=str(root), file="t.parquet", folder="pics", picture_id_column=None, **chosen).read()
    assert (of_frame.texts, of_frame.skipped) == (of_file.texts, of_file.skipped)
    assert of_frame.texts[0]["share"] == "0.123456789012345"
    assert columns_of(of_frame, "t2i").fulfilling("day > 2020-01-05").tolist() == [False, True, False, True]


def test_a_frame_holds_paths_and_objects_of_other_libraries(root: Path) -> None:
    odd = [Decimal("1.50"), pd.Period("2020-01"), np.datetime64("2020-01-02"), pd.NA]
    frame = pd.DataFrame({"file": [Path(f"{n}.jpg") for n in range(4)], "said": list("abcd"), "odd": odd, 0: odd})
    chosen = {"picture_column": "file", "caption_column": "said", "more_columns": {"odd": "odd", "zero": "0"}}
    collection = Dataset.from_pandas(frame, root / "pics", **chosen).collection
    assert [fields["odd"] for fields in collection.texts] == ["1.50", "2020-01", "2020-01-02T00:00:00", ""]
    assert [fields["zero"] for fields in collection.texts] == [fields["odd"] for fields in collection.texts]


def test_faults_of_a_frame_name_its_rows_and_columns(root: Path) -> None:
    frame = pd.DataFrame({"file": ["0.jpg", "1.jpg", "gone.jpg"], "said": ["a", 5, "c"]}, index=["x", "y", "z"])
    read = partial(Dataset.from_pandas, folder=root / "pics", picture_column="file", caption_column="said")
    assert [one.item for one in read(frame).collection.skipped] == ["frame row 1", "frame row 2"]
    with pytest.raises(
        DataError, match=r"^frame: no such column: data\.title_column=titel; the columns are 'file', 'said'$"
    ):
        read(frame, title_column="titel")
    twice = pd.concat([frame, frame["said"]], axis=1)
    with pytest.raises(DataError, match=r"^frame: columns of one name stand twice: 'said'$"):
        read(twice)
    assert len(
        Dataset.from_pandas(twice, root / "pics", picture_column="file", caption_column=None).collection.picture_ids
    )
    with pytest.raises(DataError, match=r"^frame: wanted a pandas\.DataFrame, found a list"):
        read([1])
