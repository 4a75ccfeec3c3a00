"""A job that somebody else made to do harm, opened at the doors: refused in one line, or opened without what reaches too far."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from picdesk.files import digest_of, file_digest
from picdesk.jobs.identity import settings_of
from tests.doors import Ran, run
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
SECRET = "canary-of-this-test"
_JOBS: dict[str, Path] = {}


@pytest.fixture
def job(
    capfd: Capture, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    """A copy of an honest job that carries nobody's mark; its data lies in the user's own data root."""
    monkeypatch.setenv("A_SECRET", SECRET)
    if "job" not in _JOBS:
        folder = tmp_path_factory.mktemp("honest")
        own = ("data=parquet", f"data.root={write_data(folder / 'data' / 'tiny')}", "data.caption_column=caption")
        tiny = ("backbone._target_=tests.tiny.Tiny", "backbone.dim=8", "split=all", "bootstrap.resamples=50")
        made = run(
            capfd, folder / "out", "evaluate", *own, *tiny, "prompt=caption", f"paths.data_root={folder / 'data'}"
        )
        assert made.status == 0, made.err
        _JOBS.update(job=made.folder, data=folder / "data")
    shutil.copytree(_JOBS["job"], tmp_path / "sent" / "job")
    forge(tmp_path / "sent" / "job")
    return tmp_path / "sent" / "job"


def forge(job: Path, **changes: Any) -> None:
    """Change a job's config by dotted keys (`__` for a dot) and make manifest and digests fit."""
    plain = OmegaConf.to_container(OmegaConf.load(job / "config.yaml"), resolve=False)
    for key, value in changes.items():
        node: Any = plain
        *way, last = key.split("__")
        for name in way:
            node = node.setdefault(name, {})
        node[last] = value
    cfg = OmegaConf.create(plain)
    OmegaConf.save(cfg, job / "config.yaml", resolve=False)
    manifest = json.loads((job / "manifest.json").read_text())
    manifest["settings"] = settings_of(plain)  # type: ignore[arg-type]
    resign(job, manifest)


