"""Two jobs side by side: differences as the paired test gives them, and the queries that one wins and the other loses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from picdesk.evaluation.ranks import ranks_of_run
from picdesk.evaluation.significance import compare
from picdesk.trec.files import read_qrels, read_runs
from tests.doors import Ran, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def pair(capfd: Capture, outputs: Path, trained: Ran) -> tuple[Path, Path]:
    """The trained job, and the same checkpoint with another prompt."""
    if "other" not in _KEPT:
        ran = run(capfd, outputs, "evaluate", f"ckpt={trained.folder}", "prompt=title", "bootstrap.resamples=200")
        assert ran.status == 0, ran.err
        _KEPT["other"] = ran.folder
    return trained.folder, _KEPT["other"]


_KEPT: dict[str, Path] = {}


def page_of(outputs: Path) -> Path:
    return max((outputs / "compare").rglob("index.html"), key=lambda path: path.stat().st_mtime_ns)


def test_differences_are_those_of_the_paired_test(capfd: Capture, outputs: Path, pair: tuple[Path, Path]) -> None:
    ran = run(capfd, outputs, "evaluate", "task=compare", f"dir={pair[0]}", f"against={pair[1]}")
    assert ran.status == 0, ran.err
    found = json.loads((page_of(outputs).parent / "comparison.json").read_text())["differences"]
    for direction in ("t2i", "i2t"):
        ranks = [
            ranks_of_run(read_runs(f / "run.trec")[direction], read_qrels(f / "qrels.trec")[direction], direction)
            for f in pair
        ]
        expected = compare(*ranks)["hits@1"]
        assert found[direction]["hits@1"]["difference"] == expected.interval.value
        assert found[direction]["hits@1"]["p"] == expected.p
        metrics = [json.loads((f / "metrics.json").read_text())[direction]["metrics"]["hits@1"] for f in pair]
        assert found[direction]["hits@1"]["difference"] == pytest.approx(metrics[0] - metrics[1])


def test_the_page_counts_and_shows_what_one_wins(capfd: Capture, outputs: Path, pair: tuple[Path, Path]) -> None:
    ran = run(capfd, outputs, "evaluate", "task=compare", f"dir={pair[0]}", f"against={pair[1]}", "shown=3")
    assert ran.status == 0, ran.err
    first = []
    for folder in pair:
        ranks = ranks_of_run(read_runs(folder / "run.trec")["t2i"], read_qrels(folder / "qrels.trec")["t2i"])
        first.append(dict(zip(ranks.query_ids, ranks.first, strict=True)))
    wins = [q for q in first[0] if first[0][q] == 1 and first[1][q] > 1]
    losses = [q for q in first[0] if first[1][q] == 1 and first[0][q] > 1]
    page = page_of(outputs).read_text()
    counts = [int(n) for n in re.findall(r"([\d,]+) queries; here the", page)]
    assert counts[:2] == [len(wins), len(losses)]
    assert all(q in page for q in wins[:1])
    assert "train, prompt=auto against evaluate, prompt=title" in page


def test_cards_hold_each_jobs_own_ranking(pair: tuple[Path, Path], outputs: Path, capfd: Capture) -> None:
    """Item positions of a run that was read from a file are not those of the data set: names must survive."""
    from picdesk.pages.compare_cards import in_part, rows_of
    from picdesk.retrieval.scores import Scored

    folder = pair[0]
    run_, qrels = read_runs(folder / "run.trec")["t2i"], read_qrels(folder / "qrels.trec")["t2i"]

    class Part:
        picture_ids = tuple(sorted(run_.item_ids, reverse=True))

        @staticmethod
        def qrels(direction: str) -> object:
            return qrels

    moved = in_part(Scored(run_, qrels, ranks_of_run(run_, qrels), {}, {}), Part, "t2i")  # type: ignore[arg-type]
    rows = rows_of(moved.run.query_ids, run_.query_ids)
    for place, row in enumerate(rows):
        named = [moved.run.item_ids[i] for i in moved.run.index[place] if i >= 0]
        assert named == [run_.item_ids[i] for i in run_.index[row] if i >= 0]
    assert np.array_equal(moved.ranks.first, ranks_of_run(run_, qrels).first)


def test_the_level_of_the_intervals_is_that_of_the_differences_too(
    capfd: Capture, outputs: Path, pair: tuple[Path, Path]
) -> None:
    sides, reach = (f"dir={pair[0]}", f"against={pair[1]}", "bootstrap.resamples=500"), []
    for more in ((), ("bootstrap.level=0.5",)):
        ran = run(capfd, outputs, "evaluate", "task=compare", *sides, *more)
        assert ran.status == 0, ran.err
        said = "intervals of the metrics are of 0.5, as bootstrap.level has it"
        assert (said in ran.out + ran.err) == (said in page_of(outputs).read_text()) == bool(more)
        apart = json.loads((page_of(outputs).parent / "comparison.json").read_text())["differences"]["t2i"]["mrr"]
        reach.append(apart["interval"][1] - apart["interval"][0])
    assert reach[1] < 0.6 * reach[0]


def test_metrics_over_both_directions_are_over_those_that_both_jobs_have(
    capfd: Capture, outputs: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    for name in ("run.trec", "qrels.trec"):
        lines = (pair[1] / name).read_text().splitlines(keepends=True)
        (tmp_path / name).write_text("".join(line for line in lines if line.startswith("t2i/")))
    files = (f"run_file={tmp_path / 'run.trec'}", f"qrels_file={tmp_path / 'qrels.trec'}", "bootstrap.resamples=200")
    texts_alone = run(capfd, outputs, "evaluate", *files, "bootstrap.level=0.9")
    sides = (f"dir={pair[0]}", f"against={texts_alone.folder}")
    ran = run(capfd, outputs, "evaluate", "task=compare", *sides, "metrics.names=[mean_recall]", "metrics.ks=[1]")
    assert ran.status == 0, ran.err
    _, shown, *_ = next(line for line in ran.out.splitlines() if line.startswith("| mean recall@1")).split("|")[1:]
    own = json.loads((pair[0] / "metrics.json").read_text())["t2i"]["metrics"]["recall@1"]
    assert shown.split()[0] == f"{own:.3f}", "the first job's i2t is not what is compared"
    assert "RSUM" not in ran.out


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), "dir must be given"),
        (("dir=nowhere", "against=nowhere"), "dir=nowhere: no such folder"),
    ],
)
def test_mistakes(capfd: Capture, outputs: Path, overrides: tuple[str, ...], said: str) -> None:
    ran = run(capfd, outputs, "evaluate", "task=compare", *overrides)
    assert ran.status == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_folder_of_many_jobs_is_refused(capfd: Capture, outputs: Path, pair: tuple[Path, Path]) -> None:
    ran = run(capfd, outputs, "evaluate", "task=compare", f"dir={outputs}", f"against={pair[1]}")
    assert ran.status == 2
    assert "finished jobs below that folder; give the output dir of one" in ran.err


def test_other_queries_are_refused(capfd: Capture, outputs: Path, pair: tuple[Path, Path], trained: Ran) -> None:
    ran = run(capfd, outputs, "evaluate", f"ckpt={trained.folder}", "part=val", "bootstrap.resamples=200")
    ran = run(capfd, outputs, "evaluate", "task=compare", f"dir={pair[0]}", f"against={ran.folder}")
    assert ran.status == 2
    assert "runs cannot be compared" in ran.err
