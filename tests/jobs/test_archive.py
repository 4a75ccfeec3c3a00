"""Packing is repeatable to the byte; unpacking takes the files of a job and nothing else."""

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest

from picdesk.commands import pack as door
from picdesk.errors import ConfigError, DataError, MissingFileError
from picdesk.jobs.archive import CHECKPOINT, pack, unpack
from picdesk.report.manifest import BESIDE, Manifest
from picdesk.report.page import STRICT, render_job
from picdesk.report.provenance import Stopwatch


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    (folder / "checkpoint").mkdir(parents=True)
    for name in (*BESIDE, *CHECKPOINT):
        (folder / name).write_text(f"content of {name}\n" * 50)
    manifest = Manifest.of_job(folder, Stopwatch(), task="evaluate", seed=0, data={}, weights={}, config="c", index="i")
    manifest.write(folder / "manifest.json")
    return folder


def test_round_trip_and_same_bytes(job: Path, tmp_path: Path) -> None:
    names = pack(job, tmp_path / "a.tar.gz", checkpoint=True)
    for path in job.rglob("*"):
        path.touch()
    pack(job, tmp_path / "b.tar.gz", checkpoint=True)
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    assert unpack(tmp_path / "a.tar.gz", tmp_path / "out") == names
    assert len(names) == 7
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (job / name).read_bytes()
    assert "checkpoint/model.safetensors" not in pack(job, tmp_path / "c.tar.gz")


def test_a_changed_file_is_not_packed(job: Path, tmp_path: Path) -> None:
    (job / "run.trec").write_text("other")
    with pytest.raises(DataError, match=r"run\.trec: changed since the job"):
        pack(job, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


HOSTILE = {
    "absolute": entry("/etc/passwd"),
    "upwards": entry("../manifest.json"),
    "inner upwards": entry("checkpoint/../../x"),
    "other name": entry("setup.py"),
    "backslash": entry("..\\manifest.json"),
    "symlink": entry("config.yaml", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": entry("config.yaml", tarfile.LNKTYPE, "manifest.json"),
    "device": entry("config.yaml", tarfile.CHRTYPE),
    "pipe": entry("config.yaml", tarfile.FIFOTYPE),
    "folder": entry("checkpoint", tarfile.DIRTYPE),
    "linked folder": entry("checkpoint", tarfile.SYMTYPE, "/tmp"),
    "twice": entry("manifest.json"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_leave_nothing(job: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(job / "manifest.json", "manifest.json")
        archive.addfile(HOSTILE[what], io.BytesIO())
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DataError, match="nothing was unpacked"):
        unpack(path, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_bomb_is_stopped_at_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(entry("run.trec", size=30_000_000), io.BytesIO(bytes(30_000_000)))
    with pytest.raises(DataError, match="more than 1,000,000 bytes"):
        unpack(path, tmp_path / "out", most_bytes=1_000_000)
    assert not (tmp_path / "out").exists()


def test_damaged_or_changed_archives(job: Path, tmp_path: Path) -> None:
    pack(job, tmp_path / "a.tar.gz")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tar.gz").write_text("no archive")
    (tmp_path / "changed.tar.gz").write_bytes(
        gzip.compress(gzip.decompress(whole).replace(b"of run.trec", b"of ran.trec"))
    )
    (tmp_path / "empty.tar.gz").write_bytes(gzip.compress(b""))
    for name in ("cut", "text", "changed", "empty"):
        with pytest.raises(DataError):
            unpack(tmp_path / f"{name}.tar.gz", tmp_path / "out")
    with pytest.raises(MissingFileError):
        unpack(tmp_path / "none.tar.gz", tmp_path / "out")
    with pytest.raises(ConfigError, match="not an empty folder"):
        unpack(tmp_path / "a.tar.gz", job)


def test_the_command(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main([str(job), str(tmp_path / "a.tar.gz"), "--checkpoint"]) == 0
    assert door.main(["--unpack", str(tmp_path / "a.tar.gz"), str(tmp_path / "out")]) == 0
    assert "reproduce=" in capsys.readouterr().out
    assert door.main(["--unpack", str(tmp_path / "a.tar.gz"), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "page",
    [
        "<script>alert(1)</script>",
        '<!doctype html>\n<html lang="en">\n<head>\n<script>alert(1)</script>',
        "{sound}<meta Http-Equiv='refresh' content='0;url=https://example.org'>",
        '{sound}<META title=">" http-equiv="refresh" content="0;url=https://example.org">',
        '{sound}<meta name="a" content="b"http-equiv="refresh">',
        '{sound}<link rel="preconnect" href="https://example.org">',
        '{sound}<iframe srcdoc="&lt;link rel=preconnect href=https://example.org&gt;">',
        "{sound}\xff",
    ],
)
def test_a_page_from_elsewhere_runs_nothing(job: Path, tmp_path: Path, page: str) -> None:
    from tests.report.sample import job as sample
    from tests.report.sample import read_picture

    sound = render_job(sample(), read_picture)
    (job / "index.html").write_text(sound)
    pack(job, tmp_path / "sound.tar.gz")
    unpack(tmp_path / "sound.tar.gz", tmp_path / "sound")
    opened = (tmp_path / "sound" / "index.html").read_text()
    assert re.findall(r'content="(default-src[^"]*)"', opened) == [STRICT]
    (job / "index.html").write_bytes(page.replace("{sound}", sound).encode().replace("\xff".encode(), b"\xff"))
    pack(job, tmp_path / "bad.tar.gz")
    with pytest.raises(DataError, match=r"index\.html: not"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}, b"1\n0"),
        (
            {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "512"},
            b"1\n0\n512\n".ljust(1024, b"\0"),
        ),
        ({"GNU.sparse.map": "0,x", "GNU.sparse.size": "5"}, b"abc"),
        ({"GNU.sparse.size": "x"}, b"abc"),
        ({"size": "-5"}, b"abc"),
        ({"size": "99999999999999"}, b"abc"),
        ({"mtime": "x", "uid": "y"}, b"abc"),
    ],
)
def test_odd_headers_of_pax_are_refused_in_one_line(tmp_path: Path, headers: dict[str, str], content: bytes) -> None:
    path = tmp_path / "pax.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("index.html")
        info.size, info.pax_headers = len(content), {**headers, "GNU.sparse.name": "index.html"}
        archive.addfile(info, io.BytesIO(content))
    with pytest.raises(DataError, match=r"not an archive that can be read|nothing was unpacked|no manifest") as error:
        unpack(path, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
