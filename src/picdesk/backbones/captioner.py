"""`backbone=captioner`: a picture is the sentence that a captioning model says of it, and sentences are compared.

BLIP (Li et al. 2022, arXiv 2201.12086), ViT-GPT2 or any other image-to-text model of the transformers library writes the caption;
MiniLM (Wang et al. 2020, arXiv 2002.10957) encodes captions and queries alike, so there is nothing to train here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.text_trunks import ReadsByTextTrunk, TextTrunk
from picdesk.backbones.transformers_files import (
    affine_of,
    cut_to_size,
    digest_of_tokenizer,
    kind_of,
    load_processors,
    plain_description,
)
from picdesk.errors import ConfigError, UserError
from picdesk.hub import WITH_PICTURES, folder_of, one_set_of_weights
from picdesk.needs import Need, model_need
from picdesk.parts import config_part
from picdesk.weights import from_folder, why

COSINE_SCALE = 2.66  # ln(1 / 0.07): nothing here is trained with it


@config_part
class Captioner(ReadsByTextTrunk):
    """Captions by `model` (local folder or hub id), sentences by MiniLM-L6 (mean of tokens, 384-d); heads are the identity.

    Captions are made without chance: the best of `num_beams`, at most `max_new_tokens` long. `max_tokens` cuts longer texts.
    Without a `model` there are the captions alone that the data set has: a picture then scores by the best of them.
    """

    compares_captions = True
    trunks_learn = False

    def __init__(
        self,
        model: str | None = "Salesforce/blip-image-captioning-base",
        max_new_tokens: int = 30,
        num_beams: int = 1,
        max_tokens: int = 128,
    ) -> None:
        if min(max_new_tokens, num_beams, max_tokens) < 1:
            raise ConfigError(
                f"backbone.max_new_tokens={max_new_tokens}, num_beams={num_beams}, max_tokens={max_tokens}: at least 1 each"
            )
        text = TextTrunk("minilm_l6", max_tokens)
        writing = {"max_new_tokens": max_new_tokens, "num_beams": num_beams, "do_sample": False}
        loaded = Loaded(model, text, writing) if model is not None else None
        super().__init__(
            name="sentences(minilm-l6)" if loaded is None else f"captioner({model}+minilm-l6)",
            dim=text.width,
            image_trunk=nn.Identity() if loaded is None else loaded.trunk,
            image_head=nn.Identity(),
            text_trunk=text.deferred(),
            text_head=nn.Identity(),
            trunk_dims=(text.width, text.width),
            preprocessing={"image": partial(picture_rule, text, loaded.rule if loaded else {}), "text": text.rule},
            logit_scale=COSINE_SCALE,
        )
        self.by_captions = loaded is None
        self.max_tokens, self._text = max_tokens, text
        self._processor = loaded.processor if loaded else None
        self.register_buffer("factor", loaded.factor if loaded else torch.ones(1), persistent=False)
        self.register_buffer("offset", loaded.offset if loaded else torch.zeros(1), persistent=False)

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The folder or hub id."""
        return (
            [model_need(values["model"], f"{key}.model", one_set_of_weights, WITH_PICTURES)]
            if values.get("model")
            else []
        )

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The image processor's own resize and crop: uint8 [3, height, width]. Raises `ConfigError` without a model."""
        if self._processor is None:
            raise ConfigError(
                "backbone.model=null: no caption can be made for a picture; backbone=captioner backbone.model=FOLDER makes "
                "them, and task=captioner takes those of the data set"
            )
        return cut_to_size(self._processor, picture)

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 pixels through the image processor's own rescaling, mean and std."""
        factor, offset = self.get_buffer("factor"), self.get_buffer("offset")
        return pixels.to(factor.dtype) * factor.to(pixels.device) + offset.to(pixels.device)

    def captions(self, pictures: Sequence[Image.Image]) -> list[str]:
        """What the model says of each picture."""
        pixels = torch.from_numpy(np.stack([self.picture_to_pixels(picture) for picture in pictures]))
        assert isinstance(self.image_trunk, CaptionTrunk)
        with torch.inference_mode():
            return self.image_trunk.say(self.normalise_pixels(pixels.to(self.image_trunk.device)))


class Loaded:
    """A captioning model with what belongs to it, from a local folder or a hub."""

    def __init__(self, model: str, text: TextTrunk, writing: dict[str, Any]) -> None:
        folder = folder_of(model, "backbone.model", one_set_of_weights, WITH_PICTURES)
        writer = load_writer(folder, model)
        self.processor, words = load_processors(folder, model)
        self.factor, self.offset, shape = affine_of(self.processor, model)
        self.trunk = CaptionTrunk(writer, words, text.module(), text.tokenize, writing)
        self.rule: dict[str, Any] = {
            "library": "transformers",
            "config": plain_description(writer.config),
            "generation": plain_description(writer.generation_config) | writing,
            "processor": plain_description(self.processor) | {"class": type(self.processor).__name__, "shape": shape},
            "affine": [self.factor.tolist(), self.offset.tolist()],
            "words": digest_of_tokenizer(words),
        }


def picture_rule(text: TextTrunk, written: Mapping[str, Any]) -> dict[str, Any]:
    """What a picture's features depend on beside the weights: how its caption is written, and how that is read."""
    return {**written, "sentence": text.rule()}


class CaptionTrunk(nn.Module):
    """Pixels to caption to sentence feature."""

    def __init__(self, writer: Any, words: Any, sentence: nn.Module, tokenize: Any, writing: dict[str, Any]) -> None:
        super().__init__()
        self.writer = writer
        self.sentence = copy.deepcopy(sentence)  # its own: the encoder changes the precision of one trunk at a time
        self._words, self._tokenize, self._writing = words, tokenize, writing

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.parameters()).device

    def say(self, pixels: torch.Tensor) -> list[str]:
        """One caption for each of the normalised pictures [n, 3, height, width]."""
        ids = self.writer.generate(pixel_values=pixels, **self._writing)
        return [text.strip() for text in self._words.batch_decode(ids, skip_special_tokens=True)]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels [n, 3, height, width] to features [n, 384]."""
        tokens = {name: tensor.to(pixels.device) for name, tensor in self._tokenize(self.say(pixels)).items()}
        features: torch.Tensor = self.sentence(**tokens)
        return features


def load_writer(folder: Path, name: str) -> Any:
    """The captioning model in float32, frozen. Raises `UserError` where the folder is not one's, or lacks tensors of it."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES as KNOWN
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as WRITERS
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        kind = kind_of(folder)
        if kind in KNOWN and kind not in WRITERS:  # refused by the library too, which imports all that it would take
            raise ValueError(f"a {kind} model writes no captions")
        options: dict[str, Any] = {"local_files_only": True, "dtype": torch.float32, "weights_only": True}
        model = from_folder(transformers.AutoModelForImageTextToText, folder, f"backbone.model={name}", **options)
    except UserError:
        raise
    except Exception as error:  # the library raises whatever a broken file leads to
        raise UserError(
            f"backbone.model={name} could not be loaded as a captioning model ({why(error)}); wanted: {WITH_PICTURES}"
        ) from error
    return model.eval().requires_grad_(False)