def resign(job: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest whose digests fit the files that are there."""
    manifest["files"] = {name: file_digest(job / name) for name in manifest["files"]}
    manifest.pop("by", None)  # nobody else can write it
    manifest["digest"] = digest_of(manifest | {"digest": ""})
    (job / "manifest.json").write_text(json.dumps(manifest))


def reproduce(capfd: Capture, job: Path, *more: str) -> Ran:
    return run(capfd, job.parent.parent / "out", "evaluate", f"reproduce={job / 'manifest.json'}", data_root(), *more)


def one_line(ran: Ran) -> str:
    """The one line that a refused job says."""
    (line,) = [line for line in ran.err.splitlines() if line.startswith("picdesk: ")]
    assert "Traceback" not in ran.err
    return line


def data_root() -> str:
    return f"paths.data_root={_JOBS['data']}"


def test_an_honest_job_of_somebody_else_is_had_again(capfd: Capture, job: Path) -> None:
    ran = reproduce(capfd, job)
    assert ran.status == 0, ran.err
    assert ran.file("metrics.json") == (job / "metrics.json").read_bytes()


def test_it_says_which_plug_in_it_needs(capfd: Capture, job: Path) -> None:
    forge(job, plugins=["tests"])
    ran = reproduce(capfd, job, "plugins=[]")
    assert ran.status == 2
    assert "say plugins=[tests]" in one_line(ran)


def test_no_code_of_it_runs(capfd: Capture, job: Path, tmp_path: Path) -> None:
    harm = {"_target_": "picdesk.embedding.encoder.os.system", "command": f"touch {tmp_path / 'harm'}"}
    for key, value in {"prompt": harm, "data__suffixes": [harm], "split": "${expected.harm}"}.items():
        forge(job, expected={"harm": harm}, **{key: value})
        ran = reproduce(capfd, job)
        assert ran.status == 2, key
        one_line(ran)
    assert not (tmp_path / "harm").exists()


def test_it_reads_no_environment(capfd: Capture, job: Path) -> None:
    forge(job, data__name="${oc.env:A_SECRET}")
    ran = reproduce(capfd, job)
    assert ran.status == 2
    assert "data.name" in one_line(ran)
    assert SECRET not in ran.out + ran.err


def test_a_path_of_it_is_given_again(capfd: Capture, job: Path, tmp_path: Path) -> None:
    shutil.copytree(_JOBS["data"] / "tiny", tmp_path / "elsewhere")
    forge(job, data__root=str(tmp_path / "elsewhere"))
    ran = reproduce(capfd, job)
    assert ran.status == 2
    assert "data.root must be given: add data.root=VALUE" in one_line(ran)
    again = reproduce(capfd, job, f"data.root={tmp_path / 'elsewhere'}")
    assert again.status == 0, again.err


def test_ones_own_job_says_where_its_data_lies(capfd: Capture, job: Path, tmp_path: Path) -> None:
    ran = run(capfd, tmp_path / "out", "evaluate", f"reproduce={_JOBS['job'] / 'manifest.json'}")
    assert ran.status == 0, ran.err


def test_a_checkpoint_of_it_is_bound_too(capfd: Capture, job: Path, tmp_path: Path) -> None:
    (job / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    forge(job, data__name="${oc.env:A_SECRET}")
    ran = run(capfd, tmp_path / "out", "evaluate", f"ckpt={job}", data_root())
    assert ran.status == 2
    assert SECRET not in ran.out + ran.err


LINKS = {"the log": "job.log", "what Hydra writes": ".hydra", "the state": "resume", "the checkpoint": "checkpoint"}


@pytest.mark.parametrize("what", LINKS)
def test_a_link_in_a_stopped_job_is_not_written_through(capfd: Capture, job: Path, tmp_path: Path, what: str) -> None:
    (tmp_path / "home" / "x").mkdir(parents=True)
    shutil.rmtree(job / ".hydra")
    (job / "job.log").unlink(missing_ok=True)
    (job / "resume").mkdir()
    (job / LINKS[what]).rmdir() if (job / LINKS[what]).is_dir() else None
    (job / LINKS[what]).symlink_to(tmp_path / "home" / ("log" if what == "the log" else "x"))
    (tmp_path / "stopped" / "resume").mkdir(parents=True)
    for asked in (f"resume={job}", f"hydra.run.dir={job}"):
        ran = run(capfd, tmp_path / "out", "train", asked, data_root())
        assert ran.status == 2
        assert "is a link that leads out of the folder" in one_line(ran)
    assert [path.name for path in (tmp_path / "home").rglob("*")] == ["x"]


def test_a_file_of_it_is_no_link_and_has_a_digest(capfd: Capture, job: Path, tmp_path: Path) -> None:
    shutil.copytree(job, job.parent / "other")
    (job / "run.trec").replace(tmp_path / "run.trec")
    (job / "run.trec").symlink_to(tmp_path / "run.trec")
    ran = reproduce(capfd, job)
    assert ran.status == 2
    assert "run.trec: is a link that leads out" in one_line(ran)
    (job / "run.trec").unlink()
    shutil.copy(tmp_path / "run.trec", job / "run.trec")
    manifest = json.loads((job / "manifest.json").read_text())
    del manifest["files"]["metrics.json"]
    resign(job, manifest)
    ran = reproduce(capfd, job)
    assert ran.status == 2
    assert "metrics.json: manifest.json names no digest of it" in one_line(ran)


def test_ids_that_the_data_does_not_have_are_said_and_escaped(capfd: Capture, job: Path, tmp_path: Path) -> None:
    runs = (job / "run.trec").read_text().splitlines()
    odd = "<script>alert(1)</script>"
    first = next(line.split()[2] for line in runs if line and not line.startswith("#"))
    for name in ("run.trec", "qrels.trec"):
        (job / name).write_text(
            (job / name).read_text().replace(f" {first} ", f" {odd} ").replace(f"{first} ", f"{odd} ")
        )
    resign(job, json.loads((job / "manifest.json").read_text()))
    shutil.copytree(job, job.parent / "other")
    ran = run(
        capfd,
        tmp_path / "out",
        "evaluate",
        "task=compare",
        f"dir={job}",
        f"against={job.parent / 'other'}",
        data_root(),
    )
    assert ran.status == 0, ran.err
    (page,) = (tmp_path / "out").rglob("index.html")
    assert "which the data set does not have" in page.read_text()
    assert "<script>alert" not in page.read_text()


def test_nobody_resamples_for_ever(capfd: Capture, job: Path) -> None:
    forge(job, bootstrap__resamples=10**12)
    ran = reproduce(capfd, job)
    assert ran.status == 2
    assert "bootstrap.resamples=1000000000000: at least 20 are needed, and at most" in one_line(ran)


ODD = {
    "a key twice": ('"form": 1', '"form": 1, "seed": 0, "seed": 0'),
    "a number without end": ('"seed": 0', f'"seed": 1{"0" * 400}'),
    "an objective without end": ('"objective": 0', '"objective": 1e999'),
}


@pytest.mark.parametrize("what", ODD)
def test_a_manifest_says_each_thing_once_and_in_measure(capfd: Capture, job: Path, what: str) -> None:
    text = (job / "manifest.json").read_text()
    assert ODD[what][0].rstrip("0") in text
    if "objective" in what:
        text = re.sub(r'"objective": [\d.e-]+', '"objective": 0', text)
    (job / "manifest.json").write_text(text.replace(*ODD[what]))
    ran = reproduce(capfd, job)
    assert ran.status == 2
    assert "manifest.json" in one_line(ran)
    assert any(word in one_line(ran) for word in ("twice", "beyond all measure"))


def overridden(job: Path, *overrides: str) -> None:
    (job / ".hydra" / "overrides.yaml").write_text("".join(f"- {json.dumps(item)}\n" for item in overrides))


def test_pages_show_strings_and_best_yaml_repeats_nothing_that_reaches_out(
    capfd: Capture, job: Path, tmp_path: Path
) -> None:
    shutil.copytree(job, job.parent / "other")
    overridden(
        job,
        "seed=<script>alert(1)</script>",
        "plugins=[evil]",
        "backbone.allow_code=true",
        "x=${oc.env:A_SECRET}",
        "top_k=[1,choice(1,2)]",
        f"fusion={'[' * 600}{']' * 600}",
    )
    ran = run(capfd, tmp_path / "out", "evaluate", "task=leaderboard", f"dir={job.parent}")
    assert ran.status == 0, ran.err
    page, best = ((job.parent / name).read_text() for name in ("leaderboard.html", "best.yaml"))
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    lines = [line for line in best.splitlines() if not line.startswith("# left to")]
    assert not any(word in "\n".join(lines) for word in ("evil", "allow_code", "oc.env"))
    assert "left to the command line: seed, backbone.allow_code, x, top_k, fusion" in best


DAMAGE = {
    "run.trec": lambda path: path.write_text(path.read_text().replace(" 1 ", " 2 ", 1)),
    "metrics.json": lambda path: path.write_text(path.read_text().replace("0.", "0.9", 1)),
    "config.yaml": lambda path: path.write_text(path.read_text().replace("seed: 0", "seed: 1")),
    "manifest.json": lambda path: path.write_text(path.read_text().replace('"seed": 0', '"seed": 1')),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_changed_job_is_neither_compared_nor_ranked(capfd: Capture, job: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(job, job.parent / "other")
    before = (job / name).read_bytes()
    DAMAGE[name](job / name)
    assert (job / name).read_bytes() != before
    ran = run(capfd, tmp_path / "out", "evaluate", "task=compare", f"dir={job}", f"against={job.parent / 'other'}")
    assert ran.status == 2
    assert "changed" in one_line(ran)
    assert name in one_line(ran)
    board = run(capfd, tmp_path / "out", "evaluate", "task=leaderboard", f"dir={job.parent}")
    assert board.status == 0, board.err
    assert "1 of 2 jobs failed" in (job.parent / "leaderboard.html").read_text()
