"""The parts that do nothing, in the path from the start."""

import numpy as np
import pytest

from picdesk.errors import DataError
from picdesk.interfaces import Fusion, RerankContext, Reranker, Side
from picdesk.rerankers.identity import Identity
from picdesk.search.fusion import Single
from picdesk.trec.runs import Run


def test_identity_and_single_keep_the_run() -> None:
    index = np.array([[1, 0], [1, -1]], np.int32)
    scores = np.array([[0.5, 0.25], [0.125, -np.inf]], np.float32)
    run = Run(("q0", "q1"), ("a", "b"), index, scores, 2)
    context = RerankContext("t2i", Side(run.query_ids, texts=("one", "two")), Side(run.item_ids))
    reranker: Reranker = Identity()
    fusion: Fusion = Single()
    again = reranker.score(run, context)
    np.testing.assert_array_equal(again, np.array([[0.5, 0.25], [0.125, np.nan]], np.float32))
    assert fusion.fuse(run, [again], [0.5]) is run


def test_a_side_of_two_lengths_is_refused() -> None:
    with pytest.raises(DataError, match="1 texts for 2 ids"):
        Side(("a", "b"), texts=("one",))
