import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from picdesk.collection import Collection
from picdesk.data.checks import check_collection, clean_collection
from picdesk.data.facts import PictureFacts
from picdesk.data.prompts import Auto, Field, HeadlineTopics, Template
from picdesk.data.splits import All
from picdesk.errors import ConfigError, DataError
from picdesk.readers.npz import Npz
from picdesk.readers.tables import Csv
from tests.data.samples import check_pictures, colour, encode_image, jpeg, pairs, put, put_csv
from tests.data.test_facts import drawing

NONE: dict[str, np.ndarray] = {}


def read_pictures(root: Path, pictures: dict[str, bytes], texts: list[tuple[str, str]]) -> Collection:
    for name, data in pictures.items():
        put(root / name, data)
    put_csv(root / "t.csv", ["image", "caption"], texts)
    return Csv(root=str(root), file="t.csv").read()


def good(count: int) -> dict[str, bytes]:
    return {f"{n}.png": encode_image(drawing(n)) for n in range(count)}


def test_a_sound_data_set(tmp_path: Path) -> None:
    collection = read_pictures(tmp_path, good(5), [(f"{n}.png", f"text {n}") for n in range(5)])
    splits = All().assign(collection)
    counted = []
    report = check_collection(collection, splits, on_picture=lambda: counted.append(1))
    assert report.findings == ()
    assert (report.bad_fraction(), len(counted)) == (0, 5)
    assert clean_collection(collection, splits, report) == (collection, splits)


def test_brackets_in_the_name_of_the_data_are_only_that(tmp_path: Path) -> None:
    collection = read_pictures(tmp_path, good(1), [("0.png", "text")])
    report = check_collection(replace(collection, name="a[/b]"), All().assign(collection))
    written = io.StringIO()
    Console(file=written, width=120).print(report.table())
    assert "data=a[/b]: 1 of 1 pictures" in written.getvalue()


def test_bad_pictures_and_empty_texts_are_left_out_and_shift_nothing(tmp_path: Path) -> None:
    pictures = {f"{n}.jpg": jpeg(colour(n), (64, 64)) for n in range(8)}
    pictures |= {
        "1.jpg": b"",
        "3.jpg": pictures["3.jpg"][:400],
        "6.jpg": b"version https://git-lfs.github.com/spec/v1\n",
    }
    texts = [(f"{n}.jpg", f"text {n}{k}" if (n, k) != (4, 0) else " ") for n in range(8) for k in range(2)]
    collection = read_pictures(tmp_path, pictures, texts)
    (tmp_path / "7.jpg").unlink()
    splits = {"train": np.array([0, 1, 2, 3]), "val": np.array([4, 5]), "test": np.array([6, 7])}
    report = check_collection(collection, splits, max_bad_fraction=0.6)
    assert {finding.kind: finding.count for finding in report.findings if finding.action == "left out"} == {
        "pictures missing": 1,
        "pictures of zero bytes": 1,
        "Git LFS pointers in place of pictures": 1,
        "pictures cut short": 1,
        "texts that are empty": 1,
    }
    kept, parts = clean_collection(collection, splits, report)
    check_pictures(kept, {f"{n}.jpg": colour(n) for n in (0, 2, 4, 5)})
    assert pairs(kept) == {f"{n}.jpg#{k}": f"{n}.jpg" for n in (0, 2, 4, 5) for k in range(2) if (n, k) != (4, 0)}
    assert {name: [kept.picture_ids[i] for i in rows] for name, rows in parts.items()} == {
        "train": ["0.jpg", "2.jpg"],
        "val": ["4.jpg", "5.jpg"],
        "test": [],
    }
    assert {item.item.split(":")[0] for item in kept.skipped} == {"1.jpg", "3.jpg", "6.jpg", "7.jpg", "4.jpg#0"}


