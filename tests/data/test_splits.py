import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picdesk.collection import Collection, Skipped
from picdesk.data.chance import place_groups
from picdesk.data.checks import check_collection
from picdesk.data.sources import NoPictures
from picdesk.data.splits import All, Official, OfficialDev, Random
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.readers.split_files import SplitFile, with_left_out
from tests.data.samples import put


def collection(count: int, official: tuple[str, ...] = (), order: Any = None) -> Collection:
    ids = tuple(f"p{n:03}.jpg" for n in range(count))
    ids = tuple(ids[n] for n in order) if order is not None else ids
    return Collection("x", ids, NoPictures(count), (), (), np.empty(0, np.int64), official)


def names_by_part(made: Collection, splits: Any) -> dict[str, set[str]]:
    return {name: {made.picture_ids[i] for i in rows} for name, rows in splits.items()}


def check(made: Collection, splits: Any, whole: bool = True) -> None:
    """Disjoint, ascending int64, and together everything."""
    assert list(splits) == ["train", "val", "test"]
    rows = np.concatenate(list(splits.values()))
    assert len(np.unique(rows)) == len(rows)
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in splits.values())
    assert not whole or len(rows) == len(made.picture_ids)


def test_a_seed_gives_this_very_split_everywhere() -> None:
    made = collection(20)
    splits = Random(seed=7).assign(made)
    order = sorted(made.picture_ids, key=lambda item: hashlib.sha256(f"7:{item}".encode()).hexdigest())
    assert names_by_part(made, splits)["train"] == set(order[:16])
    assert splits["val"].tolist() == [10, 17]
    assert splits["test"].tolist() == [2, 9]


@pytest.mark.parametrize(
    ("fractions", "sizes"), [((0.8, 0.1, 0.1), (6800, 850, 850)), ((0.7, 0.15, 0.15), (5950, 1275, 1275))]
)
def test_sizes_at_the_size_of_newsimages(fractions: tuple[float, float, float], sizes: tuple[int, int, int]) -> None:
    made = collection(8500)
    splits = Random(0, *fractions).assign(made)
    check(made, splits)
    assert tuple(len(part) for part in splits.values()) == sizes
    assert [len(part) for part in Random(0).assign(collection(25)).values()] == [19, 3, 3], "a half is rounded up"


def test_groups_are_drawn_by_the_room_that_is_left() -> None:
    ids = [f"p{i:03}" for i in range(300)]
    sizes = {"train": 210, "val": 30, "test": 60}
    pairs = [(i, i + 1) for i in range(0, 300, 2)]
    assert {name: len(part) for name, part in place_groups(ids, pairs, sizes, 0).items()} == sizes
    drawn = [place_groups(ids, pairs[:20], sizes, seed) for seed in range(50)]
    shares = {name: np.mean([len(parts[name]) / 40 for parts in drawn]) for name in sizes}
    tens = [tuple(range(i, i + 10)) for i in range(0, 100, 10)]
    assert len(place_groups(ids, tens, sizes, 0)["train"]) == 100, "ten are more than a tenth of the other parts"
    assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.05)


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    one, other = collection(300), collection(300, order=np.random.default_rng(0).permutation(300))
    assert names_by_part(one, Random(5).assign(one)) == names_by_part(other, Random(5).assign(other))
    assert names_by_part(one, Random(5).assign(one)) != names_by_part(one, Random(6).assign(one))


def test_random_splits_that_cannot_be() -> None:
    with pytest.raises(
        ConfigError, match=r"split\.train=0\.8, split\.val=0\.1, split\.test=0\.2 add up to 1\.1, not 1"
    ):
        Random(0, 0.8, 0.1, 0.2)
    with pytest.raises(ConfigError, match=r"split\.val=-0\.1: a fraction is between 0 and 1"):
        Random(0, 1.0, -0.1, 0.1)
    with pytest.raises(ConfigError, match="4 pictures are too few: val and test would be empty; split=all takes"):
        Random(0).assign(collection(4))
    assert [len(part) for part in Random(0, 1.0, 0.0, 0.0).assign(collection(4)).values()] == [4, 0, 0]


@pytest.mark.parametrize("free", [True, False])
def test_parts_may_be_empty_where_none_is_trained_on_or_scored(free: bool) -> None:
    for count in range(1, 5):
        for made, line in (
            (Random(0), f"split=random: {count} pictures are too few: val"),
            (Official(), "split=official: data=x has no 'test' list"),
            (OfficialDev(0), "split=official_dev: data=x has no 'train' and 'val' list"),
        ):
            few = collection(count)
            with pytest.raises(ConfigError, match=line):
                made.assign(few)
            made.part_freely() if free else made.allow_empty()
            parts = made.assign(few)
            assert sum(map(len, parts.values())) == (count if isinstance(made, Random) else 0)
            assert made.notes[-1].startswith(line)


MARKS = ("train",) * 50 + ("val",) * 10 + ("test",) * 8 + ("",) * 2


