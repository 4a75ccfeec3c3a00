"""The cross-encoder reranker against the library's own `predict`, on a small Qwen3-VL reranker with random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picdesk.errors import ConfigError, UserError
from picdesk.interfaces import Direction
from picdesk.rerankers.cross_encoder import CrossEncoder
from tests.backbones.tiny_multimodal import make_folder
from tests.rerankers.helpers import FakeEmbedder, context_of, plain_picture, run_over

TEXTS = ["a dog runs", "a much longer text about a red ball on the beach"]
PICTURES = [plain_picture(((40 * i) % 256, 200 - 30 * i, 90), (30 + 12 * i, 64 - 8 * i)) for i in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder("qwen3_vl_reranker", tmp_path_factory.mktemp("reranker"))


@pytest.fixture(scope="module")
def library(folder: Path) -> Any:
    import sentence_transformers

    return sentence_transformers.CrossEncoder(str(folder), device="cpu", local_files_only=True)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("instruction", [None, "Find a picture."])
def test_parity_with_the_librarys_predict_in_a_batch_and_one_at_a_time(
    folder: Path, library: Any, direction: Direction, instruction: str | None
) -> None:
    import torch

    run = run_over([[3, 0, 1], [2, 1, -1]] if direction == "t2i" else [[0, 1], [1, -1]], 4 if direction == "t2i" else 2)
    texts, pictures = (TEXTS, PICTURES) if direction == "t2i" else (TEXTS, PICTURES[:2])
    context = context_of(run, texts, pictures, direction)
    scores = CrossEncoder(str(folder), instruction=instruction, batch_size=3).score(run, context)
    one = CrossEncoder(str(folder), instruction=instruction, batch_size=1).score(run, context)
    for query, place in zip(*np.nonzero(run.index >= 0), strict=True):
        item = int(run.index[query, place])
        text, picture = (texts[query], pictures[item]) if direction == "t2i" else (texts[item], pictures[query])
        image = FakeEmbedder().decode(picture)
        pair = (text, image) if direction == "t2i" else (image, text)
        wanted = library.predict([pair], prompt=instruction, activation_fn=torch.nn.Identity())[0]
        assert scores[query, place] == pytest.approx(wanted, abs=1e-5)
        assert one[query, place] == pytest.approx(wanted, abs=1e-5)
    assert np.isnan(scores[1, -1])
    assert np.ptp(scores[np.isfinite(scores)]) > 0.01


def test_texts_that_are_longer_than_the_model_reads_are_counted_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reranker = CrossEncoder(str(folder), max_tokens=20)
    for _ in range(2):
        reranker._say_cut(reranker._library, TEXTS)
    said = [record.getMessage() for record in caplog.records if "longer" in record.getMessage()]
    assert said == [
        "reranker.max_tokens=20: 1 of 2 texts are longer than the reranker reads: the rest of each is cut off"
    ]


def test_probability_is_the_sigmoid_and_settings_are_in_the_fingerprint(folder: Path) -> None:
    run = run_over([[0, 1]], 4)
    context = context_of(run, TEXTS[:1], PICTURES)
    logits, chances = (CrossEncoder(str(folder), score=score) for score in ("logit", "probability"))
    np.testing.assert_allclose(chances.score(run, context), 1 / (1 + np.exp(-logits.score(run, context))), atol=1e-6)
    assert logits.counts == {"cross_encoder_pairs": 2}
    told = CrossEncoder(str(folder), instruction="Find a picture.")
    assert len({one.fingerprint(context) for one in (logits, chances, told)}) == 3
    assert logits.content() == told.content()


def test_what_cannot_score_a_pair_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"reranker\.score=best"):
        CrossEncoder(str(folder), score="best")
    run = run_over([[0]], 4)
    with pytest.raises(UserError, match=r"reranker\.model=.*wanted there config\.json"):
        CrossEncoder(str(tmp_path)).score(run, context_of(run, TEXTS[:1], PICTURES))
