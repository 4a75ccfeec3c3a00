"""Score corrections and chosen metrics through the doors: what is written, saved, refused and said aloud."""

import json
from pathlib import Path

import numpy as np
import pytest

from picdesk.report.metrics_file import read_metrics
from picdesk.trec.files import read_runs
from tests.doors import Ran, run, run_once
from tests.npz import arrays

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 pictures with a text each; the vectors of a tenth of the pictures lean towards all texts."""
    folder = tmp_path_factory.mktemp("hubs")
    rng = np.random.default_rng(0)
    cone, meaning = rng.standard_normal(24), rng.standard_normal((240, 24))
    images, texts = meaning.copy(), meaning + 0.8 * rng.standard_normal((240, 24)) + cone
    images[rng.choice(240, 24, replace=False)] += 2 * cone
    names = np.array([f"p{i:03}" for i in range(240)])
    arrays = {"image_embeddings": images.astype(np.float32), "text_embeddings": texts.astype(np.float32)}
    np.savez(folder / "hubs.npz", image_names=names, **arrays)  # type: ignore[arg-type]
    rows = [f"p{i:03},thing {i}" for i in range(240)]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    return folder


@pytest.fixture
def plain(capfd: Capture, outputs: Path, hubs: Path) -> Ran:
    """Scores as they are."""
    return run_once(capfd, outputs, "evaluate", *arguments(hubs))


def arguments(folder: Path, *more: str) -> tuple[str, ...]:
    data = ("data=npz", f"data.root={folder}", "data.file=hubs.npz", "data.image_names=image_names")
    settings = ("prompt=caption", "backbone=precomputed", "backbone.dim=24", "bootstrap.resamples=100")
    return (*data, *settings, "split=random_70_15_15", *more)


def metrics(ran: Ran) -> dict[str, dict[str, dict[str, float]]]:
    assert ran.status == 0, ran.err
    return read_metrics(ran.folder / "metrics.json")


def test_a_correction_finds_more_and_the_run_file_says_the_same(
    capfd: Capture, outputs: Path, hubs: Path, plain: Ran
) -> None:
    ran = run(capfd, outputs, "evaluate", *arguments(hubs, "scores=inverted_softmax", "metrics.names=[all]"))
    found = metrics(ran)
    assert found["t2i"]["metrics"]["hits@1"] > metrics(plain)["t2i"]["metrics"]["hits@1"] + 0.1
    assert "scores corrected for hubs: inverted_softmax beta=20, by a bank of the queries of train" in ran.out + ran.err
    assert "N10 skewness" in ran.out
    files = (f"run_file={ran.folder / 'run.trec'}", f"qrels_file={ran.folder / 'qrels.trec'}", "metrics.names=[all]")
    again = metrics(run(capfd, outputs, "evaluate", *files, "bootstrap.resamples=100"))
    assert again["t2i"] == found["t2i"]
    assert again["i2t"] == found["i2t"]
    assert again["both"] == found["both"]


@pytest.mark.parametrize("rule", ["csls", "nnn", "dynamic_inverted_softmax", "sinkhorn"])
def test_every_rule_runs_over_an_approximate_index(capfd: Capture, outputs: Path, hubs: Path, rule: str) -> None:
    ran = run(capfd, outputs, "evaluate", *arguments(hubs, f"scores={rule}", "index=hnsw", "index.ef_search=200"))
    exact = run(capfd, outputs, "evaluate", *arguments(hubs, f"scores={rule}"))
    assert metrics(ran)["t2i"]["metrics"]["hits@1"] == metrics(exact)["t2i"]["metrics"]["hits@1"]


def test_without_being_asked_for_nothing_new_is_in_metrics_json(plain: Ran) -> None:
    found = metrics(plain)
    keys = [f"{name}@{k}" for name in ("hits", "recall") for k in (1, 5, 10)]
    assert set(found["t2i"]["metrics"]) == {*keys, "mrr", "median_rank", "mean_rank", "queries", "gallery"}
    assert set(found) == {"t2i", "i2t"}


def test_the_reported_queries_as_a_bank_are_said_in_large_letters(capfd: Capture, outputs: Path, hubs: Path) -> None:
    ran = run(capfd, outputs, "evaluate", *arguments(hubs, "scores=nnn", "scores.k=5", "scores.transductive=true"))
    assert ran.status == 0, ran.err
    assert "transductive: the reported queries themselves" in ran.out + ran.err
    assert 'class="note warning loud"' in (ran.folder / "index.html").read_text()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("scores=nnn", "part=train"), "scores.bank=train: 168 of its pictures are reported"),
        (("scores=nnn", "split=all", "part=all"), "scores.bank=train: part=train of data=npz is empty"),
        (("scores=nnn", "scores.bank=test"), "scores.transductive=true"),
        (("scores=nnn", "scores.k=0"), "scores.k=0"),
        (("metrics.names=[ndgc]",), "metrics.names=ndgc: choose of hits"),
        (("metrics.ks=[0]",), "metrics.ks=[0]: whole numbers of 1 or more"),
    ],
)
def test_what_would_peek_or_makes_no_sense_is_refused(
    capfd: Capture, outputs: Path, hubs: Path, more: tuple[str, ...], told: str
) -> None:
    ran = run(capfd, outputs, "evaluate", *arguments(hubs, *more))
    assert ran.status == 2, ran.out
    assert told in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_settings_are_chosen_on_validation_data_and_reported_once(capfd: Capture, outputs: Path, hubs: Path) -> None:
    tuning = ("task=tune_weights", "scores=csls", "tune_weights.rule=best", "tune_weights.metric=t2i/ndcg@10")
    ran = run(capfd, outputs, "evaluate", *arguments(hubs, *tuning))
    found = read_metrics(ran.folder / "metrics.json") if ran.status == 0 else {}
    assert ran.status == 0, ran.err
    assert found["tuned"]["metric"] == "t2i/ndcg@10"
    assert found["tuned"]["corrected"] is True
    assert set(found["tuned"]["settings"]) == {"k"}
    assert found["tuned"]["value"] > found["tuned"]["plain"]
    assert len((ran.folder / "scores.csv").read_text().splitlines()) == 9
    assert "chosen scores less plain ones" in ran.out + ran.err
    assert found["less_plain"]["t2i"]["hits@1"][0] > 0


def test_a_saved_index_keeps_its_bank(capfd: Capture, outputs: Path, hubs: Path, tmp_path: Path) -> None:
    """Pictures ask for texts, as no text from outside can be encoded here; the same through a data set and a saved index."""
    scores = ("scores=nnn", "scores.k=5")
    built = run(
        capfd, outputs, "retrieve", *arguments(hubs, *scores, "task=index_build", f"index_dir={tmp_path / 'i'}")
    )
    assert built.status == 0, built.err
    assert (tmp_path / "i" / "correction.npz").is_file()
    stored = arrays(tmp_path / "i" / "correction.npz")
    assert len(stored["bias"]) == 240
    assert str(stored["told"]) == "nnn k=5 weight=0.75"
    kept = [name for name in stored["ids"].tolist() if name != "p003"]
    gone = run(capfd, outputs, "retrieve", "task=index_remove", f"index_dir={tmp_path / 'i'}", "ids=[p003]")
    assert gone.status == 0, gone.err
    assert arrays(tmp_path / "i" / "correction.npz")["ids"].tolist() == kept


def test_two_jobs_are_compared_by_every_metric_that_was_asked_for(
    capfd: Capture, outputs: Path, hubs: Path, plain: Ran
) -> None:
    one = run(capfd, outputs, "evaluate", *arguments(hubs, "scores=csls"))
    names = "metrics.names=[ndcg,rsum]"
    ran = run(capfd, outputs, "evaluate", "task=compare", f"dir={one.folder}", f"against={plain.folder}", names)
    assert ran.status == 0, ran.err
    path = max((outputs / "compare").rglob("comparison.json"), key=lambda path: path.stat().st_mtime_ns)
    found = json.loads(path.read_text())["differences"]
    assert set(found["t2i"]) == {f"{name}@{k}" for name in ("hits", "ndcg") for k in (1, 5, 10)}
    assert set(found["both"]) == {"rsum"}
    assert "RSUM" in ran.out
    board = run(capfd, outputs, "evaluate", "task=leaderboard", f"dir={one.folder}")
    assert board.status == 0, board.err


def test_min_score_counts_similarity_not_the_corrected_score(capfd: Capture, outputs: Path, trained: Ran) -> None:
    asking = (f"ckpt={trained.folder}", "query=a lion", "top_k=120", "min_score=0.1")
    plain = run(capfd, outputs, "retrieve", *asking)
    corrected = run(capfd, outputs, "retrieve", *asking, "scores=nnn", "scores.k=5")
    assert plain.status == corrected.status == 0, corrected.err
    found = [sorted(ids(one)) for one in (plain, corrected)]
    assert found[0] == found[1]
    assert ids(plain) != ids(corrected)


def ids(ran: Ran) -> list[str]:
    one = read_runs(ran.folder / "run.trec")["t2i"]
    return [one.item_ids[i] for i in one.index[0] if i >= 0]
