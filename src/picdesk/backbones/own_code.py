"""`backbone=own_code`: a dual encoder whose code lies in its own folder, in the form in which Jina CLIP is published.

Such a folder has `auto_map` in its config.json and the classes it names in `.py` files. Loading it runs that code, so it happens
only after `allow_code=true`; read the files first.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.depth import parameters_behind
from picdesk.backbones.model_prompts import TEXT_PROMPTS, read_prompts
from picdesk.backbones.tokens import Padding, ReadsByTokenizer, padding_of, unusual_settings
from picdesk.backbones.transformers import pooled_features
from picdesk.backbones.transformers_files import digest_of_tokenizer, plain_description
from picdesk.backbones.two_tower import bias_of
from picdesk.errors import ConfigError, UserError
from picdesk.files import json_value
from picdesk.hub import WITH_PICTURES, code_beyond, folder_of, one_set_of_weights
from picdesk.needs import Need, model_need
from picdesk.parts import config_part
from picdesk.weights import from_folder, why

log = logging.getLogger(__name__)
WANTED = f"{WITH_PICTURES} and the code that config.json names"
COSINE_SCALE = 4.6052  # ln 100, where the model keeps no scale of its own


@config_part
class OwnCode(ReadsByTokenizer):
    """A model with `get_image_features(pixel_values)` and `get_text_features(**tokens)`; heads are the identity.

    `model` is a local folder or a hub id. `max_tokens` cuts longer texts. Without `allow_code` it is refused. Pixels come out of
    the folder's own image processor as it gives them, float32. `prompts` are put before texts that ask and texts that are found;
    `dim` keeps the first numbers of each vector (null: all).
    """

    def __init__(
        self,
        model: str,
        allow_code: bool = False,
        max_tokens: int = 512,
        dim: int | None = None,
        prompts: Mapping[str, str | None] | None = None,
    ) -> None:
        told = read_prompts(prompts, TEXT_PROMPTS)
        if not allow_code:
            raise ConfigError(
                f"backbone.model={model}: loading it runs code out of that folder; read its .py files, "
                "then say backbone.allow_code=true"
            )
        if max_tokens < 1:
            raise ConfigError(f"backbone.max_tokens={max_tokens}: at least 1 is needed")
        folder = folder_of(model, "backbone.model", pick_files, WANTED)
        log.warning("backbone: running the code of %s", model)
        whole, processor, tokenizer = load(folder, model)
        length = min(max_tokens, int(tokenizer.model_max_length))
        tokens = tokenizer(["a"], padding=True, truncation=True, max_length=length, return_tensors="pt")
        digest = digest_of_tokenizer(tokenizer)  # here and not later: every call leaves settings in it
        pixels = only_pixels(processor(Image.new("RGB", (64, 64)), return_tensors="pt"), model)
        image, _ = tower(whole, "get_image_features", {"pixel_values": pixels})
        text, full = tower(whole, "get_text_features", tokens)
        padding = padding_of(text, tokenizer, length, model)
        rule: dict[str, Any] = {
            "library": "own code",
            "code": code_digest(folder),
            "config": plain_description(whole.config),
        }
        if beyond := code_beyond(folder, (whole, *whole.modules(), whole.config, processor, tokenizer)):
            rule["code beyond"] = beyond
        super().__init__(
            name=f"own_code({model})",
            dim=full,
            image_trunk=image,
            image_head=nn.Identity(),
            text_trunk=text,
            text_head=nn.Identity(),
            trunk_dims=(full, full),
            preprocessing={
                "image": rule | {"processor": plain_description(processor)},
                "text": rule
                | {"tokenizer": digest, "max_length": length}
                | unusual_settings(tokenizer, padding.fill)
                | ({} if padding == Padding(False, "right") else {"padding": [padding.rule, padding.side]}),
            },
            logit_scale=float(whole.logit_scale.detach()) if hasattr(whole, "logit_scale") else COSINE_SCALE,
            logit_bias=bias_of(whole),
            shorter=dim,
            prompts=told,
        )
        self._processor, self._tokenizer, self.max_length = processor, tokenizer, length
        self._padding, self.reads_padding = padding, padding.fill

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The folder or hub id."""
        return [model_need(values["model"], f"{key}.model", pick_files, WANTED)]

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[Any]:
        """The folder's own image processing: float32 [3, height, width]."""
        pixels = self._processor(picture, return_tensors="pt")["pixel_values"][0]
        return np.asarray(pixels, np.float32)

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Nothing: the image processor has done it."""
        return pixels.float()


class Tower(nn.Module):
    """One side of a model that has both: its features come out projected."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method

    def forward(self, pixels: torch.Tensor | None = None, **tokens: torch.Tensor) -> torch.Tensor:
        """Pixels [n, 3, height, width], or the tokenizer's tensors [n, length], to features [n, dim]."""
        given = tokens if pixels is None else {"pixel_values": pixels}
        return pooled_features(getattr(self.model, self.method)(**given))


