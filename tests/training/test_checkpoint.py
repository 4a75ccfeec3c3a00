"""A backbone knows which of its towers no longer have the weights that it was built with."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from picdesk.embedding.encoder import Encoder
from picdesk.embedding.store import Store
from picdesk.interfaces import Side
from picdesk.pipelines.tools import Tools
from picdesk.training.checkpoint import find, load, save
from tests.embedding.fakes import Tiny
from tests.training.test_fit import run_fit

HEADS = ("image_head.weight", "text_head.weight")


@pytest.mark.parametrize("changed", [(), HEADS[:1], HEADS[1:], HEADS, ("logit_scale",)])
def test_towers_are_tuned_where_a_checkpoint_changes_their_weights(changed: tuple[str, ...], tmp_path: Path) -> None:
    weights = {name: value.detach().clone() for name, value in Tiny().named_parameters() if "trunk" not in name}
    for name in changed:
        weights[name] = weights[name] + 1
    save(tmp_path, Tiny(), weights, OmegaConf.create({"backbone": {}}))
    backbone = Tiny()
    assert backbone.tuned == frozenset()
    load(find(str(tmp_path), tmp_path), backbone)
    wanted = {name.partition("_")[0] for name in changed} - {"logit"}
    assert backbone.tuned == wanted
    tools = Tools(backbone, Encoder(Store(tmp_path / "store")))
    assert tools.context("t2i", Side(()), Side(())).tuned == wanted


def test_a_fit_that_is_kept_tunes_and_one_that_is_not_does_not() -> None:
    assert run_fit(epochs=4)[1].tuned == {"image", "text"}
    assert run_fit(lr=0.0, epochs=1)[1].tuned == frozenset()
