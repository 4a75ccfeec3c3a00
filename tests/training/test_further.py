"""Pictures that a text is relevant to beside its own are no negatives of it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from picdesk.tasks.train import tell_further_positives
from picdesk.training.features import Features, Relevant
from picdesk.training.losses import InfoNCE, Margin
from picdesk.training.probes import CPU, collapsed_loss
from picdesk.trec.runs import Qrels
from tests.training.test_fit import features, run_fit


class Plain(Margin):
    """A loss of a user's own, written before it could be told which texts it has."""

    def forward(self, images: Any, texts: Any, picture: Any, logit_scale: Any) -> torch.Tensor:  # type: ignore[override]
        return super().forward(images, texts, picture, logit_scale)


def judged(t2i: Qrels | None = None, i2t: Qrels | None = None) -> Features:
    """Three texts, the last two of one picture."""
    texts, pictures, owner = ("t1", "t2", "t3"), ("a", "b"), np.array([0, 1, 1])
    own = Qrels.from_pairs(texts, pictures, np.arange(3), owner)
    back = Qrels.from_pairs(pictures, texts, owner, np.arange(3))
    rows = np.ones((3, 2), np.float32)
    return Features(pictures, texts, rows[:2], rows, owner, t2i or own, i2t or back)


def test_they_are_found_by_id_in_both_directions() -> None:
    assert judged().further_pairs.shape == (0, 2)
    fewer = Qrels.from_pairs(
        ("t3",), ("b", "a"), np.array([0, 0]), np.array([0, 1])
    )  # as `data.qrels_only=true` leaves it
    back = Qrels.from_pairs(("b",), ("t3", "t1"), np.array([0]), np.array([1]))
    assert judged(fewer, back).further_pairs.tolist() == [[0, 1], [2, 0]]


def test_rows_that_belong_together_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, (40, 12), (90, 2)), axis=0)
    text, picture = rng.permutation(40)[:17], rng.integers(0, 12, 17)
    known = set(map(tuple, pairs.tolist()))
    wanted = {(i, j) for i in range(17) for j in range(17) if (text[i], picture[j]) in known}
    rows = Relevant(pairs, 40).among(torch.from_numpy(text), torch.from_numpy(picture))
    assert {(int(i), int(j)) for i, j in zip(*rows, strict=True)} == wanted
    assert len(rows[0]) == len(wanted) > 20


def test_a_fit_says_what_its_loss_makes_of_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    more = judged(Qrels.from_pairs(("t1",), ("a", "b"), np.array([0, 0]), np.array([0, 1])))
    tell_further_positives(judged(), InfoNCE())
    assert not caplog.records
    tell_further_positives(more, InfoNCE())
    assert "1 further positives of the train part count as no negatives" in caplog.text
    tell_further_positives(more, Plain())
    assert "Plain takes 1 further positives of the train part for negatives" in caplog.text


def test_a_loss_that_is_stuck_is_held_against_one_that_knows_them_too() -> None:
    """Where texts are relevant to many pictures, the value of equal embeddings is lower, and a stuck loss was not seen."""
    loss, rows = InfoNCE(), torch.arange(8)
    loss.relevant = Relevant(np.stack([np.arange(8), (np.arange(8) + 1) % 8], axis=1), texts=8)
    module = SimpleNamespace(loss=loss, device=CPU, backbone=SimpleNamespace(dim=4, logit_scale=torch.tensor(1.0)))
    assert collapsed_loss(module, (None, None, rows, rows)) == pytest.approx(np.log(7), abs=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("loss", "lost"), [(Margin(), False), (Plain(), True)])
def test_where_every_picture_is_relevant_a_fit_has_nothing_to_tell_apart(loss: Margin, lost: bool) -> None:
    train = features(0)
    text, picture = (side.ravel() for side in np.indices((len(train.text_ids), len(train.picture_ids))))
    train = replace(train, t2i=Qrels.from_pairs(train.text_ids, train.picture_ids, text, picture))
    fitted, _ = run_fit(loss=loss, epochs=1, train=train)
    assert (fitted.history[1]["train/loss"] > 0) == lost
