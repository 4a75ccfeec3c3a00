"""Weights from a file into an open_clip model, by open_clip's own conversions, with a line that says what did not fit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from picdesk.backbones.open_clip_files import FOLDER, Source, weights_file
from picdesk.unfilled import DRAWING, Unfilled
from picdesk.weights import HOLDERS, held_weights, misfit, unwrap_names

REMEDY = "name the architecture that it was trained as (backbone.model=NAME)"
NUMPY = (".npz", ".npy")  # big_vision's form


def draw_nothing(file: Path | None) -> AbstractContextManager[object]:
    """Draw no weights where a file brings them all (`load_weights` looks): that takes longer than reading it."""
    return Unfilled(DRAWING) if file is not None and file.suffix not in NUMPY else nullcontext()


def local_file(source: Source) -> Path | None:
    """The weights file on this machine; None for random weights and for a tag that the library fetches itself."""
    import open_clip

    if source.library_name.startswith(FOLDER):
        return weights_file(Path(source.library_name.removeprefix(FOLDER)))
    if source.weights is None or open_clip.get_pretrained_cfg(source.library_name, source.weights):
        return None
    return Path(source.weights)


def load_weights(clip: Any, path: Path, what: str) -> list[str]:
    """Put the weights of a file into the model; a line for each tensor that was stretched, of positions in pictures of another
    size. Raises `UserError` where they do not fit; nothing in the file is unpickled."""
    import open_clip.factory as library

    if path.suffix in NUMPY:
        library.load_checkpoint(clip, str(path))
        return []
    state, stretched = prepare_state(clip, unwrap_names(read_state(path), clip.state_dict()))
    own = clip.state_dict()
    shapes = [
        f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}"
        for name, value in state.items()
        if name in own and value.shape != own[name].shape
    ]
    missing, unexpected = set(own) - set(state), set(state) - set(own)
    if missing or unexpected or shapes:
        remedy = f"{REMEDY}, and save the model's own state_dict(), with the names that open_clip gives"
        raise misfit(what, missing, unexpected, shapes, remedy)
    clip.load_state_dict(state)
    return [f"{what}: {one} is stretched: trained on another size; {REMEDY}" for one in stretched]


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name, which it holds alone or under one of `HOLDERS`. Raises `ValueError` for other content."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    held = held_weights(torch.load(path, map_location="cpu", weights_only=True))
    if not isinstance(held, Mapping) or not held or not all(isinstance(value, torch.Tensor) for value in held.values()):
        kind = f"keys {sorted(map(str, held))[:5]}" if isinstance(held, Mapping) else type(held).__name__
        raise ValueError(f"no named tensors in it, alone or under {', '.join(HOLDERS)}: found {kind}")
    return {str(name): value for name, value in held.items()}


def prepare_state(clip: Any, state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The tensors under open_clip's names and in its shapes, in the steps of the library's own loader, and which of them that
    stretched to another shape."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    state = convert_state_dict(clip, state)
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):
        own = getattr(clip, name, None)
        if own is not None and name in state and state[name].numel() == own.numel():
            state[name] = state[name].reshape(own.shape)
    if getattr(clip, "logit_bias", None) is not None and "logit_bias" not in state and "logit_scale" in state:
        state["logit_bias"] = torch.zeros_like(state["logit_scale"])
    buffer = "text.transformer.embeddings.position_ids"  # older releases of transformers saved it
    if buffer in state and buffer not in clip.state_dict():
        del state[buffer]
    before = {name: tuple(value.shape) for name, value in state.items()}
    resize_pos_embed(state, clip)
    resize_text_pos_embed(state, clip)
    after = {name: tuple(state[name].shape) for name in before}
    return state, [f"{name} {before[name]} for {after[name]}" for name in before if after[name] != before[name]]