def test_official_leaves_out_what_is_on_no_list() -> None:
    made = collection(70, MARKS)
    splits = Official().assign(made)
    check(made, splits, whole=False)
    assert [part.tolist() for part in splits.values()] == [list(range(50)), list(range(50, 60)), list(range(60, 68))]


def test_official_names_what_is_missing() -> None:
    without = tuple(mark if mark != "test" else "" for mark in MARKS)
    with pytest.raises(ConfigError, match=r"data=x has no 'test' list \(found: train 50, val 10\); split=official_dev"):
        Official().assign(collection(70, without))
    with pytest.raises(
        ConfigError, match=r"split=official: data=x has no 'test' list \(found: none at all\); use split=random"
    ):
        Official().assign(collection(70))
    with pytest.raises(ConfigError, match=r"split=official_dev: data=x has no 'train' and 'val' list"):
        OfficialDev(0).assign(collection(70))


def test_official_dev_reports_on_dev_and_chooses_on_train() -> None:
    made = collection(70, MARKS)
    splits = OfficialDev(seed=3).assign(made)
    check(made, splits, whole=False)
    assert splits["test"].tolist() == list(range(50, 60))
    assert sorted([*splits["train"], *splits["val"]]) == list(range(50))
    assert splits["val"].tolist() == [0, 1, 7, 35, 43]
    turned = replace(collection(70, MARKS[::-1], order=range(69, -1, -1)))
    assert names_by_part(turned, OfficialDev(seed=3).assign(turned)) == names_by_part(made, splits)


