"""JSON in the shapes that data sets have."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from picdesk.errors import DataError
from picdesk.readers.tables import Jsonl
from tests.data.samples import check_pictures, colour, jpeg, put, reasons

ROWS = [{"image": f"{n}.jpg", "caption": [f"first {n}", f"second {n}"]} for n in range(3)]


def read(root: Path, content: str | bytes, file: str = "t.json", **options: Any) -> Any:
    for n in range(3):
        put(root / f"{n}.jpg", jpeg(colour(n)))
    put(root / file, content)
    return Jsonl(root=str(root), file=file, **options).read()


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "\n".join(map(json.dumps, ROWS)),
        "\r".join(map(json.dumps, ROWS)),
        json.dumps(ROWS).encode("utf-16"),
        gzip.compress(json.dumps(ROWS).encode(), mtime=0),
        json.dumps({row["image"]: row["caption"] for row in ROWS}),
    ],
)
def test_a_list_lines_and_captions_by_name_are_the_same(tmp_path: Path, content: str | bytes) -> None:
    found = read(tmp_path, content)
    assert found.picture_ids == ("0.jpg", "1.jpg", "2.jpg")
    assert [fields["caption"] for fields in found.texts] == [
        f"{which} {n}" for n in range(3) for which in ("first", "second")
    ]
    assert found.skipped == ()


def test_a_list_inside_one_object_is_named_and_read_by_its_key(tmp_path: Path) -> None:
    inside = json.dumps({"version": 1, "items": ROWS, "authors": [{"name": "x"}]})
    with pytest.raises(DataError, match=r"t\.json: one JSON object.*'items' \(3\), 'authors' \(1\); set data\.records"):
        read(tmp_path, inside)
    assert len(read(tmp_path, inside, records="items").texts) == 6
    assert len(read(tmp_path, json.dumps({"data": {"items": ROWS}}), records="data.items").texts) == 6
    with pytest.raises(DataError, match=r"no list under data\.records=rows; the file is an object with 'version'"):
        read(tmp_path, inside, records="rows")


def test_the_files_of_coco_and_karpathy_are_sent_to_their_readers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="read it by data=coco"):
        read(tmp_path, json.dumps({"images": [{"id": 1}], "annotations": [{"image_id": 1}]}))
    with pytest.raises(DataError, match="read it by data=karpathy"):
        read(tmp_path, json.dumps({"images": [{"filename": "0.jpg", "sentences": []}]}))


def test_records_that_cannot_be_used_are_listed_by_place_and_reason(tmp_path: Path) -> None:
    rows = [
        '{"image": "0.jpg", "caption": "kept"}',
        '{"image": "1.jpg", "caption": "a", "caption": "b"}',
        '{"image": "1.jpg", "caption": NaN}',
        '{"image": {"path": "1.jpg"}, "caption": "c"}',
        '{"image": "1\\ud800.jpg", "caption": "c"}',
        '{"image": "1.jpg", "caption": "half \\udc00"}',
        "[3]",
        '{"image": "2.jpg", "caption": ' + "9" * 5000 + "}",
        '{"image": "2.jpg", "caption": "last \\ud83d\\ude00", "score": NaN}',
    ]
    found = read(tmp_path, "\n\n".join(rows), "t.jsonl")
    assert [fields["caption"] for fields in found.texts] == ["kept", "last 😀"]
    told = {line.split(": ", 1)[0]: line.split(": ", 1)[1] for line in sorted(reasons(found))}
    for line, reason in {
        3: "the key 'caption' stands twice",
        5: "data.caption_column=caption holds the number nan",
        7: "data.picture_column=image holds a record with the keys path, which is no name; name the key in it, as in .path",
        9: "is not UTF-8",
        11: "half of a character",
        13: "an object is needed, found list",
        15: "thousands of digits",
    }.items():
        assert reason in told.pop(f"t.jsonl line {line}")
    assert told == {}
    assert "t.jsonl: 8 blank lines" in found.notes
    listed = read(tmp_path, "[" + ",".join([*rows[:2], "5"]) + "]")
    assert [line.split(": ")[0] for line in reasons(listed)] == ["t.json record 2", "t.json record 3"]


@pytest.mark.parametrize("content", ["", '"words"', "[" * 100_000, '[{"image": "0.jpg", "capt', "5", "[]"])
def test_what_is_no_list_of_records_is_one_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError) as told:
        read(tmp_path, content)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300


def test_names_without_an_ending_or_in_other_letters_find_their_picture(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.png", "b.jpg", "sub/C.jpeg"):
        put(tmp_path / name, jpeg(colour(1)))
    rows = [{"image": name, "caption": "x"} for name in ("a.jpg", "b", "sub/c", "d", "../a", "x" * 300 + "/y")]
    found = read(tmp_path, json.dumps(rows))
    assert found.picture_ids == ("a.jpg", "b", "sub/c")
    assert found.notes[0].startswith("2 pictures stand under a name in letters of another case: 'a.jpg -> a.JPG'")
    assert found.notes[1] == "1 names fit several pictures, the first was taken: 'b -> b.jpg, b.png'"
    assert len(found.skipped) == 3


FLAT = [{"image": f"{n}.jpg", "caption": f"text {n}"} for n in range(3)]
COLUMNS = {key: [row[key] for row in FLAT] for key in ("image", "caption")}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (COLUMNS, "whose columns were taken for records"),
        ({key: dict(zip("abc", cells, strict=True)) for key, cells in COLUMNS.items()}, "whose columns were taken"),
        (dict(zip("012", FLAT, strict=True)), "whose values were taken for records"),
        (
            {row["image"].removesuffix(".jpg"): [row["caption"]] for row in FLAT},
            "whose keys were taken for data.picture_column",
        ),
    ],
)
def test_other_forms_of_records_in_one_object(tmp_path: Path, value: dict[str, Any], told: str) -> None:
    for n in range(3):
        put(tmp_path / f"{n}.jpg", jpeg(colour(n)))
    put(tmp_path / "a.json", json.dumps(value))
    collection = Jsonl(root=str(tmp_path), file="a.json").read()
    assert [fields["caption"] for fields in collection.texts] == ["text 0", "text 1", "text 2"]
    check_pictures(collection, {name: colour(n) for n, name in enumerate(collection.picture_ids)})
    assert any(told in note for note in collection.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"image": ["0.jpg", "1.jpg"], "caption": ["x"]}',
            r"a\.json: columns .* do not fit the 2 rows of 'image': 'caption'",
        ),
        ('{"image": {"0": "0.jpg"}, "caption": {"1": "x"}}', r"a\.json: columns side by side, that do not fit"),
        ('{"0.jpg": "x", "0.jpg": "y"}', r"a\.json: the key '0\.jpg' stands twice"),
    ],
)
def test_objects_that_do_not_fit_together_are_refused_by_file(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path / "0.jpg", jpeg(colour(0)))
    put(tmp_path / "a.json", content)
    with pytest.raises(DataError, match=message):
        Jsonl(root=str(tmp_path), file="a.json").read()