def tower(model: nn.Module, method: str, example: Mapping[str, torch.Tensor]) -> tuple[Tower, int]:
    """One side with those of the model's own parts that its features come from, and their width, told by an example.

    The whole model where the code does not do without the rest. Parts that both sides use are shared.
    """
    model.requires_grad_(True)
    with torch.enable_grad():
        features = pooled_features(getattr(model, method)(**example))
    found = parameters_behind([features])
    model.requires_grad_(False)
    part = copy.copy(model)
    part._modules = {
        name: child
        for name, child in model._modules.items()
        if child is None or not list(child.parameters()) or any(id(value) in found for value in child.parameters())
    }
    part._parameters = {name: value for name, value in model._parameters.items() if id(value) in found}
    try:
        with torch.no_grad():
            same = torch.allclose(pooled_features(getattr(part, method)(**example)), features, atol=1e-5)
    except Exception:  # whatever foreign code raises where something is missing
        same = False
    return Tower(part if same else model, method), int(features.shape[-1])


def only_pixels(given: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """The pixels [1, 3, height, width] that an image processor gives. Raises `ConfigError` for patches of many sizes."""
    if set(given) == {"pixel_values"} and given["pixel_values"].ndim == 4:
        return given["pixel_values"]
    told = ", ".join(f"{key} {tuple(value.shape)}" for key, value in given.items())
    raise ConfigError(
        f"backbone.model={name}: its image processor gives {told}, and backbone=own_code reads pictures of one size alone; "
        "models of patches such as FG-CLIP 2 are not supported (SigLIP 2 NaFlex is, by backbone=sentence_transformers)"
    )


def check_map(folder: Path, name: str) -> None:
    """Raise `ConfigError` where config.json does not say which class in the folder is the model."""
    try:
        named = json_value((folder / "config.json").read_text(encoding="utf-8")).get("auto_map") or {}
    except (OSError, ValueError, AttributeError):
        return  # which loading it tells
    if "AutoModel" not in named:
        there = f"its auto_map has {', '.join(named)} alone" if named else "it has no auto_map"
        hint = (
            "; FG-CLIP and FG-CLIP 2 are published so, and are not supported" if "AutoModelForCausalLM" in named else ""
        )
        raise ConfigError(f"backbone.model={name}: config.json names no AutoModel ({there}){hint}")


def load(folder: Path, name: str) -> tuple[Any, Any, Any]:
    """Model, image processor and tokenizer, by the folder's own code. Raises `UserError`, `ConfigError`."""
    import transformers
    from transformers.utils import logging as chatter

    check_map(folder, name)
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        options: dict[str, Any] = {"trust_remote_code": True, "local_files_only": True}
        own: dict[str, Any] = options | {"dtype": torch.float32, "weights_only": True}
        model = from_folder(transformers.AutoModel, folder, f"backbone.model={name}", **own)
        processor = transformers.AutoImageProcessor.from_pretrained(str(folder), **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
    except UserError:
        raise
    except Exception as error:  # whatever foreign code raises
        raise UserError(f"backbone.model={name} could not be loaded ({why(error)}); wanted: {WANTED}") from error
    lacking = [method for method in ("get_image_features", "get_text_features") if not hasattr(model, method)]
    if lacking:
        raise ConfigError(f"backbone.model={name}: its {type(model).__name__} has no {' and no '.join(lacking)}")
    return model.eval().requires_grad_(False), processor, tokenizer


def pick_files(names: Iterable[str]) -> list[str]:
    """Of a repository's files: configs, tokenizer, one form of the weights, and the code."""
    listed = list(names)
    weights = one_set_of_weights(listed)
    return [*weights, *(name for name in listed if name.endswith(".py") and "/" not in name)] if weights else []


def code_digest(folder: Path) -> str:
    """SHA-256 over the code files at the top of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
