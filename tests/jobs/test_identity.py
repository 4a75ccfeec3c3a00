"""What a number stands for: pictures that were not learned from, inputs that are known by content, jobs that are the same."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run, run_once
from tests.tiny import write_data

Capture = pytest.CaptureFixture[str]
SMALL = ("bootstrap.resamples=50", "trainer.max_epochs=1", "training.batch_size=16")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), pictures=60)


@pytest.fixture
def tiny(data: Path) -> tuple[str, ...]:
    return (
        *("data=parquet", f"data.root={data}", "data.caption_column=caption", "split=random_70_10_20"),
        *("backbone._target_=tests.tiny.Tiny", "backbone.dim=8", "prompt=caption", *SMALL[:1]),
    )


@pytest.fixture
def fitted(capfd: Capture, data: Path, tiny: tuple[str, ...]) -> Ran:
    """A job that tests leave as it is; fitted by the first that asks."""
    return run_once(capfd, data / "out", "train", *tiny, *SMALL[1:3])


def data_of(ran: Ran) -> dict[str, str]:
    found: dict[str, str] = json.loads(ran.file("manifest.json"))["data"]
    return found


def test_another_seed_does_not_mix_what_a_checkpoint_learned_from(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], fitted: Ran
) -> None:
    """The split of the fit is drawn by `${seed}`, which the command sets anew."""
    data = tiny[1:2]
    seeded = run(capfd, tmp_path, "evaluate", *data, f"ckpt={fitted.folder}", SMALL[0], "seed=1")
    assert seeded.status == 0, seeded.err
    assert data_of(fitted) == data_of(seeded)
    assert "learned from" not in fitted.out + fitted.err + seeded.out + seeded.err
    for changed in ("split.seed=1", "part=all", "part=val"):
        mixed = run(capfd, tmp_path, "evaluate", *data, f"ckpt={fitted.folder}", SMALL[0], changed)
        assert mixed.status == 0, mixed.err
        assert "pictures of this part were learned from" in mixed.out + mixed.err, changed
        assert "pictures of this part were learned from" in mixed.file("index.html").decode(), changed


def test_how_pictures_were_read_comes_with_the_checkpoint(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    fit = run(capfd, tmp_path, "train", *tiny, *SMALL[1:3], "encode.fast_decode=true", "encode.storage=float16")
    assert fit.status == 0, fit.err
    ran = run(capfd, tmp_path, "evaluate", tiny[1], f"ckpt={fit.folder}", SMALL[0])
    settings = json.loads(ran.file("manifest.json"))["settings"]
    assert settings["encode.fast_decode"] == "true"
    assert settings["encode.storage"] == '"float16"'
    assert json.loads(ran.file("manifest.json"))["counts"]["images_encoded"] == 0


def test_a_split_that_was_changed_is_another_fit(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    parts = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    listed = tmp_path / "splits.csv"

    def fit(*order: int) -> Ran:
        rows = [("picture", "split"), *((f"p{i:02}", part) for i, part in zip(order, parts, strict=True))]
        with listed.open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
        settings = (*(s for s in tiny if not s.startswith("split")), "split=file", f"split.file={listed}", *SMALL[1:3])
        ran = run(capfd, tmp_path, "train", *settings, "skip_completed=true")
        assert ran.status == 0, ran.err
        return ran

    fit(*range(60))
    assert "done before" in fit(*range(60)).out
    assert "done before" not in fit(*reversed(range(60))).out


def test_a_split_file_that_is_gone_is_no_reason_to_stop(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    listed = tmp_path / "splits.csv"
    parts = (("train", 40), ("val", 10), ("test", 10))
    names = [name for name, count in parts for _ in range(count)]
    listed.write_text("picture,split\n" + "".join(f"p{i:02},{name}\n" for i, name in enumerate(names)))
    split = (*(s for s in tiny if not s.startswith("split")), "split=file", f"split.file={listed}")
    fit = run(capfd, tmp_path, "train", *split, *SMALL[1:3])
    assert fit.status == 0, fit.err
    listed.unlink()
    ran = run(capfd, tmp_path, "evaluate", tiny[1], "split=random_70_10_20", f"ckpt={fit.folder}", SMALL[0])
    assert ran.status == 0, ran.err
    assert "cannot be told" in ran.out + ran.err


def test_a_job_that_is_judged_is_judged_each_time(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    wrong = ("+expected.t2i={hits@1: 2.0}", "tolerance=0.01")
    command = ("-m", *tiny, *wrong, f"hydra.sweep.dir={tmp_path}/sweep", "skip_completed=true")
    for _ in range(2):
        ran = run(capfd, tmp_path, "evaluate", *command)
        assert ran.status == 1, "outside the tolerance, also when it was measured before"
        assert "done before" not in ran.out


def test_the_leaderboard_shows_what_stands_for_a_job_now(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    sweep = ("-m", *tiny, "backbone.dim=4,8", f"hydra.sweep.dir={tmp_path}/sweep", "skip_completed=true")
    assert run(capfd, tmp_path, "evaluate", *sweep).status == 0
    one = next(path.parent for path in (tmp_path / "sweep").rglob("manifest.json") if "dim-4" in path.parent.name)
    manifest = json.loads((one / "manifest.json").read_text())
    (one / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "of older code", "objective": 0.99}))
    metrics = json.loads((one / "metrics.json").read_text())
    alone = run(capfd, tmp_path, "evaluate", *tiny, "backbone.dim=4")
    assert alone.status == 0, alone.err
    assert run(capfd, tmp_path, "evaluate", *sweep).status == 0
    assert (one / "same_as.json").is_file()
    with (tmp_path / "sweep" / "leaderboard.csv").open(newline="") as stream:
        shown = {row["backbone.dim"]: float(row["hits@1"]) for row in csv.DictReader(stream)}
    assert shown["4"] == pytest.approx(sum(metrics[d]["metrics"]["hits@1"] for d in ("t2i", "i2t")) / 2)
    everywhere = run(capfd, tmp_path, "evaluate", "task=leaderboard", f"dir={tmp_path}")
    assert everywhere.status == 0, everywhere.err
    with (tmp_path / "leaderboard.csv").open(newline="") as stream:
        assert sorted(row["backbone.dim"] for row in csv.DictReader(stream)) == ["4", "8"], (
            "what points at it is no other job"
        )
    anew = [given.replace("dim=4,8", "dim=4") for given in sweep[:-1]]
    assert run(capfd, tmp_path, "evaluate", *anew).status == 0
    assert not (one / "same_as.json").exists(), "the job has run itself"


def test_what_rerankers_read_is_part_of_the_data(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    """A caption that no prompt encodes, but that a reranker compares with."""
    rerank = ("reranker=captions", "reranker.sentences._target_=tests.tiny.Tiny", "reranker.weight=0.5")
    plain = run(capfd, tmp_path, "evaluate", *tiny)
    reranked = run(capfd, tmp_path, "evaluate", *tiny, *rerank)
    assert plain.status == reranked.status == 0, plain.err + reranked.err
    assert "fields" not in data_of(plain)
    assert {**data_of(plain), "fields": data_of(reranked)["fields"]} == data_of(reranked)


def test_a_folder_is_one_jobs_alone(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    sweep = ("-m", *tiny, f"hydra.sweep.dir={tmp_path}/sweep")
    one_line(
        run(capfd, tmp_path, "evaluate", *sweep, "encode.batch_size=4,8"), "encode.batch_size=4,8: cannot be swept"
    )
    assert not (tmp_path / "sweep").exists(), "told before a worker of a launcher writes where another one does"
    ran = run(capfd, tmp_path, "evaluate", *sweep, "seed=0,1", "hydra.sweep.subdir=one")
    assert ran.status == 1
    assert "seed=0 seed=1 cannot be swept" in ran.out + ran.err


def test_jobs_of_several_kinds_are_ordered_by_what_they_report(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], fitted: Ran
) -> None:
    assert json.loads(fitted.file("manifest.json"))["measure"] == "mean hits@1 on validation data"
    shutil.copytree(fitted.folder, tmp_path / "train" / "day" / "time")
    assert run(capfd, tmp_path, "evaluate", *tiny).status == 0
    assert run(capfd, tmp_path, "evaluate", "task=leaderboard", f"dir={tmp_path / 'train'}").status == 0
    page = (tmp_path / "train" / "leaderboard.html").read_text()
    assert "Ordered by the objective, the mean hits@1 on validation data" in page
    (tmp_path / "train" / "leaderboard.html").unlink()
    assert run(capfd, tmp_path, "evaluate", "task=leaderboard", f"dir={tmp_path}").status == 0
    assert "have objectives of several kinds" in (tmp_path / "leaderboard.html").read_text()
    with (tmp_path / "leaderboard.csv").open(newline="") as stream:
        shown = [float(row["hits@1"]) for row in csv.DictReader(stream)]
    assert shown == sorted(shown, reverse=True)


def test_a_sweep_of_exports_is_whole(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    ran = run(capfd, tmp_path, "evaluate", "-m", *tiny, "task=export", "part=train,test")
    assert ran.status == 0, ran.err
    for path in tmp_path.rglob("embeddings.npz"):
        manifest = json.loads((path.parent / "manifest.json").read_text())
        assert set(manifest["files"]) == {"config.yaml", "embeddings.npz", "captions.csv"}
    assert len(list(tmp_path.rglob("embeddings.npz"))) == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("bootstrap.level=95", ("bootstrap.level=95", "0.95")),
        ("bootstrap.resamples=0", ("bootstrap.resamples=0", "at least 20")),
        ("seed=-1", ("seed=-1", "from 0")),
    ],
)
def test_numbers_that_cannot_be_are_told_before_anything_is_read(
    capfd: Capture, tmp_path: Path, override: str, words: tuple[str, ...]
) -> None:
    one_line(run(capfd, tmp_path, "evaluate", override, "data.root=/nowhere"), *words)


def test_a_run_file_that_is_not_there(capfd: Capture, tmp_path: Path) -> None:
    (tmp_path / "q.trec").write_text("q 0 p 1\n")
    files = (f"run_file={tmp_path / 'typo.trec'}", f"qrels_file={tmp_path / 'q.trec'}")
    one_line(run(capfd, tmp_path, "evaluate", *files), "run_file=", "typo.trec", "no such file")


def test_a_job_of_another_kind_is_not_reproduced(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    assert run(capfd, tmp_path, "evaluate", *tiny, "task=export").status == 0
    manifest = next(tmp_path.rglob("manifest.json"))
    one_line(run(capfd, tmp_path, "evaluate", f"reproduce={manifest}"), "task=export", "Repeat its command")


def test_tuned_weights_are_reproduced_with_what_they_weigh(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    captions = ("reranker=captions", "reranker.sentences._target_=tests.tiny.Tiny", "tune_weights.rule=best")
    ran = run(capfd, tmp_path, "evaluate", *tiny, "task=tune_weights", "fusion=rrf", *captions)
    assert ran.status == 0, ran.err
    manifest = json.loads(ran.file("manifest.json"))
    assert manifest["measure"] == "t2i/hits@1 on part=val"
    assert "reranker.captions" in manifest["weights"], "a weight above 0 was chosen"
    again = run(capfd, tmp_path / "again", "evaluate", f"reproduce={ran.folder / 'manifest.json'}", f"{tiny[1]}")
    assert again.status == 0, again.err
    assert "0 outside the tolerance" in again.out
