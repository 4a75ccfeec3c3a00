import contextlib
import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest

from picdesk.data.checks import check_collection
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.readers.webdataset import WebDataset, expand_braces
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
        "a.tar: 00003.json: not JSON (Expecting property name enclosed in double quotes, line 1, column 2)",
    ]


def test_a_shard_cut_short_and_a_compressed_one(tmp_path: Path) -> None:
    whole = shard(tmp_path / "a.tar", [m for n in range(3) for m in sample(n)]).read_bytes()
    put(tmp_path / "a.tar", whole[: 512 * 5])
    collection = WebDataset(root=str(tmp_path)).read()
    check_pictures(collection, {"a/00000": colour(0)})
    assert "read as far as it goes" in reasons(collection)[0]
    with tarfile.open(tmp_path / "b.tar", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"the shard is compressed \(gzip\); unpack it"):
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


def notes_of(root: Path, **options: Any) -> str:
    return "\n".join(WebDataset(root=str(root), **options).read().notes)


def test_endings_in_upper_case_are_read(tmp_path: Path) -> None:
    members = [
        ("a.JPG", jpeg(colour(0))),
        ("a.Txt", b"one"),
        ("b.Jpeg", jpeg(colour(1))),
        ("b.JSON", b'{"title": "T"}'),
    ]
    shard(tmp_path / "x.tar", [*members, ("c.jpg", jpeg(colour(2))), ("c.JPG", jpeg(colour(3)))])
    collection = WebDataset(root=str(tmp_path), title_column="title", picture_endings=[".JPG", "jpeg"]).read()
    check_pictures(collection, {"x/a": colour(0), "x/b": colour(1), "x/c": colour(2)})
    assert [(t["caption"], t["title"]) for t in collection.texts] == [("one", ""), ("", "T")]
    assert reasons(collection) == ["x.tar: c.jpg: stands twice in the shard; the first was kept"]


def test_members_that_nothing_asks_for_are_counted_with_the_key_that_reads_them(tmp_path: Path) -> None:
    members = [
        *((f"{n}.jpg", jpeg(colour(n))) for n in range(3)),
        *((f"{n}.blip.caption", b"a dog") for n in range(3)),
        *((f"{n}.seg.png", b"\x89PNG") for n in range(2)),
        ("0.meta.json", b"{}"),
        ("0.npy", b"\x93NUMPY\0\0\xff"),
        ("README", b"words"),
        (".DS_Store", b"x"),
        ("__MACOSX/._0.jpg", b"x"),
        ("._1.jpg", b"x"),
    ]
    shard(tmp_path / "x.tar", members)
    assert notes_of(tmp_path) == (
        "3 pictures without a text\n"
        "11 members that nothing asked for: 3 .blip.caption (data.caption_ending=blip.caption reads such), "
        "3 (hidden), 2 .seg.png (data.picture_endings=[seg.png] reads such), "
        "1 .meta.json (data.json_ending=meta.json reads such), 1 .npy, 1 (no ending)"
    )
    collection = WebDataset(root=str(tmp_path), caption_ending="blip.caption").read()
    assert [fields["caption"] for fields in collection.texts] == ["a dog"] * 3
    shard(tmp_path / "x.tar", [("0.jpg", jpeg(colour(0))), ("0.txt", b"a dog")])
    assert "1 .txt (data.caption_column=caption reads such)" in notes_of(tmp_path, caption_column=None)


