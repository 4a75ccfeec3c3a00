import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from picdesk.data.readers import WebDataset
from picdesk.data.readers.webdataset import expand_braces
from picdesk.errors import DataError, MissingFileError
from tests.data.samples import check_pictures, colour, jpeg, pairs, put, reasons


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def sample(n: int, txt: str | None = None, **record: Any) -> list[tuple[str, bytes]]:
    members = [(f"{n:05}.jpg", jpeg(colour(n)))]
    members += [(f"{n:05}.txt", txt.encode())] if txt is not None else []
    return [*members, *([(f"{n:05}.json", json.dumps(record).encode())] if record else [])]


def test_brace_ranges_over_shards_and_reading_by_offset(tmp_path: Path) -> None:
    for s in range(3):
        shard(tmp_path / f"train-{s:03}.tar", [m for n in (2 * s, 2 * s + 1) for m in sample(n, f"text {n}\nmore {n}")])
    collection = WebDataset(root=str(tmp_path), shards="train-{000..001}.tar").read()
    check_pictures(collection, {f"train-00{n // 2}/{n:05}": colour(n) for n in range(4)})
    assert pairs(collection)["train-001/00002#1"] == "train-001/00002"
    assert [fields["caption"] for fields in collection.texts[:3]] == ["text 0", "more 0", "text 1"]
    assert len(WebDataset(root=str(tmp_path)).read().picture_ids) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"train-00{s}.tar" for s in range(3)]


def test_json_members_and_samples_without_texts(tmp_path: Path) -> None:
    members = (
        sample(0, title="T0", tags=["a", "b"])
        + sample(1)
        + sample(2, "from txt", title="T2", tags="c;d", caption="from json")
    )
    shard(tmp_path / "a.tar", members)
    collection = WebDataset(root=str(tmp_path), title_column="title", tags_column="tags").read()
    assert pairs(collection) == {"a/00000#0": "a/00000", "a/00002#0": "a/00002"}
    assert collection.texts[0] == {"caption": "", "title": "T0", "tags": ("a", "b")}
    assert collection.texts[1] == {"caption": "from txt", "title": "T2", "tags": ("c", "d")}


def test_shards_of_one_name_in_two_folders(tmp_path: Path) -> None:
    for n, folder in enumerate(("train", "test/more")):
        (tmp_path / folder).mkdir(parents=True)
        shard(tmp_path / folder / "00000.tar", [*sample(0, f"text {n}"), *sample(n + 1), ("x.txt", b"no picture")])
    collection = WebDataset(root=str(tmp_path), shards={"train": "train/*.tar", "test": "test/**/*.tar"}).read()
    assert collection.picture_ids == (
        "train/00000/00000",
        "train/00000/00001",
        "test/more/00000/00000",
        "test/more/00000/00002",
    )
    assert collection.official == ("train", "train", "test", "test")
    assert pairs(collection)["test/more/00000/00000#0"] == "test/more/00000/00000"
    assert reasons(collection) == [f"{f}/00000.tar: x: 0 pictures in the sample" for f in ("train", "test/more")]


def test_a_caption_ends_at_a_line_end_alone(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", sample(0, "one\u2028caption\u0085here\r\ntwo"))
    texts = WebDataset(root=str(tmp_path)).read().texts
    assert [fields["caption"] for fields in texts] == ["one\u2028caption\u0085here", "two"]


def test_names_in_a_shard_are_never_paths(tmp_path: Path) -> None:
    put(tmp_path / "secret.jpg", b"secret")
    root = tmp_path / "root"
    root.mkdir()
    shard(root / "a.tar", [("../secret.jpg", jpeg(colour(3))), ("/etc/x.jpg", jpeg(colour(4)))])
    with tarfile.open(root / "a.tar", "a") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "../secret.jpg"
        tar.addfile(link)
    collection = WebDataset(root=str(root)).read()
    check_pictures(collection, {"a/../secret": colour(3), "a//etc/x": colour(4)})
    assert (tmp_path / "secret.jpg").read_bytes() == b"secret"


def test_what_is_wrong_in_a_shard_is_named(tmp_path: Path) -> None:
    members = [
        *sample(0, "x"),
        ("00001.txt", b"no picture"),
        *sample(2),
        ("00002.png", b"two pictures"),
        ("00003.json", b"{"),
    ]
    shard(tmp_path / "a.tar", [*members, *sample(3, "y"), *sample(0)])
    collection = WebDataset(root=str(tmp_path)).read()
    check_pictures(collection, {"a/00000": colour(0), "a/00003": colour(3)})
    assert reasons(collection) == [
        "a.tar: 00000.jpg: stands twice in the shard; the first was kept",
        "a.tar: 00001: 0 pictures in the sample",
        "a.tar: 00002: 2 pictures in the sample",
        "a.tar: 00003.json: not a JSON object",
    ]


def test_a_shard_cut_short_and_a_compressed_one(tmp_path: Path) -> None:
    whole = shard(tmp_path / "a.tar", [m for n in range(3) for m in sample(n)]).read_bytes()
    put(tmp_path / "a.tar", whole[: 512 * 5])
    collection = WebDataset(root=str(tmp_path)).read()
    check_pictures(collection, {"a/00000": colour(0)})
    assert "read as far as it goes" in reasons(collection)[0]
    with tarfile.open(tmp_path / "b.tar", "w:gz"):
        pass
    with pytest.raises(DataError, match="the shard is broken, or compressed"):
        WebDataset(root=str(tmp_path), shards="b.tar").read()


def test_a_missing_shard_of_a_range(tmp_path: Path) -> None:
    shard(tmp_path / "t-0.tar", sample(0))
    with pytest.raises(MissingFileError, match=r"no shard 't-1\.tar' in data\.root=.* \(data\.shards\)"):
        WebDataset(root=str(tmp_path), shards="t-{0..1}.tar").read()


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{08..10}.tar", ["a-08.tar", "a-09.tar", "a-10.tar"]),
        ("a-{8..10}.tar", ["a-8.tar", "a-9.tar", "a-10.tar"]),
        ("{x,y}-{0..1}.tar", ["x-0.tar", "x-1.tar", "y-0.tar", "y-1.tar"]),
    ],
)
def test_braces(pattern: str, expanded: list[str]) -> None:
    assert expand_braces(pattern) == expanded


def test_shards_of_each_split(tmp_path: Path) -> None:
    for n, name in enumerate(("train-0", "train-1", "val-0")):
        shard(tmp_path / f"{name}.tar", sample(n, "x"))
    reader = WebDataset(root=str(tmp_path), shards={"train": "train-{0..1}.tar", "val": "val-*.tar"})
    assert reader.read().official == ("train", "train", "val")
