"""Reranking through the doors: the scores are made once, weights are chosen on one part and reported on another."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picdesk.embedding.precision import DRIFT, MEASURED
from picdesk.report.manifest import Manifest
from tests.doors import Ran, run
from tests.rerankers.stub_server import serving
from tests.tiny import Tiny, write_data

Capture = pytest.CaptureFixture[str]
TINY = "tests.tiny.Tiny"
FAST = ("bootstrap.resamples=200", "top_k=12")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


class Other(Tiny):
    """A second tiny backbone, which notes how often its trunks run."""

    forwards = 0

    def __init__(self, **of_lite: Any) -> None:
        super().__init__(seed=5, trunk_seed=9)
        self.name = "other"
        for trunk in (self.image_trunk, self.text_trunk):
            trunk.register_forward_hook(self.note)

    @staticmethod
    def note(*_: Any) -> None:
        Other.forwards += 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), 60)


@pytest.fixture
def tiny(data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A data set, a backbone and a reranker so small that a job takes no time."""
    Other.forwards = 0
    table = ("data=parquet", f"data.root={data}", "data.file=tiny.parquet", "data.caption_column=caption")
    return (*table, *FAST, f"backbone._target_={TINY}", "split=random_70_15_15")


OTHER = ("reranker=generated_captions", "reranker.backbone._target_=tests.tasks.test_reranked.Other")


def manifest(folder: Path) -> Manifest:
    return Manifest.read(folder / "manifest.json")