def test_a_text_is_empty_if_what_the_prompt_makes_of_it_is(tmp_path: Path) -> None:
    for name, data in good(5).items():
        put(tmp_path / name, data)
    rows = [("0.png", "a", "A", "x"), ("1.png", "", "B", "x"), ("2.png", "c", "", ""), ("3.png", "", "", "x")]
    put_csv(tmp_path / "t.csv", ["image", "caption", "title", "tags"], [*rows, ("4.png", " ", "", "")])
    collection = Csv(root=str(tmp_path), file="t.csv", title_column="title", tags_column="tags").read()

    def left(prompt: Field | HeadlineTopics | Template | Auto) -> tuple[str, list[str]]:
        render = prompt.choose(collection.field_names()).render
        report = check_collection(collection, NONE, 1, "quick", render=render)
        kept, _ = clean_collection(collection, NONE, report)
        found = {item.item[0]: item.reason for item in kept.skipped}
        return "".join(name[0] for name in kept.text_ids), [n for n, why in found.items() if "prompt" in why]

    assert left(Field("caption")) == left(Auto()) == ("02", ["1"])
    assert left(Field("title")) == ("01", ["2"])
    assert left(Field("tags")) == ("013", ["2"])
    assert left(Template("a photo of {title}")) == ("01", ["2"])
    assert left(HeadlineTopics()) == ("013", ["2"])


def test_too_much_that_is_bad_stops_the_job(tmp_path: Path) -> None:
    pictures = good(10) | {"4.png": b"\x89PNG\r\n\x1a\n broken"}
    collection = read_pictures(tmp_path, pictures, [(f"{n}.png", f"text {n}") for n in range(10)])
    message = r"data=csv: 1 of 10 pictures and 0 of 10 rows are bad, 0\.1 is above data\.max_bad_fraction=0\.09: 1 .*first 4\.png"
    with pytest.raises(DataError, match=message):
        check_collection(collection, NONE, max_bad_fraction=0.09)
    assert check_collection(collection, NONE, max_bad_fraction=0.1).bad_fraction() == 0.1


def test_what_the_reader_left_out_counts_too(tmp_path: Path) -> None:
    collection = read_pictures(tmp_path, good(3), [(f"{n}.png", f"text {n}") for n in range(4)])
    with pytest.raises(DataError, match=r"0 of 3 pictures and 1 of 4 rows are bad, 0\.25 is above"):
        check_collection(collection, NONE)


def test_nothing_left_is_an_error_whatever_the_limit(tmp_path: Path) -> None:
    collection = read_pictures(tmp_path, {"a.jpg": b"", "b.jpg": b""}, [("a.jpg", "x"), ("b.jpg", "y")])
    with pytest.raises(DataError, match="2 of 2 pictures"):
        check_collection(collection, NONE, max_bad_fraction=1)


def test_quick_looks_at_first_bytes_only(tmp_path: Path) -> None:
    whole = encode_image(Image.effect_noise((64, 64), 80), "JPEG")
    pictures = good(1) | {
        "cut.jpg": whole[:600],
        "zero.jpg": b"",
        "words.jpg": b"words",
        "lfs.jpg": b"version https://git-lfs.x",
    }
    collection = read_pictures(tmp_path, pictures, [(name, name) for name in pictures])
    facts = PictureFacts()
    report = check_collection(collection, NONE, 1, "quick", facts=facts)
    assert (facts.hashed, facts.decoded) == (0, 0)
    assert [collection.picture_ids[i] for i in report.pictures] == ["0.png", "cut.jpg"]
    full = check_collection(collection, NONE, 1, "full")
    assert [collection.picture_ids[i] for i in full.pictures] == ["0.png"]
    with pytest.raises(ConfigError, match="check level 'deep': quick or full"):
        check_collection(collection, NONE, 1, "deep")  # type: ignore[arg-type]


def test_pictures_in_two_splits_by_content(tmp_path: Path) -> None:
    pictures = good(6) | {"copy.png": good(1)["0.png"], "near.jpg": encode_image(drawing(1).resize((200, 150)), "JPEG")}
    pictures |= {"near2.jpg": encode_image(drawing(2), "JPEG")}
    collection = read_pictures(tmp_path, pictures, [(name, f"text {name}") for name in pictures])
    splits = {"train": np.arange(6), "val": np.array([8]), "test": np.array([6, 7])}
    report = check_collection(collection, splits)
    found = {finding.kind: finding.items for finding in report.findings}
    assert found == {
        "equal pictures across splits": ("0.png (train), copy.png (test)",),
        "near-duplicate pictures across splits": ("1.png (train), near.jpg (test)", "2.png (train), near2.jpg (val)"),
    }
    assert check_collection(collection, All().assign(collection)).count("near-duplicate pictures within a split") == 2
    assert len(report.pictures) == 9


