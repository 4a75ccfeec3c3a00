"""A manifest gives the same bytes in another folder, and nothing that was changed since gets past it."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from picdesk.jobs.archive import pack
from picdesk.report.manifest import Manifest
from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run
from tests.jobs.test_hostile_jobs import resign
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
TINY = (
    "data=parquet",
    "data.caption_column=caption",
    "split=random_70_10_20",
    "backbone._target_=tests.tiny.Tiny",
    "backbone.dim=8",
)
_KEPT: dict[str, Path] = {}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first clone: data, outputs."""
    folder = tmp_path_factory.mktemp("one")
    write_data(folder / "data", pictures=80)
    return folder


@pytest.fixture
def job(capfd: Capture, one: Path) -> Path:
    """An evaluated checkpoint of the first clone; made once."""
    if "job" not in _KEPT:
        data = f"data.root={one / 'data'}"
        fitted = run(
            capfd, one, "train", *TINY, data, "trainer.max_epochs=2", "training.batch_size=16", "bootstrap.resamples=50"
        )
        assert fitted.status == 0, fitted.err
        again = run(capfd, one, "evaluate", data, f"ckpt={fitted.folder}", "bootstrap.resamples=50")
        assert again.status == 0, again.err
        _KEPT["fit"], _KEPT["job"] = fitted.folder, again.folder
    return _KEPT["job"]


@pytest.fixture
def other(tmp_path: Path, job: Path) -> Path:
    """Another clone in another folder: its own data, and a copy of the job with its checkpoint."""
    shutil.copytree(job, tmp_path / "job")
    shutil.copytree(_KEPT["fit"] / "checkpoint", tmp_path / "job" / "checkpoint")
    write_data(tmp_path / "data", pictures=80)
    return tmp_path


def reproduce(capfd: Capture, clone: Path, *overrides: str) -> Ran:
    manifest = clone / "job" / "manifest.json"
    return run(capfd, clone / "out", "evaluate", f"reproduce={manifest}", f"data.root={clone / 'data'}", *overrides)


def test_another_clone_gives_the_same_bytes(capfd: Capture, other: Path, job: Path) -> None:
    ran = reproduce(capfd, other)
    assert ran.status == 0, ran.err
    assert ran.file("metrics.json") == (job / "metrics.json").read_bytes()
    assert ran.file("run.trec") == (job / "run.trec").read_bytes()
    assert "t2i/hits@1" in ran.out
    assert "within tolerance" not in ran.out
    assert "0 outside the tolerance" in ran.out
    verdict = json.loads(ran.file("verdict.json"))
    assert verdict["summary"] in ran.out
    assert {line["verdict"] for line in verdict["lines"]} == {"exact"}
    page = ran.file("index.html").decode()
    assert "<h1>Reproduction of job: " in page
    assert page.index('<section id="verdict"><h2>Reproduced</h2>') < page.index('<section id="metrics">')
    ours, theirs = (json.loads((folder / "manifest.json").read_text()) for folder in (ran.folder, job))
    for key in ("config", "settings", "data", "weights", "fingerprint"):
        assert ours[key] == theirs[key], key


