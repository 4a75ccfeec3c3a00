"""Folds of the pictures, further positives and slices by fields, through the door; the folds against the ECCV package too."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from picdesk.evaluation import query_parts
from picdesk.evaluation.metrics import exact_ranks_both, metrics_of
from picdesk.evaluation.query_parts import against_rest
from picdesk.evaluation.ranks import Ranks
from picdesk.interfaces import Embeddings
from picdesk.report.metrics_file import read_metrics
from picdesk.retrieval.folds import pool_ranks
from picdesk.trec.runs import Qrels
from tests.doors import Ran, run, run_once
from tests.evaluation.ranking_cases import embeddings

Capture = pytest.CaptureFixture[str]


def five_folds() -> tuple[Embeddings, Embeddings, np.ndarray]:
    """60 pictures with five texts each."""
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((60, 8))
    owner = np.repeat(np.arange(60), 5)
    return embeddings("t", pictures[owner] + 1.2 * rng.standard_normal((300, 8))), embeddings("p", pictures), owner


def test_five_folds_are_those_of_the_eccv_package(capsys: Capture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eccv = pytest.importorskip("eccv_caption._metrics", reason="eccv-caption is not installed (extra: dev)")
    texts, pictures, owner = five_folds()
    scores = texts.matrix @ pictures.matrix.T
    listed = {t: np.argsort(-scores[t]).tolist() for t in range(300)}
    theirs, parts = [], []
    for fold in np.array_split(np.arange(60), 5):
        own = np.flatnonzero(np.isin(owner, fold))
        relevant = {int(t): [int(owner[t])] for t in own}
        theirs.append(eccv.compute_coco1k_r_at_k(listed, relevant, set(fold.tolist()), 5))
        at = np.searchsorted(fold, owner[own])
        ids = (tuple(texts.ids[t] for t in own), tuple(pictures.ids[p] for p in fold))
        t2i = Qrels.from_pairs(*ids, np.arange(len(own)), at)
        i2t = Qrels.from_pairs(ids[1], ids[0], at, np.arange(len(own)))
        parts.append(exact_ranks_both(texts.take(own), pictures.take(fold), t2i, i2t)[0])
    assert metrics_of(pool_ranks(parts))["hits@5"] == pytest.approx(np.mean(theirs), abs=1e-9)
    assert len(np.unique(pool_ranks(parts).cluster)) == 60


@pytest.fixture(scope="module")
def fielded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 pictures with two texts each, one a language; French ones are farther from their pictures."""
    folder = tmp_path_factory.mktemp("fielded")
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((100, 16))
    owner = np.repeat(np.arange(100), 2)
    noise = np.where(np.arange(200) % 2, 2.5, 0.4)[:, None] * rng.standard_normal((200, 16))
    arrays = {"image_embeddings": pictures, "text_embeddings": pictures[owner] + noise}
    names = np.array([f"p{i:03}" for i in range(100)])
    np.savez(folder / "v.npz", image_names=names, **{k: v.astype(np.float32) for k, v in arrays.items()})  # type: ignore[arg-type]
    rows = [f"p{owner[t]:03},text {t}" for t in range(200)]
    (folder / "captions.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    return folder


def arguments(folder: Path, *more: str) -> tuple[str, ...]:
    data = (
        "data=npz",
        f"data.root={folder}",
        "data.file=v.npz",
        "data.image_names=image_names",
        "split=all",
        "part=all",
    )
    return (*data, "prompt=caption", "backbone=precomputed", "backbone.dim=16", "bootstrap.resamples=200", *more)


@pytest.fixture
def plain(capfd: Capture, outputs: Path, fielded: Path) -> Ran:
    """An evaluation of them."""
    return run_once(capfd, outputs, "evaluate", *arguments(fielded))


def test_folds_at_the_door(capfd: Capture, outputs: Path, fielded: Path) -> None:
    ran = run(capfd, outputs, "evaluate", *arguments(fielded, "metrics.folds=5"))
    assert ran.status == 0, ran.err
    found = read_metrics(ran.folder / "metrics.json")
    assert found["folds"]["t2i"]["metrics"]["gallery"] == 20
    assert found["folds"]["t2i"]["metrics"]["queries"] == 200
    assert found["folds"]["t2i"]["metrics"]["hits@1"] > found["t2i"]["metrics"]["hits@1"]
    assert "Text to picture, 5 folds" in ran.out
    refused = run(capfd, outputs, "evaluate", *arguments(fielded, "metrics.folds=20"))
    assert refused.status == 2
    assert "metrics.folds=20: 0, or 2 or more of 10 pictures at least, and there are 100 pictures" in refused.err


def test_a_fold_of_which_nothing_is_asked_is_named(capfd: Capture, outputs: Path, fielded: Path, plain: Ran) -> None:
    lines = plain.file("qrels.trec").decode().splitlines(keepends=True)
    (fielded / "two.trec").write_text(lines[0] + next(line for line in lines if line.startswith("i2t/")))
    only = ("data.qrels=two.trec", "data.qrels_only=true", "metrics.folds=5")
    ran = run(capfd, outputs, "evaluate", *arguments(fielded, *only))
    assert ran.status == 2
    assert "metrics.folds=5: fold 2: data.qrels: it names no query of this part" in ran.err


def test_further_positives_count_and_may_count_alone(capfd: Capture, outputs: Path, fielded: Path, plain: Ran) -> None:
    lines = [line.split() for line in (plain.folder / "run.trec").read_text().splitlines() if line.startswith("t2i/")]
    first = {query: item for query, _, item, rank, *_ in lines if rank == "1"}
    wrong = list(first.items())[:30]
    (fielded / "more.trec").write_text("".join(f"{query} 0 {item} 2\n" for query, item in wrong))
    more = run(capfd, outputs, "evaluate", *arguments(fielded, "data.qrels=more.trec", "metrics.names=[ndcg,map@r]"))
    assert more.status == 0, more.err
    was, now = (read_metrics(one.folder / "metrics.json")["t2i"]["metrics"] for one in (plain, more))
    assert now["hits@1"] > was["hits@1"]
    assert " 2\n" in (more.folder / "qrels.trec").read_text()
    alone = run(capfd, outputs, "evaluate", *arguments(fielded, "data.qrels=more.trec", "data.qrels_only=true"))
    assert alone.status == 0, alone.err
    found = read_metrics(alone.folder / "metrics.json")
    assert found["t2i"]["metrics"]["hits@1"] == 1.0
    assert found["t2i"]["metrics"]["queries"] == 30
    assert found["i2t"]["metrics"]["queries"] == 100
    assert "no line is of i2t, which counts the data set's own pairs" in alone.err + alone.out
    (first_query, item), (second_query, _) = wrong[:2]
    lines = f"{first_query} 0 {item} 1\n{first_query} 0 nowhere 1\n{second_query} 0 nowhere 1\n"
    (fielded / "lost.trec").write_text(lines)
    lost = run(capfd, outputs, "evaluate", *arguments(fielded, "data.qrels=lost.trec", "data.qrels_only=true"))
    assert read_metrics(lost.folder / "metrics.json")["t2i"]["metrics"]["queries"] == 1
    assert "1 of 2 t2i items are not in the data set, for example 'nowhere'" in lost.err + lost.out
    assert "1 of 2 t2i queries are left out: nothing that is relevant to them is in the data set" in lost.err + lost.out
    (fielded / "odd.trec").write_text("t2i/nobody 0 p000 1\n")
    odd = run(capfd, outputs, "evaluate", *arguments(fielded, "data.qrels=odd.trec"))
    assert odd.status == 2
    assert "none of its 1 t2i queries is in data=npz, for example 'nobody'" in odd.err
    gone = run(capfd, outputs, "evaluate", *arguments(fielded, "data.qrels=gone.trec"))
    assert gone.status == 2
    assert "data.qrels=gone.trec: no such file" in gone.err


def test_further_positives_leave_captions_with_their_picture(
    capfd: Capture, outputs: Path, fielded: Path, plain: Ran
) -> None:
    """Positives that change no rank change no interval: two captions of a picture are drawn together as before."""
    lines = [line.split() for line in (plain.folder / "run.trec").read_text().splitlines() if line.startswith("t2i/")]
    last = {query: item for query, _, item, *_ in lines}
    (fielded / "last.trec").write_text("".join(f"{query} 0 {item} 1\n" for query, item in last.items()))
    more = run(capfd, outputs, "evaluate", *arguments(fielded, "metrics.names=[hits]", "data.qrels=last.trec"))
    was, now = (read_metrics(one.folder / "metrics.json")["t2i"] for one in (plain, more))
    assert now["intervals"]["hits@1"] == was["intervals"]["hits@1"]
    assert now["metrics"]["hits@1"] == was["metrics"]["hits@1"]
    assert " own " in (more.folder / "qrels.trec").read_text()
    files = (f"run_file={more.folder / 'run.trec'}", f"qrels_file={more.folder / 'qrels.trec'}")
    again = run(capfd, outputs, "evaluate", *files, "metrics.names=[hits]", "bootstrap.resamples=200")
    assert again.status == 0, again.err
    assert read_metrics(again.folder / "metrics.json")["t2i"]["intervals"] == now["intervals"]


def test_any_field_is_a_slice(capfd: Capture, outputs: Path, tmp_path: Path) -> None:
    rows = [{"image": f"p{i % 30:02}.png", "caption": f"text {i}", "source": "a" if i % 2 else "b"} for i in range(90)]
    from PIL import Image

    for i in range(30):
        Image.new("RGB", (8, 8), (i * 8, 255 - i * 8, 90)).save(tmp_path / f"p{i:02}.png")
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    data = ("data=jsonl", f"data.root={tmp_path}", "data.file=rows.jsonl", "data.picture_column=image", "data.folder=.")
    fields = ("+data.more_columns.source=source", "metrics.slices=[source]")
    settings = ("split=all", "part=all", "backbone._target_=tests.tiny.Tiny", "bootstrap.resamples=200")
    ran = run(capfd, outputs, "evaluate", *data, *fields, *settings)
    assert ran.status == 0, ran.err
    found = read_metrics(ran.folder / "metrics.json")["slices"]["source"]["t2i"]
    assert set(found["parts"]) == {"a", "b"}
    values = [one["hits@1"][0] for one in found["parts"].values()]
    assert found["macro_mean"] == pytest.approx(np.mean(values))
    assert found["parts"]["a"]["less_rest"][0] == pytest.approx(-found["parts"]["b"]["less_rest"][0])
    assert "left out" not in ran.err + ran.out
    for i in (*range(8), 1, 3):
        rows[i]["source"] = "c"
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    few = run(capfd, outputs, "evaluate", *data, *fields, *settings)
    told = few.err + few.out
    assert "metrics.slices=source, text to picture: left out, of fewer than 20 queries: 'c (8)'" in told
    assert "left out, of fewer than 20 queries: &#39;c (8)&#39;" in few.file("index.html").decode()
    assert "metrics.slices=source, picture to text: no table, for which two are needed: 0 of 3 values" in told
    odd = run(capfd, outputs, "evaluate", *data, *settings, "metrics.slices=[year]")
    assert odd.status == 2
    assert "metrics.slices=year: no text of data=" in odd.err


def ranks_of(hit: np.ndarray, cluster: np.ndarray) -> Ranks:
    names = tuple(f"q{i}" for i in range(len(hit)))
    return Ranks("t2i", names, np.arange(len(hit) + 1), np.where(hit, 1, 9).astype(np.int32), 50, 50, cluster)


def test_a_part_that_is_really_harder_is_told_from_the_rest() -> None:
    rng = np.random.default_rng(0)
    hard = np.arange(600) % 3 == 0
    ranks = ranks_of(rng.random(600) < np.where(hard, 0.3, 0.6), np.arange(600) // 3)
    found = against_rest(ranks, [hard, ~hard, np.ones(600, bool)], resamples=999)
    assert found[2] is None
    assert found[0] is not None
    assert found[0].p_family < 0.01
    assert found[0].interval.high < 0


def test_parts_in_which_hits_are_rare_are_not_told_apart_by_chance() -> None:
    """20 parts of 25 queries, one in 20 of them a hit: many parts have none, or one. At 5%, of 100 boards 5 +- 4.3 are named,
    and the intervals hold the true difference, which is none, in 95% of parts."""
    named = held = 0
    part = np.arange(500) % 20
    for seed in range(200):
        ranks = ranks_of(np.random.default_rng(seed).random(500) < 0.05, np.arange(500))
        found = [one for one in against_rest(ranks, [part == i for i in range(20)], resamples=499, seed=seed) if one]
        named += min(one.p_family for one in found) < 0.05
        held += sum(one.interval.low <= 0 <= one.interval.high for one in found)
    assert named <= 20
    assert held >= 0.93 * 2000


def test_the_captions_of_one_picture_say_nothing_of_others() -> None:
    part = np.arange(5) < 2
    (found,) = against_rest(ranks_of(np.array([1, 0, 1, 1, 0], bool), np.zeros(5, np.int64)), [part], resamples=99)
    assert found is not None
    assert (found.interval.low, found.interval.high, found.p_family > 0.05) == (-1.0, 1.0, True)


def test_a_difference_between_captions_of_the_same_pictures_is_that_of_pairs() -> None:
    """Two captions a picture that nearly always hit or miss together: their difference is far surer than two shares alone."""
    rng = np.random.default_rng(0)
    luck = np.repeat(rng.random(400) < 0.5, 2)
    ranks = ranks_of(luck ^ (rng.random(800) < 0.02), np.arange(800) // 2)
    first = np.arange(800) % 2 == 0
    (found, _) = against_rest(ranks, [first, ~first], resamples=99)
    assert found is not None
    assert found.interval.high - found.interval.low < 0.05
    luck = np.repeat(rng.random(60), np.arange(60) % 5 + 1)
    cluster, hit = np.repeat(np.arange(60), np.arange(60) % 5 + 1), rng.random(len(luck)) < luck
    own = [hit[cluster == one].astype(float) for one in range(60)]
    between = sum(len(one) * (one.mean() - hit.mean()) ** 2 for one in own) / 59
    within = sum(((one - one.mean()) ** 2).sum() for one in own) / (len(hit) - 60)
    each = (len(hit) - sum(len(one) ** 2 for one in own) / len(hit)) / 59
    assert query_parts._likeness(cluster, hit) == pytest.approx((between - within) / (between + (each - 1) * within))


@pytest.mark.parametrize("mixed", [False, True])
def test_parts_that_are_alike_are_seldom_told_apart(mixed: bool) -> None:
    """Four parts; each picture's queries in one of them, or in all. At 5%, 200 simulated boards name 5% +- 3.1."""
    named = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        luck = np.repeat(rng.random(120), 4)
        ranks = ranks_of(rng.random(480) < luck, np.arange(480) // 4)
        group = np.arange(480) % 4 if mixed else np.arange(480) // 4 % 4
        found = against_rest(ranks, [group == i for i in range(4)], resamples=299, seed=seed)
        named += any(one is not None and one.p_family < 0.05 for one in found)
    assert named <= 20
