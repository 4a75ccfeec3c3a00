"""`backbone=open_clip`: any model of the open_clip library, with a pretrained tag or a local weights file.

The library leaves one trap open: asked for `ViT-B-32` with the `openai` tag it builds GELU where those weights were trained
with QuickGELU, and only warns. Here the activation follows the weights, and what was chosen is said.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk import network
from picdesk.backbones.clip_text import TextTrunk
from picdesk.backbones.model_prompts import TEXT_PROMPTS, read_prompts
from picdesk.backbones.open_clip_files import Source, find, load_tokenizer, quiet_library, tokenizer_content
from picdesk.backbones.open_clip_weights import draw_nothing, load_weights, local_file
from picdesk.backbones.tokens import flags_of_open_clip, unusual_settings
from picdesk.backbones.two_tower import TwoTower, bias_of, normalise
from picdesk.errors import UserError
from picdesk.interfaces import Modality
from picdesk.needs import Need, weights_size
from picdesk.parts import config_part
from picdesk.unfilled import Unfilled
from picdesk.weights import why

log = logging.getLogger(__name__)


@config_part
class OpenClip(TwoTower):
    """An open_clip model split into trunks and heads.

    `model` is one of open_clip's names, a local folder in the form in which open_clip publishes (`open_clip_config.json` and
    weights), or an `hf-hub:` id of such a folder. With a name, `pretrained` is a tag of that model, a path to a weights file
    (safetensors, or a `weights_only` .pt), or null for random weights drawn by `seed`; `weights` a file or folder that holds
    the weights of the tag, so that no hub is asked. `quick_gelu` null means: as the weights need. `prompts` are put before texts
    that ask and texts that are found; `dim` keeps the first numbers of each vector (null: all).
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None = None,
        quick_gelu: bool | None = None,
        seed: int = 0,
        weights: str | None = None,
        dim: int | None = None,
        prompts: Mapping[str, str | None] | None = None,
    ) -> None:
        import open_clip

        told = read_prompts(prompts, TEXT_PROMPTS)
        source = find(model, pretrained, weights, quick_gelu)
        quick = source.quick_gelu
        if quick and not model.endswith("-quickgelu"):
            log.info("backbone: the weights '%s' were trained with QuickGELU; %s is built with it", pretrained, model)
        tokenizer = load_tokenizer(source)
        clip = create(source, seed)
        full = int(source.config["embed_dim"])
        image_head, image_dim = take_image_head(clip, full)
        text_head, text_dim = take_text_head(clip, full)
        cfg = clip.visual.preprocess_cfg
        super().__init__(
            name=f"open_clip({model}, {pretrained or 'random'})",
            dim=full,
            image_trunk=Latent(clip.visual) if hasattr(clip, "text_decoder") else clip.visual,
            image_head=image_head,
            text_trunk=TextTrunk(clip),
            text_head=text_head,
            trunk_dims=(image_dim, text_dim),
            preprocessing=preprocessing_of(source, cfg, tokenizer),
            logit_scale=float(clip.logit_scale.detach()),
            logit_bias=bias_of(clip),
            shorter=dim,
            prompts=told,
        )
        self.quick_gelu, self._cfg, self._tokenizer = quick, cfg, tokenizer
        self._read: tuple[list[str], torch.Tensor | None] = [], None
        self.shortest_side = int(np.max(cfg["size"]))
        self._resize = open_clip.image_transform(
            cfg["size"],
            is_train=False,
            mean=cfg["mean"],
            std=cfg["std"],
            interpolation=cfg["interpolation"],
            resize_mode=cfg["resize_mode"],
            fill_color=cfg["fill_color"],
        ).transforms[:-2]  # all but ToTensor and Normalize, which run on the device, on whole batches
        self.register_buffer("mean", torch.tensor(cfg["mean"]), persistent=False)
        self.register_buffer("std", torch.tensor(cfg["std"]), persistent=False)

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The weights: a file, a folder, the copy in the hub's cache, or none for random ones."""
        model, tag = str(values["model"]), values.get("pretrained")
        with network.no_network():
            try:
                source = find(model, tag, values.get("weights"), values.get("quick_gelu"))
            except UserError as error:
                remedy = told_of_tag(model, tag, key) or str(error)
                return [
                    Need(
                        key, f"the weights {tag or ''} of {model}".replace("  ", " "), False, "", size_of(model), remedy
                    )
                ]
        if source.weights is None and tag is None and not model.startswith(("hf-hub:", "local-dir:")):
            return [Need(key, f"{model} with random weights", True)]
        place = Path(source.weights or source.library_name.removeprefix("local-dir:")).expanduser()
        what = f"the weights {tag} of {model}" if tag else f"the model {model}"
        if place.exists():
            size = place.stat().st_size if place.is_file() else weights_size(place)
            return [Need(key, what, True, str(place), size)]
        return [Need(key, what, False, "", size_of(model), told_of_tag(model, tag, key))]

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The library's own evaluation transform up to uint8 [3, height, width]."""
        for step in self._resize:
            picture = step(picture)
        return np.asarray(picture).transpose(2, 0, 1)

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 pixels to the mean and std that the weights were trained with."""
        return normalise(pixels, self.get_buffer("mean"), self.get_buffer("std"))

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """`text`: token ids [n, context length], by the tokenizer of the model."""
        ids = self._tokenizer(self.add_prompt(texts))
        self._read = list(texts), ids
        return {"text": ids}

    @property
    def context(self) -> int:
        """The most tokens of a text that are read."""
        return int(self._tokenizer.context_length)

    def text_flags(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """What is cut, and what is unknown, by the tokenizer; texts that were tokenised just now are not tokenised again."""
        read, ids = self._read
        self._read = [], None
        return flags_of_open_clip(self._tokenizer, self.add_prompt(texts), ids if read == list(texts) else None)

    def token_lengths(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Tokens up to the end-of-text one, [n]; the full context where the tower looks beyond it."""
        assert isinstance(self.text_trunk, TextTrunk)
        return self.text_trunk.lengths(inputs["text"])