CHANGED = {
    "an interval": ("t2i/intervals/hits@1/high", ["t2i", "intervals", "hits@1"], [0.0, 0.9]),
    "without look-alikes": (
        "without_look_alikes/t2i/metrics/hits@1",
        ["without_look_alikes", "t2i", "metrics", "hits@1"],
        0.9,
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_every_number_is_held_against_the_reported_one(capfd: Capture, other: Path, name: str) -> None:
    """Not those of the tables alone: a job whose other numbers were changed is not had again."""
    told, (*way, last), wrong = CHANGED[name]
    path = other / "job" / "metrics.json"
    content = json.loads(path.read_text())
    place = content
    for key in way:
        place = place[key]
    assert last in place, sorted(place)
    place[last] = wrong
    path.write_text(json.dumps(content))
    resign(other / "job", json.loads((other / "job" / "manifest.json").read_text()))
    ran = reproduce(capfd, other)
    assert ran.status == 1
    assert f"not reproduced: {told}" in ran.err
    assert "1 outside" in ran.out or "2 outside" in ran.out
    lines = {line["metric"]: line["verdict"] for line in json.loads(ran.file("verdict.json"))["lines"]}
    assert lines[told] == "outside"


def test_a_packed_job_reproduces_as_it_is_sent(capfd: Capture, other: Path) -> None:
    archive = other / "sent.tar.gz"
    assert "index.html" in pack(other / "job", archive, checkpoint=True)
    ran = run(capfd, other / "out", "evaluate", f"reproduce={archive}", f"data.root={other / 'data'}")
    assert ran.status == 0, ran.err
    assert "0 outside the tolerance" in ran.out
    assert "<h1>Reproduction of sent.tar.gz: " in ran.file("index.html").decode()
    sent = (ran.folder / "reproduced" / "index.html").read_text()
    assert "script-src" not in sent
    assert "default-src 'none'" in sent


def test_a_run_file_that_was_scored_is_no_model_that_was_asked(capfd: Capture, other: Path) -> None:
    """Whatever command the job says it was made by."""
    files = {name: other / "job" / f"{name}.trec" for name in ("run", "qrels")}
    made = run(capfd, other / "made", "evaluate", f"run_file={files['run']}", f"qrels_file={files['qrels']}")
    content = json.loads(made.file("manifest.json"))
    resign(made.folder, content | {"command": ["python", "evaluate.py", "experiment=best"]})
    ran = run(capfd, other / "out", "evaluate", f"reproduce={made.folder}")
    assert ran.status == 0, ran.err
    for told in (" ".join(ran.out.split()), ran.file("verdict.json").decode(), ran.file("index.html").decode()):
        assert "no model was asked" in told


def test_data_that_came_with_the_job_are_told(capfd: Capture, other: Path) -> None:
    shutil.copytree(other / "data", other / "job" / "data")
    ran = run(capfd, other / "out", "evaluate", f"reproduce={other / 'job'}", f"data.root={other / 'job' / 'data'}")
    assert ran.status == 0, ran.err
    assert "came with the job: what is named by data.root" in ran.out
    assert "came with the job" not in reproduce(capfd, other).out


def test_a_machine_that_rounds_otherwise_is_told(capfd: Capture, other: Path, job: Path) -> None:
    left = json.loads((job / "manifest.json").read_text())["arithmetic"]
    assert left["threads"] == str(torch.get_num_threads())
    assert left["encode.batch_size"] == "32"
    ran = reproduce(capfd, other, "encode.batch_size=7", "tolerance=0.01")
    assert ran.status == 0, ran.err
    told = "rounds otherwise: encode.batch_size 7 (the job: 32); numbers are compared within 0.01"
    assert told in ran.out + ran.err
    assert "rounds otherwise" not in reproduce(capfd, other).out


def test_a_fit_reproduces_from_its_own_manifest(capfd: Capture, one: Path, job: Path, tmp_path: Path) -> None:
    ran = run(capfd, tmp_path, "evaluate", f"reproduce={_KEPT['fit'] / 'manifest.json'}")
    assert ran.status == 0, ran.err
    assert "0 outside the tolerance" in ran.out


def other_caption(captions: list[str], contents: list[bytes]) -> None:
    captions[:] = [caption.replace("picture 4", "photo 4") for caption in captions]


def other_pixel(captions: list[str], contents: list[bytes]) -> None:
    import io

    for i, content in enumerate(contents):
        pixels = np.asarray(Image.open(io.BytesIO(content))).copy()
        pixels[0, 0, 0] ^= 1
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        contents[i] = stream.getvalue()


def other_weight(clone: Path) -> None:
    path = clone / "job" / "checkpoint" / "model.safetensors"
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        about = file.metadata()
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name] = weights[name] + np.float32(1e-3)
    save_file(weights, path, about)


def other_setting(clone: Path) -> None:
    path = clone / "job" / "config.yaml"
    text = path.read_text()
    assert "run_depth: 20\n" in text
    path.write_text(text.replace("run_depth: 20\n", "run_depth: 21\n").rpartition("# picdesk-config-1")[0])


def other_letter(clone: Path) -> None:
    path = clone / "job" / "config.yaml"
    path.write_text(path.read_text().replace("run_depth: 20\n", "run_depth: 21\n"))


def other_manifest(clone: Path) -> None:
    path = clone / "job" / "manifest.json"
    path.write_text(path.read_text().replace('"run_depth": "20"', '"run_depth": "21"'))


def other_metrics(clone: Path) -> None:
    path = clone / "job" / "metrics.json"
    path.write_text(path.read_text().replace("0.", "0.9", 1))


MUTATIONS: dict[str, tuple[Callable[[Path], object] | None, tuple[str, ...], str]] = {
    "a caption": (lambda clone: write_data(clone / "data", 80, other_caption), (), "data.texts is"),
    "a pixel": (lambda clone: write_data(clone / "data", 80, other_pixel), (), "data.pictures is"),
    "a weight": (other_weight, (), "weights.checkpoint is"),
    "a trunk weight": (None, ("+backbone.trunk_seed=1",), "backbone.trunk_seed is 1"),
    "a config value": (other_setting, (), "run_depth is 21, the manifest has 20"),
    "a letter of the config": (other_letter, (), "config.yaml: changed or damaged since it was written"),
    "the manifest itself": (other_manifest, (), "manifest.json: changed or damaged since the job"),
    "the split seed": (None, ("split.seed=7",), "split.seed is 7"),
    "the seed": (None, ("seed=7",), "seed is 7, the manifest has 0"),
    "the reported metrics": (other_metrics, (), "metrics.json: changed since the job"),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_whatever_was_changed_is_refused_by_name(capfd: Capture, other: Path, what: str) -> None:
    change, overrides, said = MUTATIONS[what]
    if change:
        change(other)
    ran = reproduce(capfd, other, *overrides)
    lines = [line for line in ran.err.splitlines() if line.startswith("picdesk: ")]
    assert ran.status == 2, ran.out + ran.err
    assert len(lines) == 1
    assert said in lines[0], lines[0]
    assert not list((other / "out").rglob("metrics.json")), "refused before anything is scored"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("latest", "reproduce=latest: no job there"),
        ("gone.tar.gz", "reproduce=gone.tar.gz: no job there"),
        (".", "reproduce=.: no job there"),
        ("{}/metrics.json", "metrics.json: another file of a job"),
    ],
)
def test_what_is_no_job_is_told_with_what_would_be(capfd: Capture, tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    ran = run(capfd, tmp_path, "evaluate", f"reproduce={name.format(tmp_path)}")
    one_line(ran, told, "manifest.json, or an archive that `picdesk pack` made")


def publish_experiment(clone: Path, name: str, t2i: dict[str, float], more: str = "") -> tuple[str, ...]:
    """An experiment file with expected values, and the overrides that use it."""
    folder = clone / "conf" / "experiment"
    folder.mkdir(parents=True, exist_ok=True)
    values = ", ".join(f"{key}: {value!r}" for key, value in t2i.items())
    text = f"# @package _global_\nexpected:\n  t2i: {{{values}}}\ntolerance: 0.01\nsource: a paper\nprotocol:\n  prompt: none\n"
    (folder / f"{name}.yaml").write_text(text + more)
    return (*fit_on(clone), f"experiment={name}", f"hydra.searchpath=[file://{clone / 'conf'}]")


def fit_on(clone: Path) -> tuple[str, ...]:
    """The first clone's checkpoint on the data of this one."""
    return (*TINY, f"data.root={clone / 'data'}", f"ckpt={_KEPT['fit']}", "bootstrap.resamples=50")


def test_expected_values_are_judged(capfd: Capture, other: Path, job: Path) -> None:
    t2i = json.loads((job / "metrics.json").read_text())["t2i"]["metrics"]
    values = {"hits@1": t2i["hits@1"], "hits@5": t2i["hits@5"] + 0.009}
    good = run(capfd, other, "evaluate", *publish_experiment(other, "good", values))
    assert good.status == 0, good.err
    for words in ("exact", "within tolerance", "source: a paper", "prompt: none", "1 of 2 exact"):
        assert words in good.out
    typed = (*fit_on(other), "tolerance=0.01")  # which Hydra composes faster than a file of another folder
    bad = run(capfd, other, "evaluate", *typed, f"+expected.t2i={{hits@5: {t2i['hits@5'] + 0.02}}}")
    assert bad.status == 1
    assert "not reproduced: t2i/hits@5" in bad.err
    unknown = run(capfd, other, "evaluate", *typed, "+expected.t2i={hits@7: 0.5}")
    assert unknown.status == 2
    assert "expected.t2i.hits@7" in unknown.err


def test_what_is_absent_says_how_to_get_it(capfd: Capture, other: Path, job: Path) -> None:
    settings = publish_experiment(other, "absent", {"hits@1": 0.5}, "obtain: ask the library\n")
    ran = run(capfd, other, "evaluate", *(s for s in settings if not s.startswith("data.root")), "data.root=/nowhere")
    assert ran.status == 2
    assert "/nowhere" in ran.err
    assert "ask the library" in ran.err


def test_the_index_that_was_chosen_is_in_the_record_and_is_taken_again(capfd: Capture, other: Path, job: Path) -> None:
    """index=auto knows how many queries come; whatever it would choose here, a job that is had again has the recorded index."""
    data = (f"data.root={other / 'data'}", f"ckpt={other / 'job'}", "bootstrap.resamples=50")
    made = run(capfd, other / "auto", "evaluate", *data, "index=auto")
    assert made.status == 0, made.err
    manifest = Manifest.read(made.folder / "manifest.json")
    assert {json.loads(text)["kind"] for text in manifest.choices.values()} == {"flat"}
    asked = {line.split()[0] for line in (made.folder / "qrels.trec").read_text().splitlines()}
    told = re.findall(r"exact search, ready at once: (\d+) queries", made.out)
    assert sum(map(int, told)) == len(asked)
    assert "choices" not in json.loads((job / "manifest.json").read_text()), "index=flat chooses nothing"
    recipe = {"kind": "hnsw", "recipe": {"m": 16, "ef_construction": 200}, "settings": {"efSearch": 64}}
    replace(manifest, choices=dict.fromkeys(manifest.choices, json.dumps(recipe))).write(made.folder / "manifest.json")
    ckpt = f"ckpt={other / 'job'}"
    again = run(capfd, other / "again", "evaluate", f"reproduce={made.folder / 'manifest.json'}", data[0], ckpt)
    assert again.status == 0, again.err
    assert again.out.count("index=auto: hnsw m=16 ef_construction=200: as in the job that is had again") == 2
    assert Manifest.read(again.folder / "manifest.json").choices.keys() == manifest.choices.keys()
