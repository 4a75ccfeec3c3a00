"""Another backbone over the candidates."""

import numpy as np
import pytest

from picdesk.interfaces import Direction
from picdesk.rerankers.cross_backbone import CrossBackbone
from tests.rerankers.helpers import FakeEmbedder, context_of, plain_picture, run_over, vector_of
from tests.tiny import Tiny

PICTURES = [plain_picture((i, 9, 9)) for i in range(5)]


def test_cosines_belong_to_their_candidates() -> None:
    run = run_over([[4, 0], [2, 4], [2, -1]], 5)
    embedder = FakeEmbedder()
    scores = CrossBackbone(Tiny()).score(run, context_of(run, ["x", "y", "z"], PICTURES, embedder=embedder))
    for query, text in enumerate("xyz"):
        for place, item in enumerate(run.index[query]):
            if item >= 0:
                expected = float(vector_of(text) @ vector_of(PICTURES[item]))
                assert scores[query, place] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(scores[2, 1])
    assert [call[2] for call in embedder.asked if call[0] == "pictures"] == [3], "only candidates are encoded"


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_defect_d_queries_and_pictures_may_differ_in_number(direction: Direction) -> None:
    """System D asserted as many queries as pictures."""
    run = run_over([[0, 1, 2, 3, 4]] * 2, 5)
    texts, pictures = (["x", "y"], PICTURES) if direction == "t2i" else (list("abcde"), PICTURES[:2])
    scores = CrossBackbone(Tiny()).score(run, context_of(run, texts, pictures, direction))
    assert scores.shape == (2, 5)
    assert np.isfinite(scores).all()


def test_the_fingerprint_follows_weights_of_trunks_and_heads() -> None:
    run = run_over([[0]], 1)
    context = context_of(run, ["x"], PICTURES[:1])
    one, same, other_head, other_trunk = Tiny(), Tiny(), Tiny(seed=1), Tiny(trunk_seed=1)
    marks = [CrossBackbone(backbone).fingerprint(context) for backbone in (one, same, other_head, other_trunk)]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3