def test_a_near_duplicate_of_an_equal_picture_elsewhere(tmp_path: Path) -> None:
    """A and its copy stand in train and test; what is near to A is near to the copy too."""
    one = good(1)["0.png"]
    pictures = {"a.png": one, "b.png": one, "c.jpg": encode_image(drawing(0), "JPEG")}
    collection = read_pictures(tmp_path, pictures, [(name, name) for name in pictures])
    report = check_collection(collection, {"train": np.array([1]), "test": np.array([0, 2])})
    assert report.count("near-duplicate pictures across splits") == 1


def test_repeated_texts(tmp_path: Path) -> None:
    texts = [
        ("0.png", "The  Bison "),
        ("1.png", "the bison"),
        ("2.png", "a cow"),
        ("3.png", "A cow"),
        ("4.png", "x"),
        ("4.png", "x"),
    ]
    collection = read_pictures(tmp_path, good(5), texts)
    report = check_collection(collection, {"train": np.array([0, 2, 3, 4]), "test": np.array([1])})
    assert {finding.kind: finding.items for finding in report.findings} == {
        "texts repeated across splits": ("'the bison': 0.png#0 (train), 1.png#0 (test)",),
        "texts repeated within a split": ("'a cow': 2.png#0 (train), 3.png#0 (train)",),
        "texts that one picture has twice": ("'x': 4.png#0 (train), 4.png#1 (train)",),
    }


def test_a_repeated_title_is_found_beside_captions_of_its_own(tmp_path: Path) -> None:
    for name, data in good(4).items():
        put(tmp_path / name, data)
    rows = [(f"{i}.png", f"caption {i}{k}", f"Storm {i // 2}") for i in range(4) for k in range(2)]
    put_csv(tmp_path / "t.csv", ["image", "caption", "title"], [*rows, rows[0]])
    collection = Csv(root=str(tmp_path), file="t.csv", title_column="title").read()
    report = check_collection(collection, {"train": np.array([0, 2, 3]), "test": np.array([1])})
    assert {finding.kind: finding.items for finding in report.findings} == {
        "texts repeated across splits": ("'storm 0': 0.png#0 (train), 1.png#0 (test)",),
        "texts repeated within a split": ("'storm 1': 2.png#0 (train), 3.png#0 (train)",),
        "texts that one picture has twice": ("'caption 00 storm 0': 0.png#0 (train), 0.png#2 (train)",),
    }


def test_the_report_as_json_and_as_a_table(tmp_path: Path) -> None:
    collection = read_pictures(
        tmp_path, good(3) | {"\x1b[31mred.jpg": b""}, [("0.png", "a"), ("\x1b[31mred.jpg", "b"), ("gone.png", "c")]
    )
    report = check_collection(collection, All().assign(collection), 1)
    value = json.loads(json.dumps(report.to_json()))
    assert value["pictures"] == {"seen": 2, "kept": 1}
    assert [(found["kind"], found["count"]) for found in value["findings"]] == [
        ("rows left out by the reader", 1),
        ("pictures of zero bytes", 1),
    ]
    from rich.console import Console

    console = Console(width=120, record=True, file=(tmp_path / "out.txt").open("w"))
    console.print(report.table())
    told = console.export_text()
    console.file.close()
    assert "rows left out by the reader" in told
    assert "\x1b" not in told
    assert "\\x1b[31mred.jpg" in told


def test_embeddings_without_picture_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", image_embeddings=np.eye(3, dtype=np.float32), names=np.array(["a", "b", "c"]))
    collection = Npz(root=str(tmp_path), file="e.npz", image_names="names", text_array=None, captions_file=None).read()
    report = check_collection(collection, All().assign(collection))
    assert len(report.pictures) == 3
    assert "no picture was looked at" in report.notes[-1]


def test_a_jpeg_that_lost_pixels_is_reported_and_stays(tmp_path: Path) -> None:
    whole = encode_image(drawing(3).resize((300, 200)), "JPEG")
    half = whole[: len(whole) // 2] + b"\xff\xd9"
    pictures = {"a.jpg": whole, "b.jpg": half}
    collection = read_pictures(tmp_path, pictures, [("a.jpg", "a"), ("b.jpg", "b")])
    report = check_collection(collection, NONE)
    assert [(one.items, one.action) for one in report.findings if one.kind == "JPEGs with damaged data"] == [
        (("b.jpg",), "reported")
    ]
    assert len(report.pictures) == 2
