"""Trunks that stand ready for several models at once: what one left in memory is not taken for another's."""

from pathlib import Path

import numpy as np
from PIL import Image

from picdesk.embedding.encoder import Encoder
from picdesk.embedding.standing import Standing
from picdesk.embedding.store import Store
from tests.embedding.fakes import Pictures, Tiny, items_seen
from tests.embedding.worker import blob, decode


def refuse_to_decode(data: bytes) -> Image.Image:
    raise AssertionError("it was decoded before")


def test_pixels_that_wait_are_those_of_one_model(tmp_path: Path) -> None:
    """A picture that was looked at for one backbone is asked of another, a reranker's, before that one came to it."""
    asked, other, picture = Tiny(size=2), Tiny(seed=1, size=5), Pictures([blob(3)])
    wanted = Encoder(Store(tmp_path / "a job")).pictures(other, picture, decode)
    standing = Standing(Store(tmp_path / "a server"))
    standing.look_at(asked, blob(3), decode)
    np.testing.assert_allclose(standing.pictures(other, picture, decode), wanted, rtol=1e-6)
    before = items_seen(asked.image_trunk)
    standing.pictures(asked, picture, refuse_to_decode)
    assert items_seen(asked.image_trunk) == before + 1