def test_a_json_with_other_keys_is_said(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar", [*sample(0, text="a dog", url="u"), *sample(1, text="a cat")])
    told = notes_of(tmp_path)
    assert "2 .json records hold no data.caption_column=caption; their keys are text, url" in told
    collection = WebDataset(root=str(tmp_path), caption_column="text").read()
    assert [fields["caption"] for fields in collection.texts] == ["a dog", "a cat"]


@pytest.mark.parametrize(
    ("content", "captions"),
    [
        ('["one", "two"]', ["one", "two"]),
        ('"one"', ["one"]),
        ('[{"caption": "one"}, {"caption": "two"}]', ["one", "two"]),
        ('{"caption": ["one", "two"]}', ["one", "two"]),
        ('\ufeff{"caption": "one"}', ["one"]),
        ('{"caption": 5}', "data.caption_column=caption holds the number 5, which is no text"),
        ('{"caption": NaN}', "holds the number nan, which is no text"),
        ('{"caption": {"raw": "one"}}', "name the key in it, as in .raw"),
        ('{"caption": "a", "caption": "b"}', "the key 'caption' stands twice"),
        ('{"caption": "\\ud83d"}', "half of a character"),
        ('["one", 2]', "not a JSON object, a text, or a list of objects or of texts"),
        ("[]", "not a JSON object, a text, or a list"),
        ("7", "not a JSON object, a text, or a list"),
        ("[" * 100_000, "not JSON (nested too deeply)"),
    ],
)
def test_forms_of_json(tmp_path: Path, content: str, captions: list[str] | str) -> None:
    shard(tmp_path / "x.tar", [("0.jpg", jpeg(colour(0))), ("0.json", content.encode()), *sample(1, "whole")])
    collection = WebDataset(root=str(tmp_path)).read()
    if isinstance(captions, list):
        assert [fields["caption"] for fields in collection.texts] == [*captions, "whole"]
        assert collection.skipped == ()
    else:
        assert captions in "\n".join(reasons(collection))
        assert [fields["caption"] for fields in collection.texts] == ["whole"]


def test_captions_within_records(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar", sample(0, sentences=[{"raw": "one"}, {"raw": "two"}]))
    collection = WebDataset(root=str(tmp_path), caption_column="sentences.raw").read()
    assert [fields["caption"] for fields in collection.texts] == ["one", "two"]


def test_empty_captions_and_old_encodings_are_said(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar", [*sample(0, " \n"), *sample(1), ("00001.txt", b"caf\xe9"), *sample(2)])
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        content = "über".encode("utf-16")
        info = tarfile.TarInfo("00002.txt")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    collection = WebDataset(root=str(tmp_path)).read()
    assert reasons(collection) == ["x.tar: 00000.txt: no caption in it"]
    assert [fields["caption"] for fields in collection.texts] == ["café", "über"]
    assert "1 texts that are not UTF-8, read as Windows-1252" in collection.notes
    assert "1 texts in UTF-16" in collection.notes


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_names_that_are_not_utf8(tmp_path: Path, form: int) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=form, errors="surrogateescape") as tar:
        for name in ("deep/" * 60 + "a.jpg", "caf\udce9.jpg", "b.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(jpeg(colour(1)))
            tar.addfile(info, io.BytesIO(jpeg(colour(1))))
    collection = WebDataset(root=str(tmp_path)).read()
    assert collection.picture_ids == ("x/" + "deep/" * 60 + "a", "x/b")
    assert reasons(collection) == [r"x.tar: caf\xe9: the name is not UTF-8; rename it"]


def test_what_is_no_regular_file_is_listed(tmp_path: Path) -> None:
    shard(tmp_path / "x.tar", sample(0, "x"))
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE), ("c.jpg", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "00000.jpg"
            tar.addfile(info)
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    told = reasons(WebDataset(root=str(tmp_path)).read())
    assert told == [
        "x.tar: a.jpg: a link, which is never followed",
        "x.tar: b.jpg: a link, which is never followed",
        "x.tar: c.jpg: not a regular file",
    ]


def test_ends_of_shards(tmp_path: Path) -> None:
    whole = shard(tmp_path / "x.tar", [*sample(0, "x"), *sample(1, "y")]).read_bytes()
    used = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    cases = {
        "whole": (whole, "", ""),
        "no mark": (whole[:used], "the mark at the end of the archive is missing", ""),
        "two archives": (whole + whole, "", "bytes behind the last member were not read"),
        "damaged header": (
            whole[:used] + b"junk" * 200,
            "",
            "bytes behind the last member were not read",
        ),
        "half a header": (whole[:used] + whole[:300], "", "bytes behind the last member were not read"),
    }
    for name, (data, note, reason) in cases.items():
        put(tmp_path / "x.tar", data)
        collection = WebDataset(root=str(tmp_path)).read()
        assert collection.picture_ids == ("x/00000", "x/00001"), name
        assert note in "\n".join(collection.notes), name
        assert bool(note) == bool(collection.notes), name
        assert [reason in line for line in reasons(collection)] == [True] * bool(reason), name


@pytest.mark.parametrize("data", [b"", b"junk" * 400, b"PK\x03\x04" + bytes(600), b"\x28\xb5\x2f\xfd" + bytes(600)])
def test_a_shard_that_is_none_stops_nothing_but_is_listed(tmp_path: Path, data: bytes) -> None:
    shard(tmp_path / "a.tar", sample(0, "x"))
    put(tmp_path / "b.tar", data)
    collection = WebDataset(root=str(tmp_path)).read()
    assert collection.picture_ids == ("a/00000",)
    assert [skipped.item for skipped in collection.skipped] == ["b.tar"]


def test_every_damaged_shard_is_read_or_listed(tmp_path: Path) -> None:
    """Bytes of headers changed at 300 places: every sample is there, or something says that one is not."""
    whole = shard(tmp_path / "x.tar", [m for n in range(4) for m in sample(n, f"text {n}")]).read_bytes()
    rng = random.Random(5)
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(0, len(data) // 512) * 512 + rng.randrange(512)] ^= 1 << rng.randrange(8)
        put(tmp_path / "x.tar", bytes(data))
        with contextlib.suppress(DataError):  # nothing at all could be read
            collection = WebDataset(root=str(tmp_path)).read()
            complete = collection.picture_ids == tuple(f"x/{n:05}" for n in range(4)) and len(collection.texts) == 4
            assert complete or collection.skipped or collection.notes


def test_patterns_that_lead_out_or_fit_nothing(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", sample(0))
    for pattern in ("../a.tar", "/a.tar", ""):
        with pytest.raises(ConfigError, match=r"data\.shards=.*below data\.root"):
            WebDataset(root=str(tmp_path), shards=pattern).read()
    for pattern in ("a-{5..1}.tar", "a-{0..999999999}.tar"):
        with pytest.raises(ConfigError, match="a range goes up, over at most 100,000 shards"):
            WebDataset(root=str(tmp_path), shards=pattern).read()
    with pytest.raises(ConfigError, match=r"a\.tar fits split 'test' and split 'train'"):
        WebDataset(root=str(tmp_path), shards={"train": "*.tar", "test": "a*"}).read()
    (tmp_path / "a.tar").rename(tmp_path / "a.tar.gz")
    with pytest.raises(MissingFileError, match=r"1 are compressed, which are not read \(unpack them\): 'a\.tar\.gz'"):
        WebDataset(root=str(tmp_path)).read()


def test_shards_whose_ending_is_in_capitals_are_read(tmp_path: Path) -> None:
    for n, name in enumerate(("a.tar", "b.TAR", "c.Tar")):
        shard(tmp_path / name, sample(n, f"text {n}"))
    assert WebDataset(root=str(tmp_path)).read().picture_ids == ("a/00000", "b/00001", "c/00002")
    assert WebDataset(root=str(tmp_path), shards="b.tar").read().picture_ids == ("b/00001",)


def test_shards_that_no_pattern_fits_are_left_out_by_name(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", sample(0, "text"))
    (tmp_path / "deep").mkdir()
    for name in ("a.tar.gz", "b.tar.gz", "c.tgz", "deep/d.tar"):
        put(tmp_path / name, b"x")
    collection = WebDataset(root=str(tmp_path)).read()
    assert reasons(collection) == [
        "b.tar.gz: compressed or packed, which is not read; unpack it",
        "c.tgz: compressed or packed, which is not read; unpack it",
        "deep/d.tar: data.shards does not fit it, so it was not read; data.shards='deep/*.tar' would",
    ]
    assert "1 files that data.shards does not name were not read: 'a.tar.gz'" in collection.notes
    with pytest.raises(DataError, match=r"3 rows left out by the reader, first b\.tar\.gz"):
        check_collection(collection, {})


def test_shards_that_were_not_asked_for_are_noted(tmp_path: Path) -> None:
    for n in range(3):
        shard(tmp_path / f"train-{n}.tar", sample(n, "text"))
    collection = WebDataset(root=str(tmp_path), shards="train-{0..1}.tar").read()
    assert reasons(collection) == []
    assert "1 files that data.shards does not name were not read: 'train-2.tar'" in collection.notes


def test_an_empty_data_set_tells_what_lay_in_the_shards(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", [("0001.0.jpg", jpeg(colour(0))), ("0001.0.txt", b"a dog"), ("plain", b"x")])
    with pytest.raises(
        DataError, match=r"no usable picture was found \(.*1 \.0\.jpg \(data\.picture_endings=\[0\.jpg\]"
    ):
        WebDataset(root=str(tmp_path)).read()


def test_texts_in_another_encoding_are_left_out_or_read_by_its_name(tmp_path: Path) -> None:
    chinese = "一只狗在雪地里奔跑"
    record = json.dumps({"caption": chinese}, ensure_ascii=False)
    members = [("0.jpg", jpeg(colour(0))), ("0.txt", chinese.encode("gb18030"))]
    shard(tmp_path / "a.tar", [*members, ("1.jpg", jpeg(colour(1))), ("1.json", record.encode("gb18030"))])
    collection = WebDataset(root=str(tmp_path)).read()
    assert [fields["caption"] for fields in collection.texts] == []
    assert [line.split(": not UTF-8")[0] for line in reasons(collection)] == ["a.tar: 0.txt", "a.tar: 1.json"]
    assert all("set data.encoding=gb18030" in line for line in reasons(collection))
    read = WebDataset(root=str(tmp_path), encoding="gb18030").read()
    assert [fields["caption"] for fields in read.texts] == [chinese, chinese]
    with pytest.raises(ConfigError, match=r"data\.encoding=utf-99: no such encoding"):
        WebDataset(root=str(tmp_path), encoding="utf-99").read()


def test_a_list_of_records_beside_captions_is_told(tmp_path: Path) -> None:
    records = json.dumps([{"caption": "x", "title": "t1"}, {"caption": "y", "title": "t2"}]).encode()
    shard(tmp_path / "a.tar", [("0.jpg", jpeg(colour(0))), ("0.txt", b"z"), ("0.json", records)])
    collection = WebDataset(root=str(tmp_path), title_column="title").read()
    assert collection.texts == ({"caption": "z", "title": ""},)
    assert reasons(collection) == ["a.tar: 0.json: a list of 2 records beside a .txt: which goes with a caption?"]
    assert reasons(WebDataset(root=str(tmp_path)).read()) == []