def test_weight_0_leaves_the_bytes_of_the_search(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    plain = run(capfd, tmp_path, "evaluate", *tiny)
    assert plain.status == 0, plain.err
    off = run(capfd, tmp_path, "evaluate", *tiny, *OTHER, "reranker.weight=0")
    on = run(capfd, tmp_path, "evaluate", *tiny, *OTHER, "reranker.weight=0.5")
    assert off.file("run.trec") == plain.file("run.trec")
    assert off.file("metrics.json") == plain.file("metrics.json")
    assert on.file("run.trec") != plain.file("run.trec")


def test_a_sweep_over_weights_makes_no_forward_pass_after_the_first_job(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    weights = [0.05, 0.3, 0.5, 0.7, 0.95]
    first = run(capfd, tmp_path, "evaluate", *tiny, *OTHER, f"reranker.weight={weights[0]}")
    assert first.status == 0, first.err
    counts = manifest(first.folder).counts
    assert counts["pairs_scored"] > 0
    assert "pairs_reused" not in counts
    before = Other.forwards
    assert before > 0
    swept = run(capfd, tmp_path, "evaluate", "-m", *tiny, *OTHER, f"reranker.weight={','.join(map(str, weights))}")
    assert swept.status == 0, swept.err
    assert Other.forwards == before
    folders = [path.parent for path in swept.folder.parent.glob("*/manifest.json")]
    assert len(folders) == len(weights)
    for folder in folders:
        again = manifest(folder).counts
        assert "pairs_scored" not in again
        assert again["pairs_reused"] == counts["pairs_scored"]
        assert again["images_encoded"] == again["texts_encoded"] == 0
    metrics = {(folder / "metrics.json").read_bytes() for folder in folders}
    assert len(metrics) > 1


def test_scores_are_kept_by_the_precision_of_the_rerankers_own_model(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is searched is fp32 either way; the pictures of the other model are in bf16 where that was measured with it."""
    monkeypatch.setitem(DRIFT, Other().trunk_fingerprint("image"), "other by at most 0.004")
    own = ("reranker=cross_backbone", "reranker.backbone._target_=tests.tasks.test_reranked.Other")
    ways = [f"encode.precision={way}" for way in (MEASURED, "fp32", MEASURED)]
    found = [manifest(run(capfd, tmp_path, "evaluate", *tiny, *own, way).folder).counts for way in ways]
    assert [("pairs_reused" in counts) for counts in found] == [False, False, True]
    assert [counts["images_encoded"] > 0 for counts in found] == [True, True, False]


def test_other_weights_of_a_model_are_other_scores(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    run(capfd, tmp_path, "evaluate", *tiny, *OTHER)
    other = run(capfd, tmp_path, "evaluate", *tiny, *OTHER, "reranker.backbone._target_=tests.tiny.Tiny")
    assert manifest(other.folder).counts["pairs_scored"] > 0


def test_a_broken_file_of_scores_is_made_anew(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    first = run(capfd, tmp_path, "evaluate", *tiny, *OTHER)
    for path in (tmp_path / "store" / "reranks").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:50])
    again = run(capfd, tmp_path, "evaluate", *tiny, *OTHER)
    assert manifest(again.folder).counts["pairs_scored"] == manifest(first.folder).counts["pairs_scored"]
    assert again.file("metrics.json") == first.file("metrics.json")


def test_tuning_chooses_on_one_part_and_reports_the_other(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    ran = run(capfd, tmp_path, "evaluate", "task=tune_weights", *tiny, *OTHER, "tune_weights.rule=best")
    assert ran.status == 0, ran.err
    found = json.loads(ran.file("metrics.json"))
    (weight,) = found["tuned"]["weights"].values()
    assert set(found["tuned"]["best_weights"]) == set(found["tuned"]["weights"])
    with (ran.folder / "weights.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 101
    values = [float(row["t2i/hits@1"]) for row in rows]
    assert found["tuned"]["value"] == pytest.approx(max(values), abs=1e-6)
    assert found["tuned"]["search_alone"] == pytest.approx(values[0], abs=1e-6)
    assert [row["chosen"] for row in rows].count("1") == 1
    same = run(capfd, tmp_path, "evaluate", *tiny, *OTHER, f"reranker.weight={weight}")
    reported = {direction: found[direction] for direction in ("t2i", "i2t")}
    assert {d: json.loads(same.file("metrics.json"))[d] for d in ("t2i", "i2t")} == reported
    alone = run(capfd, tmp_path, "evaluate", *tiny)
    assert found["search_alone"]["t2i"] == json.loads(alone.file("metrics.json"))["t2i"]["metrics"]
    onval = run(capfd, tmp_path, "evaluate", *tiny, *OTHER, "part=val", f"reranker.weight={weight}")
    assert json.loads(onval.file("metrics.json"))["t2i"]["metrics"]["hits@1"] == pytest.approx(max(values), abs=1e-6)
    assert "paired randomisation" in ran.out
    assert "Weight of generated_captions" in ran.file("index.html").decode()
    with np.load(ran.folder / "scores.npz", allow_pickle=False) as kept:
        assert kept["rerank_generated_captions"].shape == kept["index"].shape == kept["similarity"].shape


def test_several_are_tuned_on_a_simplex(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    both = (
        "reranker=several",
        "reranker.use=[generated_captions,identity]",
        "+reranker@reranker.parts.identity=identity",
    )
    both = (*both, "reranker.parts.generated_captions.backbone._target_=tests.tasks.test_reranked.Other")
    ran = run(capfd, tmp_path, "evaluate", "task=tune_weights", *tiny, *both, "tune_weights.steps=4")
    assert ran.status == 0, ran.err
    assert len((ran.folder / "weights.csv").read_text().splitlines()) == 1 + 15
    weights = json.loads(ran.file("metrics.json"))["tuned"]["weights"]
    assert set(weights) == {"generated_captions", "identity"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("tune_weights.part=test",), "tune_weights.part=test, part=test: weights are chosen on one part"),
        (("part=all",), "part=all: weights are chosen on one part and reported on another"),
        (("part=val",), "chosen on one part"),
        (("tune_weights.metric=hits@1",), "give t2i/ or i2t/"),
        (("tune_weights.rule=luck",), "choose one of one_se, paired, best"),
        (("tune_weights.steps=0",), "at least 1"),
        (("fusion=single",), "fusion=single mixes nothing"),
        (("reranker=several",), "reranker.use=[]: give names out of"),
        (("reranker=several", "reranker.use=[captain]"), "reranker.use=['captain']: give names out of"),
        (("reranker=captions", "reranker.sentences.max_tokens=0"), "max_tokens=0"),
        (("reranker=cross_backbone",), "reranker.ckpt is missing: the heads of lite"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], overrides: tuple[str, ...], words: str
) -> None:
    ran = run(
        capfd,
        tmp_path,
        "evaluate",
        "task=tune_weights",
        *tiny,
        *(OTHER if not any(o.startswith("reranker=") for o in overrides) else ()),
        *overrides,
    )
    assert ran.status == 2, ran.out
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("metrics.json"))


@pytest.mark.parametrize("weight", ["1.5", "-0.1"])
def test_a_weight_outside_0_to_1_is_refused(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], weight: str) -> None:
    ran = run(capfd, tmp_path, "evaluate", *tiny, *OTHER, f"reranker.weight={weight}")
    assert ran.status == 2
    assert "reranker.weight" in ran.err


def test_a_reranker_with_a_checkpoint_of_its_own(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    trained = run(capfd, tmp_path, "train", *tiny, "trainer.max_epochs=2", "training.batch_size=16")
    assert trained.status == 0, trained.err
    crossed = ("reranker=cross_backbone", f"reranker.ckpt={trained.folder}", "reranker.weight=1")
    ran = run(capfd, tmp_path, "evaluate", *tiny, *crossed, "top_k=100")
    alone = run(capfd, tmp_path, "evaluate", *tiny, f"ckpt={trained.folder}")
    assert ran.status == 0, ran.err
    found, expected = (json.loads(one.file("metrics.json"))["t2i"]["metrics"] for one in (ran, alone))
    assert found["hits@1"] == pytest.approx(expected["hits@1"]), "weight 1 over the whole gallery is the other backbone"


def test_an_endpoint_is_asked_once_for_all_jobs(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    grades = json.dumps(dict.fromkeys(["relevance", "quality", "truth", "bias", "clickbait"], 4))

    def behave(number: int, request: dict[str, Any]) -> str:
        return "no comment" if "picture 1\n" in request["messages"][-1]["content"][-1]["text"] else grades

    with serving(behave) as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url.replace("//", "//desk:secret@"))
        monkeypatch.setenv("OPENAI_MODEL", "a-model-of-mine")
        judge = ("reranker=vlm_judge", "reranker.top_k=2", "language_model.backoff_s=0")
        first = run(capfd, tmp_path, "evaluate", *tiny, *judge)
        assert first.status == 0, first.err
        asked = len(stub.requests)
        counts = manifest(first.folder).counts
        assert counts["lm_calls"] == asked > 0
        said = first.out + first.err + first.file("job.log").decode()
        assert "HTTP" not in said, "no line for every request"
        assert "secret" not in said
        assert counts["lm_tokens_in"] == 11 * asked
        second = run(capfd, tmp_path, "evaluate", *tiny, *judge, "reranker.weight=0.4")
        assert len(stub.requests) == asked
        assert manifest(second.folder).counts["lm_calls"] == 0
    plain = run(capfd, tmp_path, "evaluate", *tiny)
    assert b"a-model-of-mine" not in plain.file("config.yaml"), "no such model is asked"
    monkeypatch.delenv("OPENAI_MODEL")
    monkeypatch.delenv("OPENAI_BASE_URL")
    again = run(capfd, tmp_path, "evaluate", f"reproduce={first.folder}")
    assert again.status == 0, again.err
    assert manifest(again.folder).counts["lm_cached"] > 0, "the answers are kept, so that nobody has to be asked"


def test_a_judge_with_a_language_model_of_its_own_is_had_again(
    capfd: Capture, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its answers lie was taken out of the saved config, and nothing put in its place."""
    grades = json.dumps(dict.fromkeys(["relevance", "quality", "truth", "bias", "clickbait"], 4))
    monkeypatch.setenv("OPENAI_MODEL", "a-model-of-mine")
    with serving(lambda number, request: grades) as stub:
        own = ("+language_model@reranker.language_model=endpoint", f"reranker.language_model.base_url={stub.url}")
        first = run(capfd, tmp_path, "evaluate", *tiny, "reranker=vlm_judge", "reranker.top_k=2", *own)
    assert first.status == 0, first.err
    monkeypatch.delenv("OPENAI_MODEL")
    again = run(capfd, tmp_path, "evaluate", f"reproduce={first.folder}")
    assert again.status == 0, again.err
    assert manifest(again.folder).counts["lm_cached"] > 0
    assert stub.url.encode() not in again.file("config.yaml")


def test_several_on_the_command_line(capfd: Capture, tmp_path: Path, tiny: tuple[str, ...]) -> None:
    weights = ("reranker.parts.generated_captions.weight=0.3", "reranker.parts.captions.weight=0.1")
    (tmp_path / "said.json").write_text(json.dumps({f"p{i:02}": ["a plain picture", "red"] for i in range(60)}))
    ran: Ran = run(
        capfd,
        tmp_path,
        "evaluate",
        *tiny,
        "reranker=several",
        "reranker.use=[generated_captions,captions]",
        f"reranker.parts.captions.file={tmp_path / 'said.json'}",
        "reranker.parts.captions.sentences._target_=tests.tasks.test_reranked.Other",
        "reranker.parts.generated_captions.backbone._target_=tests.tasks.test_reranked.Other",
        *weights,
    )
    assert ran.status == 0, ran.err
    assert manifest(ran.folder).counts["pairs_scored"] > 0
