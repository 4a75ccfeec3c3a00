"""Text and picture together ask for another picture, in an evaluation: ranks by hand, the one that asks left out."""

import json
from pathlib import Path

import numpy as np
import pytest

from picdesk.interfaces import Embeddings
from picdesk.retrieval.composed import Asked, mix
from tests.commands.test_mistakes import one_line
from tests.doors import Ran, run
from tests.readers.test_composed import NAMES, cirr, fashion
from tests.tiny import Tiny

Capture = pytest.CaptureFixture[str]
TINY = "backbone._target_=tests.tiny.Tiny"


def evaluate(capfd: Capture, folder: Path, *overrides: str) -> Ran:
    own = (f"paths.store={folder / 'store'}", TINY, "bootstrap.resamples=50", "top_k=10")
    return run(capfd, folder / "out", "evaluate", *own, *overrides)


def vectors(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of CIRR's texts and pictures, by the backbone's own towers."""
    import torch

    from picdesk.data.images import open_picture

    tiny = Tiny(dim=512).eval()
    asked = json.loads((root / "captions" / "cap.rc2.val.json").read_text())
    with torch.inference_mode():
        shown = [tiny.picture_to_pixels(open_picture((root / "dev" / f"{name}.png").read_bytes())) for name in NAMES]
        pixels = tiny.normalise_pixels(torch.from_numpy(np.stack(shown)))
        pictures = tiny.embed("image", tiny.image_trunk(pixels)).numpy()
        texts = tiny.embed("text", tiny.text_trunk(**tiny.tokenize([one["caption"] for one in asked]))).numpy()
    return texts, pictures


def test_ranks_are_those_of_the_sum_less_the_one_that_asks(capfd: Capture, tmp_path: Path) -> None:
    root = cirr(tmp_path / "cirr")
    ran = evaluate(capfd, tmp_path, "experiment=cirr", f"data.root={root}", "share=0.4", "metrics.ks=[1,2,3]")
    assert ran.status == 0, ran.err
    found = json.loads(ran.file("metrics.json"))
    assert "i2t" not in found
    texts, pictures = vectors(root)
    ranks, within = [], []
    for i in range(4):
        query = 0.6 * texts[i] + 0.4 * pictures[i]
        scores = pictures @ (query / np.linalg.norm(query))
        scores[i] = -2  # the picture that asks
        ranks.append(1 + int((np.delete(scores, i + 1) >= scores[i + 1]).sum()))
        within.append(1 + int((np.delete(scores[:6], i + 1) >= scores[i + 1]).sum()))
    for k in (1, 2, 3):
        assert found["t2i"]["metrics"][f"hits@{k}"] == pytest.approx(np.mean(np.array(ranks) <= k))
        assert found["subset"]["t2i"]["metrics"][f"hits@{k}"] == pytest.approx(np.mean(np.array(within) <= k))
    assert found["t2i"]["metrics"]["mrr"] == pytest.approx(np.mean(1 / np.array(ranks)))
    lines = [line.split() for line in ran.file("run.trec").decode().splitlines()]
    assert not any(NAMES[int(line[0].split("/")[-1]) - 100] == line[2] for line in lines)
    assert "among the few of its set" in ran.file("index.html").decode()


def test_fashion_iq_leaves_nothing_out(capfd: Capture, tmp_path: Path) -> None:
    root = fashion(tmp_path / "fashion")
    ran = evaluate(capfd, tmp_path, "experiment=fashion_iq", f"data.root={root}", "data.max_bad_fraction=0.5")
    assert ran.status == 0, ran.err
    found = json.loads(ran.file("metrics.json"))
    assert found["t2i"]["metrics"]["gallery"] == 5
    assert "subset" not in found
    lines = [line.split() for line in ran.file("run.trec").decode().splitlines()]
    assert {line[2] for line in lines} == {f"B00{i}" for i in range(5)}
    alone = evaluate(
        capfd, tmp_path, "experiment=fashion_iq", f"data.root={root}", "data.max_bad_fraction=0.5", "share=1"
    )
    first = {line.split()[0]: line.split()[2] for line in reversed(alone.file("run.trec").decode().splitlines())}
    assert {key.split("-")[-1]: value[-1] for key, value in first.items()} == {"0": "0", "1": "1", "2": "2"}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("share=1.5",), "share=1.5: the share of the picture"),
        (("reranker=captions", "reranker.weight=0.2"), "asks by text and picture together: leave reranker out"),
        (("scores=nnn",), "leave scores out"),
        (("metrics.folds=2",), "metrics.folds=2"),
        (("task=tune_index",), "it is for task=evaluate"),
        (("split=random_70_10_20", "part=test"), "choose a split that keeps them together (split=official)"),
    ],
)
def test_what_cannot_be_asked_together_is_one_line(
    capfd: Capture, tmp_path: Path, overrides: tuple[str, ...], told: str
) -> None:
    one_line(evaluate(capfd, tmp_path, "experiment=cirr", f"data.root={cirr(tmp_path / 'c')}", *overrides), told)


def test_training_on_questions_is_refused(capfd: Capture, tmp_path: Path) -> None:
    root = cirr(tmp_path / "cirr")
    own = ("experiment=cirr", "split=random_70_10_20", f"data.root={root}", TINY)
    ran = run(capfd, tmp_path / "out", "train", *own)
    one_line(ran, "data=cirr: its texts ask together with a picture, which task=train knows nothing of")


def test_a_text_without_a_picture_asks_alone() -> None:
    texts = Embeddings(("a", "b"), np.eye(3, dtype=np.float32)[:2])
    pictures = Embeddings(("p",), np.eye(3, dtype=np.float32)[2:])
    asked = Asked(np.array([-1, 0]), np.array([-1, -1]), ((), ()))
    both = mix(texts, pictures, asked, 0.5).matrix
    np.testing.assert_allclose(both, [[1, 0, 0], [0, 2**-0.5, 2**-0.5]], atol=1e-6)
