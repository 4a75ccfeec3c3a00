"""What heads make of trunk features."""

import numpy as np
import pytest
import torch

from picdesk.errors import DataError
from picdesk.retrieval.features import head
from tests.tiny import Tiny


def test_a_damaged_head_is_named_before_its_vectors_rank_anything() -> None:
    """Of a second backbone, as `reranker=cross_backbone` asks one, its cosines would pass for scores that were not given."""
    backbone = Tiny()
    for weight in backbone.text_head.parameters():
        weight.data.fill_(torch.nan)
    features = np.ones((2, backbone.trunk_dim("text")), np.float32)
    with pytest.raises(DataError, match=r"^text vectors of .*: 2 of 2 are not finite; the weights are damaged"):
        head(backbone, "text", features)
    assert np.isfinite(head(Tiny(), "text", features)).all()
