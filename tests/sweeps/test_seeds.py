"""Jobs that differ in their seed alone are put together, and plots do not join what was drawn at random."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from picdesk.evaluation.metrics import ranks_of_run
from picdesk.evaluation.spread import over_draws
from picdesk.jobs.found import DoneJob, differing_keys, value_of
from picdesk.jobs.rankings import Rankings
from picdesk.report.charts import Curve, Point, Tradeoff
from picdesk.report.formats import setting
from picdesk.sweeps.seeds import over_seeds
from picdesk.sweeps.sweep_charts import charts
from picdesk.trec.runs import Qrels, Run

PICTURES = 200


def ranking(share: float, seed: int, first: int = 0) -> Rankings:
    """t2i ranks of queries of which about a share is right."""
    ids = tuple(f"p{first + i:04}" for i in range(PICTURES))
    queries = tuple(f"q{first + i:04}" for i in range(PICTURES))
    right = np.random.default_rng(seed).random(PICTURES) < share
    place = np.arange(PICTURES)
    index = np.where(
        right[:, None], np.stack([place, (place + 1) % PICTURES], 1), np.stack([(place + 1) % PICTURES, place], 1)
    )
    run = Run(queries, ids, index.astype(np.int32), np.tile(np.float32([2, 1]), (PICTURES, 1)), PICTURES)
    return {"t2i": (ranks_of_run(run, Qrels.from_pairs(queries, ids, place, place)), ids)}


def job(name: str, ranks: Rankings, overrides: Mapping[str, str], settings: Mapping[str, str] | None = None) -> DoneJob:
    hits = float((ranks["t2i"][0].first <= 1).mean())
    metrics: dict[str, Any] = {"t2i": {"metrics": {"hits@1": hits, "queries": PICTURES}, "intervals": {}}}
    manifest = SimpleNamespace(settings=settings or {}, objective=None, stages=())
    return DoneJob(name, Path("/nowhere"), overrides, manifest, metrics)  # type: ignore[arg-type]


def test_seeds_are_put_together_over_the_same_queries() -> None:
    ranks = {f"{share}-{seed}": ranking(share, seed) for share in (0.3, 0.5) for seed in range(4)}
    jobs = [job(name, one, dict(zip(("lr", "seed"), name.split("-"), strict=True))) for name, one in ranks.items()]
    found = over_seeds(jobs, ranks, ["lr", "seed"])
    assert [row.name for row in found.rows] == ["lr=0.5", "lr=0.3"]
    for row, share in zip(found.rows, (0.5, 0.3), strict=True):
        value = row.values["t2i/hits@1"]
        assert value.low is not None
        assert value.high is not None
        assert value.low < share < value.high
        own = [one.hits for one in jobs if one.overrides["lr"] == str(share)]
        assert value.value == pytest.approx(np.mean(own))
        assert row.values["t2i/sd"].value == pytest.approx(np.std(own, ddof=1))
        assert row.values["seeds"].value == 4
        assert "other queries" not in found.note


def test_the_interval_over_seeds_has_the_level_of_the_jobs() -> None:
    for first in (0, 1000):  # over the same queries, and over draws
        ranks = {f"s{seed}": ranking(0.4, seed, first * seed) for seed in range(4)}
        wide = []
        for level in ("0.95", "0.8"):
            settings = {"bootstrap.level": level, "split.train": "0.8", "split.test": "0.1"}
            jobs = [job(name, one, {"seed": name}, settings) for name, one in ranks.items()]
            value = over_seeds(jobs, ranks, ["seed"]).rows[0].values["t2i/hits@1"]
            assert value.low is not None
            assert value.high is not None
            wide.append(value.high - value.low)
        assert wide[1] < 0.7 * wide[0]


def test_a_seed_that_changes_nothing_is_told() -> None:
    ranks = {f"s{seed}": ranking(0.4, 1) for seed in range(3)}
    jobs = [job(name, one, {"seed": name}) for name, one in ranks.items()]
    found = over_seeds(jobs, ranks, ["seed"])
    assert found.rows[0].values["t2i/sd"].value == 0
    assert "the seed changed nothing that is reported" in found.warning
    others = {**ranks, "s9": ranking(0.4, 2)}
    jobs.append(job("s9", others["s9"], {"seed": "s9"}))
    assert not over_seeds(jobs, others, ["seed"]).warning


@pytest.mark.parametrize("known", [True, False])
def test_seeds_that_drew_other_splits_are_draws(known: bool) -> None:
    settings = {"split.train": "0.8", "split.test": "0.1"} if known else {}
    ranks = {f"s{seed}": ranking(0.4, seed, 1000 * seed) for seed in range(5)}
    jobs = [job(name, one, {"seed": name}, settings) for name, one in ranks.items()]
    [row] = over_seeds(jobs, ranks, ["seed"]).rows
    assert row.name == "all jobs"
    assert (row.values["t2i/hits@1"].low is not None) == known
    assert "other queries" in over_seeds(jobs, ranks, ["seed"]).note


def test_seeds_crossed_with_draws_are_averaged_within_each() -> None:
    """Three seeds on each of two splits are two draws, with one degree of freedom, and not six."""
    settings = {"split.train": "0.8", "split.test": "0.1"}
    ranks = {f"{draw}-{seed}": ranking(0.4, 10 * draw + seed, 1000 * draw) for draw in (0, 1) for seed in (0, 1, 2)}
    jobs = [
        job(name, one, dict(zip(("split.seed", "seed"), name.split("-"), strict=True)), settings)
        for name, one in ranks.items()
    ]
    [row] = (found := over_seeds(jobs, ranks, ["split.seed", "seed"])).rows
    values = np.array([one.hits for one in jobs]).reshape(2, 3)
    expected = over_draws(values, np.zeros((2, 3)), 0.125)
    got = row.values["t2i/hits@1"]
    assert (got.value, got.low, got.high) == (expected.mean, max(0, expected.low), min(1, expected.high))
    assert (row.values["seeds"].value, row.values["draws"].value) == (3, 2)
    assert row.values["t2i/sd"].value == expected.seeds
    assert "draws" in [column.key for column in found.columns]
    [uneven] = over_seeds(jobs[:-1], ranks, ["split.seed", "seed"]).rows
    assert uneven.values["t2i/hits@1"].low is None
    assert uneven.values["t2i/hits@1"].value == pytest.approx(np.mean([one.hits for one in jobs[:-1]]))


def test_the_same_seeds_again_are_no_further_seeds() -> None:
    once = {f"monday/{seed}": ranking(0.4, seed) for seed in (0, 1)}
    twice = once | {f"tuesday/{seed}": ranking(0.4, seed) for seed in (0, 1)}
    rows = []
    for ranks in (once, twice):
        jobs = [job(name, one, {"seed": name.rpartition("/")[2]}) for name, one in ranks.items()]
        found = over_seeds(jobs, ranks, ["seed"])
        rows.append(found.rows)
    assert rows[0] == rows[1]
    assert rows[1][0].values["seeds"].value == 2
    assert "is counted once" in found.note
    alone = {name: ranks[name] for name in ("monday/0", "tuesday/0")}
    jobs = [job(name, one, {"seed": "0", "lr": "1"}) for name, one in alone.items()]
    assert over_seeds(jobs, alone, ["seed"]).rows == ()


def test_without_seeds_there_is_no_such_table() -> None:
    ranks = {name: ranking(0.4, 1) for name in "ab"}
    jobs = [job(name, one, {"lr": name}) for name, one in ranks.items()]
    assert over_seeds(jobs, ranks, ["lr"]).rows == ()


def test_a_random_search_is_drawn_as_points() -> None:
    generator = np.random.default_rng(0)
    ranks = {f"j{i}": ranking(0.3 + 0.03 * i, i) for i in range(10)}
    drawn = [
        job(name, one, {"lr": str(10 ** generator.uniform(-5, -2)), "margin": str(0.1 + 0.02 * i), "seed": str(i)})
        for i, (name, one) in enumerate(ranks.items())
    ]
    curves = [chart for chart in charts(drawn, ["lr", "margin", "seed"]) if isinstance(chart, Curve)]
    assert [chart.x_label for chart in curves] == ["margin", "lr"]  # the number that goes with hits@1 first; no seed
    assert not any(chart.joined for chart in curves)
    assert "Rank correlation with hits@1: +" in curves[0].note
    stepped = [job(name, one, {"lr": str(i % 2), "margin": str(i // 2)}) for i, (name, one) in enumerate(ranks.items())]
    assert all(chart.joined for chart in charts(stepped, ["lr", "margin"]) if isinstance(chart, Curve))


def test_the_front_takes_no_step_that_is_noise() -> None:
    points = (Point("a", 1.0, 0.5), Point("b", 1.1, 0.6), Point("c", 3.0, 0.7))
    assert [p.name for p in Tradeoff("", "", "", points, noise=1.25).front()] == ["b", "c"]
    assert [p.name for p in Tradeoff("", "", "", points).front()] == ["a", "b", "c"]


def test_settings_have_four_digits() -> None:
    assert [setting(text) for text in ("0.00084372193", "0.5", "flat", "1e-05", "12345678")] == [
        "0.0008437",
        "0.5",
        "flat",
        "1e-05",
        "12345678",
    ]


def test_values_that_are_spelled_otherwise_are_one_setting() -> None:
    """Jobs that ran alone keep what was typed: 0.90, 9e-1 and the default of 0.9 had a row each."""
    ranks = {name: ranking(0.3, seed) for seed, name in enumerate("abcde")}
    typed = ({"level": "0.90"}, {"level": "9e-1"}, {}, {"level": "'0.9'"}, {"level": "0.8"})
    jobs = [
        job(name, one, {**own, "seed": str(seed)}, {"level": "0.9", "seed": "0"})
        for seed, ((name, one), own) in enumerate(zip(ranks.items(), typed, strict=True))
    ]
    assert differing_keys(jobs) == ["level", "seed"]
    (row,) = over_seeds(jobs, ranks, differing_keys(jobs)).rows
    assert (row.name, row.values["seeds"].value) == ("level=0.9", 4)
    ints, lists = ({"k": "1"}, {"k": "1.0"}, {}), ({"k": "[a, 1]"}, {"k": "[a,1]"}, {})
    texts = {"k": "'é b'"}, {"k": "é b"}, {}
    for three, told in ((ints, "1.0"), (lists, '["a", 1]'), (texts, json.dumps("é b"))):
        assert not differing_keys([job("a", ranks["a"], own, {"k": told}) for own in three])


def test_an_option_that_was_named_is_the_default_that_was_not(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("backbone: {}\nchoices: {index: flat, data: demo}\n")
    both = [
        replace(job(name, ranking(0.3, 0), own), folder=tmp_path) for name, own in (("a", {"index": "flat"}), ("b", {}))
    ]
    assert not differing_keys(both)
    assert value_of(both[1], "index") == "flat"


def test_auto_is_the_precision_that_the_machine_took() -> None:
    key = "encode.precision"
    both = [job("a", ranking(0.3, 0), own, {key: '"fp32"'}) for own in ({key: "auto"}, {key: "fp32"})]
    assert not differing_keys(both)
