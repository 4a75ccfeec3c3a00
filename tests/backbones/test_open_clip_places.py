"""How long the texts were that weights of open_clip were trained on, however a training tool has wrapped them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from picdesk.backbones.open_clip_places import places_in

PLAIN = {
    "positional_embedding": torch.zeros(248, 4),
    "visual.positional_embedding": torch.zeros(5, 4),
    "ln.weight": torch.ones(4),
}
CUSTOM = {f"text.{name}" if "visual" not in name else name: value for name, value in PLAIN.items()}


def under(*parts: str, weights: dict[str, torch.Tensor] = PLAIN) -> dict[str, torch.Tensor]:
    return {f"{''.join(parts)}{name}": value for name, value in weights.items()}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        CUSTOM,
        {"state_dict": under("module.")},
        {"state_dict": under("_orig_mod.")},
        {"model": PLAIN},
        {"model_state_dict": under("module.", "_orig_mod.", weights=CUSTOM)},
        {"state_dict": under("model."), "epoch": 3},
    ],
)
def test_the_places_are_found_however_weights_are_wrapped(content: dict[str, Any], tmp_path: Path) -> None:
    """Where they are not, the library squeezes 248 of them into its own 77, and says nothing."""
    torch.save(content, tmp_path / "w.pt")
    assert places_in(tmp_path / "w.pt") == 248


def test_the_places_of_a_safetensors_file(tmp_path: Path) -> None:
    for weights in (PLAIN, CUSTOM, under("module."), under("_orig_mod.")):
        save_file(weights, tmp_path / "w.safetensors")
        assert places_in(tmp_path / "w.safetensors") == 248
    save_file(
        {"visual.positional_embedding": torch.zeros(5, 4), "ln.weight": torch.ones(4)}, tmp_path / "w.safetensors"
    )
    assert places_in(tmp_path / "w.safetensors") is None