@pytest.mark.parametrize("form", ["csv", "json by picture", "json by split"])
def test_a_split_file(tmp_path: Path, form: str) -> None:
    wanted = {"p000.jpg": "train", "p001.jpg": "test", "p003.jpg": "dev", "unknown.jpg": "train"}
    if form == "csv":
        path = put(tmp_path / "s.csv", "picture,split\n" + "".join(f"{p},{s}\n" for p, s in wanted.items()))
    elif form == "json by picture":
        path = put(tmp_path / "s.json", json.dumps(wanted))
    else:
        path = put(
            tmp_path / "s.json",
            json.dumps({s: [p for p in wanted if wanted[p] == s] for s in ("train", "dev", "test")}),
        )
    made = collection(5)
    splits = SplitFile(str(path), max_bad_fraction=0.5).assign(made)
    check(made, splits, whole=False)
    assert {name: part.tolist() for name, part in splits.items()} == {"train": [0], "val": [3], "test": [1]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.csv", "picture,split\np000.jpg,train\np000.jpg,test\n", "'p000.jpg' is in 'train' and in 'test'"),
        ("s.csv", "picture,split\np000.jpg,tests\n", "split 'tests' is none of"),
        ("s.csv", "image,split\np000.jpg,test\n", r"no such column: split\.picture_column=picture"),
        ("s.csv", "picture,split\nq.jpg,test\n", r"names no picture of data=x: 'q\.jpg' against 'p000\.jpg'"),
        ("s.csv", "picture,split\n", "there are no rows in it; CSV or JSON records with a picture and a split"),
        (
            "s.json",
            '["p000.jpg", "p001.jpg"]',
            r"2 rows cannot be used, the first: s\.json record 1: not a JSON object; CSV or",
        ),
        (
            "s.json",
            '{"test": [{"file": "p000.jpg"}]}',
            r"no 'picture' in it \(there are 'file', 'split'\); split.picture_column",
        ),
        (
            "s.json",
            '{"images": [{"filename": "p000.jpg", "split": "test"}]}',
            "no 'picture' in it .*split.picture_column",
        ),
        (
            "s.json",
            '{"images": [{"picture": "p000.jpg", "set": "test"}]}',
            r"no 'split' in it .*; split\.split_column names it",
        ),
        (
            "s.json",
            '{"test": ["p000.jpg"], "test2": 1}',
            "'test2' holds the number 1, not a list of pictures as 'test' does",
        ),
        (
            "s.json",
            '{"p000.jpg": 1}',
            "1 rows cannot be used, the first: s.json: the split of 'p000.jpg' is no text .the number 1",
        ),
        (
            "s.csv",
            "picture,split\nq.jpg,test\nr.jpg\n",
            "against 'p000.jpg'.*; 1 rows cannot be used, the first: s.csv line 3: 1 c",
        ),
        ("s.json", "{", "not JSON"),
        ("s.json", "[]", "a JSON object is needed"),
    ],
)
def test_split_files_that_cannot_be_used(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SplitFile(str(put(tmp_path / name, content))).assign(collection(5))


@pytest.mark.parametrize(
    "content",
    [
        {"test": [{"file": "p000.jpg"}, {"file": "p002.jpg"}], "train": [{"file": "p001.jpg"}]},
        {"images": [{"file": f"p00{n}.jpg", "split": split} for n, split in enumerate(("test", "train", "test"))]},
    ],
)
def test_records_in_the_lists_of_a_split_file(tmp_path: Path, content: dict[str, Any]) -> None:
    path = put(tmp_path / "s.json", json.dumps(content))
    splits = SplitFile(str(path), picture_column="file").assign(collection(3))
    assert {name: part.tolist() for name, part in splits.items()} == {"train": [1], "val": [], "test": [0, 2]}


def test_a_name_in_a_split_file_is_not_that_of_another_picture(tmp_path: Path) -> None:
    """What stands behind a dot is no ending unless pictures have it; a picture that was left out is none of the others."""
    left_out = (Skipped("row 9", "no file", picture="P2.jpg"),)
    made = replace(collection(4), picture_ids=("v2.0", "p1.jpg", "p2.jpg", "p3.jpg"), skipped=left_out)
    rows = "v2.0,test\nv2.1,train\np1.jpg,test\nP1.jpg,train\nP2.jpg,train\nP3.PNG,val\n"
    split = SplitFile(str(put(tmp_path / "s.csv", f"picture,split\n{rows}")), max_bad_fraction=0.5)
    assert {name: part.tolist() for name, part in split.assign(made).items()} == {
        "train": [],
        "val": [3],
        "test": [0, 1],
    }
    assert [one.item for one in split.skipped] == [
        f"s.csv line {n}: {name!r}" for n, name in ((3, "v2.1"), (5, "P1.jpg"), (6, "P2.jpg"))
    ]


def test_a_split_file_loses_no_rows_to_a_quote(tmp_path: Path) -> None:
    rows = [f"my photo {n}.jpg,{'test' if n % 2 else 'train'}" for n in range(12)]
    rows[3], rows[8] = 'my photo 3.jpg,"test', 'my photo 8.jpg,train"'
    made = replace(collection(12), picture_ids=tuple(f"my photo {n}.jpg" for n in range(12)))
    path = put(tmp_path / "s.csv", "picture,split\n" + "\n".join(rows))
    with pytest.raises(DataError, match=r"my photo 3\.jpg.: split '\"test' is none of train, val, test"):
        SplitFile(str(path)).assign(made)


def test_a_split_file_that_is_not_there() -> None:
    with pytest.raises(MissingFileError, match=r"split\.file=nowhere\.csv: no such file"):
        SplitFile("nowhere.csv").assign(collection(5))


def test_all_is_test() -> None:
    made = collection(5)
    check(made, All().assign(made))
    assert len(All().assign(made)["test"]) == 5


def test_what_a_split_file_does_not_use_is_counted_and_listed(tmp_path: Path) -> None:
    rows = "p000.jpg,train\np001,test\nP002.JPG,val\nother.jpg,train\np003.jpg,test,extra\n"
    split = SplitFile(str(put(tmp_path / "s.csv", "picture,split\n" + rows)), max_bad_fraction=0.4)
    made = collection(5)
    assert {name: rows.tolist() for name, rows in split.assign(made).items()} == {"train": [0], "val": [2], "test": [1]}
    assert [(one.item, one.reason) for one in split.skipped] == [
        ("s.csv line 6", "3 cells for 2 columns"),
        ("s.csv line 5: 'other.jpg'", "no picture of that name"),
    ]
    for words in (
        "2 of 5 rows were not used",
        "2 names fit but for their ending or case",
        "2 of 5 pictures are in no part",
    ):
        assert any(words in note for note in split.notes)
    told = with_left_out(made, split)
    report = check_collection(told, {}, max_bad_fraction=0, level="quick")
    assert report.count("names in lists of splits that no picture has") == 2
    split.max_bad_fraction = 0.3
    with pytest.raises(
        DataError, match=r"2 of 5 rows cannot be used, 0\.4 is above split\.max_bad_fraction=0\.3: s\.csv line 6"
    ):
        split.assign(made)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.json", '[{"picture": "p000.jpg", "split": "train"}, {"picture": "p001.jpg", "split": "test"}]'),
        ("s.jsonl", '{"picture": "p000.jpg", "split": "train"}\n\n{"picture": "p001.jpg", "split": "test"}\n'),
        ("s.tsv", "picture\tsplit\np000.jpg\ttrain\np001.jpg\ttest\n"),
    ],
)
def test_split_files_of_other_forms(tmp_path: Path, name: str, content: str) -> None:
    splits = SplitFile(str(put(tmp_path / name, content))).assign(collection(5))
    assert {part: rows.tolist() for part, rows in splits.items()} == {"train": [0], "val": [], "test": [1]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"p000.jpg": "train", "p000.jpg": "test"}', "the key 'p000.jpg' stands twice"),
        ('{"train": ["p000.jpg", 5, null, {"a": 1}]}', "3 of 4 rows cannot be used"),
        ('{"p000.jpg": "test", "p001.jpg": 3}', "the split of 'p001.jpg' is no text"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_split_files_with_what_is_no_name(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        SplitFile(str(put(tmp_path / "s.json", content))).assign(collection(5))


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_how_much_may_be_bad_is_a_fraction(value: float) -> None:
    for key, make in (
        ("split.max_bad_fraction", lambda: SplitFile("s.csv", max_bad_fraction=value)),
        ("data.max_bad_fraction", lambda: check_collection(collection(3), {}, value, "quick")),
    ):
        with pytest.raises(ConfigError, match=rf"^{key}={value}: a fraction is between 0 and 1$"):
            make()
