"""The reranker that changes nothing."""

import numpy as np
from numpy.typing import NDArray

from picdesk.interfaces import RerankContext
from picdesk.parts import config_part
from picdesk.rerankers.base import Scorer
from picdesk.trec.runs import Run


@config_part
class Identity(Scorer):
    """Scores each candidate as the search did."""

    changes_order = False

    def __init__(self, weight: float = 0.0, top_k: int | None = None) -> None:
        super().__init__(weight, top_k)

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """The scores of the run [queries, depth], NaN where a row is padded."""
        return np.where(run.index >= 0, run.scores, np.float32(np.nan)).astype(np.float32)