def preprocessing_of(source: Source, picture: Mapping[str, Any], tokenizer: Any) -> dict[Modality, dict[str, Any]]:
    """What each tower's features depend on besides its weights; `picture` is the library's own account of its pixels."""
    shared = {"library": "open_clip", "quick_gelu": source.quick_gelu}
    text = {"context": tokenizer.context_length, "tokenizer": tokenizer_content(tokenizer)}
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is not None:  # of the transformers library
        text |= unusual_settings(inner, fill=True) | ({"padding": "left"} if inner.padding_side == "left" else {})
    return {
        "image": {**shared, "tower": source.config["vision_cfg"], **picture},
        "text": {**shared, "tower": source.config["text_cfg"], **text},
    }


def told_of_tag(model: str, tag: str | None, key: str) -> str:
    """Where the weights of a tag are published, and what to give once they are here; "" for what is no tag."""
    import open_clip

    known = open_clip.get_pretrained_cfg(model, tag) if tag else None
    if not known:
        return ""
    place = f"from the hub id {str(known['hf_hub']).rstrip('/')}" if known.get("hf_hub") else "elsewhere"
    return f"download them {place} and give {key}.weights=FILE (or let the job fetch them)"


def size_of(model: str) -> int | None:
    """Bytes of a model's float32 weights, by its architecture alone; None where that needs more than is here."""
    import open_clip

    return _size_of(model, repr(open_clip.get_model_config(model)) if model in open_clip.list_models() else "")


@functools.cache
def _size_of(model: str, architecture: str) -> int | None:
    """The same, counted once for each architecture: many published numbers are of one model."""
    import open_clip

    try:
        with quiet_library(), torch.device("meta"), Unfilled(), network.no_network():
            made = open_clip.create_model(model, load_weights=False, pretrained_text=False, device="meta")
    except Exception:  # text towers of other libraries want their config from a hub
        return None
    return int(sum(4 * parameter.numel() for parameter in made.parameters()))


class Latent(nn.Module):
    """CoCa's picture tower, which gives the states of all places beside the picture's vector, which alone is wanted here."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels [n, 3, height, width] to features [n, width]."""
        features: torch.Tensor = self.tower(pixels)[0]
        return features


def create(source: Source, seed: int) -> Any:
    """Build the model and load its weights, in float32, frozen; one clear line where the file does not fit."""
    import open_clip

    file, stretched = local_file(source), []
    try:
        with quiet_library(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            with draw_nothing(file):
                clip = open_clip.create_model(
                    source.library_name,
                    pretrained=None if file else source.weights,
                    load_weights=file is None,
                    force_quick_gelu=source.quick_gelu,
                    force_preprocess_cfg=source.recipe,
                    force_context_length=source.context,
                    pretrained_text=False,
                    require_pretrained=file is None and source.weights is not None,
                )
            if file is not None:
                stretched = load_weights(clip, file, f"backbone: {source.library_name} with the weights {file}")
    except UserError:
        raise
    except Exception as error:  # the library, torch and safetensors raise whatever a broken file leads to
        where = source.weights or source.library_name
        raise UserError(
            f"backbone: {source.library_name} with the weights {where} could not be loaded ({why(error, file)}); give a file "
            "that holds them: backbone.weights=FILE"
        ) from error
    for line in stretched:
        log.warning("%s", line)
    return clip.eval().requires_grad_(False)


def take_image_head(clip: Any, dim: int) -> tuple[nn.Module, int]:
    """Lift the picture tower's projection out as a linear head; where it has none of its own, the head is the identity."""
    visual = clip.visual
    weight = getattr(visual, "proj", None)
    if isinstance(weight, torch.Tensor):
        visual.proj = None
        return linear(weight.detach().T), int(weight.shape[0])
    last = getattr(getattr(visual, "head", None), "proj", None)  # a tower of timm's
    if isinstance(last, nn.Linear):
        visual.head.proj = nn.Identity()
        return last, last.in_features
    return nn.Identity(), dim


def take_text_head(clip: Any, dim: int) -> tuple[nn.Module, int]:
    """The same for the text tower: its head and the width of its trunk."""
    owner = clip.text if hasattr(clip, "text") else clip
    name = "proj" if isinstance(getattr(owner, "proj", None), nn.Module) else "text_projection"
    projection = getattr(owner, name, None)
    if projection is None or isinstance(projection, nn.Identity):
        return nn.Identity(), dim
    if name == "proj":  # a tower of the transformers library
        owner.proj = nn.Identity()
        return projection, next(layer for layer in projection.modules() if isinstance(layer, nn.Linear)).in_features
    owner.text_projection = None
    if isinstance(projection, nn.Linear):
        return projection, projection.in_features
    return linear(projection.detach().T), int(projection.shape[0])


def linear(weight: torch.Tensor) -> nn.Linear:
    """A linear layer without bias holding `weight` [out, in]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.contiguous().clone())
    return layer
