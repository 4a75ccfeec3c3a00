"""A fingerprint out of the memory is the one that is taken; a trunk that was loaded, or that lies elsewhere, is looked at."""

import torch

from picdesk.backbones.lite import Lite
from tests import trunk_memory


def test_what_is_remembered_is_what_is_taken() -> None:
    remembered = trunk_memory.take_once(trunk_memory.AS_IT_COMES)
    for modality in ("image", "text"):
        taken = trunk_memory.AS_IT_COMES(Lite(), modality)
        assert [remembered(Lite(), modality) for _ in range(2)] == [taken, taken]


def test_weights_that_were_changed_are_looked_at() -> None:
    remembered = trunk_memory.take_once(trunk_memory.AS_IT_COMES)
    before = remembered(Lite(), "text")
    backbone = Lite()
    with torch.no_grad():
        next(backbone.text_trunk.parameters()).add_(1)
    assert remembered(backbone, "text") != before


def test_trunks_of_other_settings_are_others() -> None:
    remembered = trunk_memory.take_once(trunk_memory.AS_IT_COMES)
    assert remembered(Lite(), "image") != remembered(Lite(mirrored=True), "image")
    assert remembered(Lite(max_tokens=20), "text") != remembered(Lite(max_tokens=30), "text")
