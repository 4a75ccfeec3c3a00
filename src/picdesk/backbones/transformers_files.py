"""What `backbone=transformers` reads out of a folder: model, tokenizer, image processor, and what they do to their input."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.text_trunks import tokenizer_digest
from picdesk.errors import ConfigError, MissingFileError, UserError
from picdesk.files import digest_of
from picdesk.hub import WITH_PICTURES
from picdesk.weights import NO_CODE, from_folder, why

log = logging.getLogger(__name__)
PLACES = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "processor_class")
NEEDED = {
    "image processor": ("preprocessor_config.json", "processor_config.json"),
    "tokenizer": ("tokenizer.json", "vocab.json", "vocab.txt", "*.model"),
}
LOWER_CASED = ("siglip", "siglip2")  # trained on texts in small letters
VISION_PARTS = ("vision_model", "image_model")  # FLAVA has the second
BLIP = "BlipForImageTextRetrieval"
PLAIN_CLIP = 77  # tokens of the published CLIPs
CASED = "A Red Ball, ÉTÉ"
PROBES = ((0, (64, 48)), (255, (48, 64)), (100, (90, 30)))  # plain pictures: their level, their width and height


def load_model(folder: Path, name: str) -> Any:
    """The model in float32, frozen. Raises `UserError` where the folder is not a dual encoder's, or lacks tensors of it."""
    import transformers
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        options: dict[str, Any] = {"local_files_only": True, "dtype": torch.float32, "weights_only": True}
        blip = is_matching_blip(folder)
        kind = transformers.BlipForImageTextRetrieval if blip else transformers.AutoModel
        model = from_folder(kind, folder, f"backbone.model={name}", **options)
        model = BlipPair(model) if blip else model
    except UserError:
        raise
    except Exception as error:  # the library raises whatever a broken file leads to
        raise UserError(f"backbone.model={name} could not be loaded ({why(error)}); wanted: {WITH_PICTURES}") from error
    parts = ("get_image_features", "get_text_features", "text_model")
    if not all(hasattr(model, part) for part in parts) or not any(hasattr(model, part) for part in VISION_PARTS):
        raise ConfigError(
            f"backbone.model={name} is a {model.config.model_type} model; wanted a dual encoder such as CLIP, SigLIP or "
            "ALIGN (a model of another kind: backbone=sentence_transformers)"
        )
    return model.eval().requires_grad_(False)


def load_processors(folder: Path, name: str) -> tuple[Any, Any]:
    """The folder's image processor and tokenizer. Raises `MissingFileError` for lacking files (the library makes some up)."""
    import transformers

    for what, files in NEEDED.items():
        if not any(path for file in files for path in folder.glob(file)):
            raise MissingFileError(f"backbone.model={name} holds no {what} ({' or '.join(files)})")
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(str(folder), **NO_CODE)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **NO_CODE)
        if kind_of(folder) in LOWER_CASED:
            lower_cased(tokenizer)
    except ImportError as error:  # a SigLIP whose tokenizer is a sentencepiece model
        raise UserError(
            f"backbone.model={name}: {why(error, most=80)}; for SigLIP: pip install sentencepiece"
        ) from error
    except Exception as error:
        raise UserError(
            f"backbone.model={name}: its image processor or tokenizer could not be loaded ({why(error)}); "
            f"wanted: {WITH_PICTURES}"
        ) from error
    return processor, tokenizer


def kind_of(folder: Path) -> str:
    """The model type that the folder's config names."""
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(content.get("model_type", "")) if isinstance(content, dict) else ""


def lower_cased(tokenizer: Any) -> None:
    """Let a SigLIP's tokenizer lower the case of what it reads, as in training, where it does not by itself.

    SigLIP's own sentencepiece class lowers case and drops punctuation, and SigLIP 2's own class lowers case; but the published
    SigLIP 2 of fixed resolution name Gemma's tokenizer, which tells capitals apart. So the tokenizer is asked, whatever its
    class, and gets the one step that SigLIP 2's own class adds to Gemma's; one that does it already is left as it is.
    """
    from tokenizers import normalizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.encode(CASED).ids == backend.encode(CASED.lower()).ids:
        return
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def logit_scale_of(model: Any) -> float:
    """The logarithm of the learned multiplier; ALIGN keeps a temperature, its inverse."""
    if hasattr(model, "temperature"):
        return -math.log(float(model.temperature.detach()))
    return float(model.logit_scale.detach())


def context_length(config: Any, tokenizer: Any, kind: str = "") -> int:
    """The most tokens that the text tower reads: its positions, or fewer where the tokenizer says so.

    A CLIP whose positions were stretched (Long-CLIP, Zhang et al. 2024, arXiv 2403.15378: 248) often keeps the tokenizer of the
    plain one, which says 77: its positions are what it was trained with. Where another kind of tower is cut, that is said.
    """
    positions, told = int(config.max_position_embeddings), int(tokenizer.model_max_length)
    if positions <= told or (kind == "clip" and told == PLAIN_CLIP):
        return positions
    log.info(
        "backbone: texts are cut at the %d tokens that the tokenizer tells; the tower has %d places", told, positions
    )
    return told


def cut_to_size(processor: Any, picture: Image.Image) -> NDArray[Any]:
    """One picture resized and cropped, not yet rescaled: uint8 [3, height, width] of a processor of the usual kind."""
    steps: dict[str, Any] = {"do_rescale": False, "do_normalize": False}
    if hasattr(processor, "include_top"):  # EfficientNet's second division, which is part of the normalisation
        steps["include_top"] = False
    return np.asarray(processor(picture, return_tensors="np", **steps)["pixel_values"][0])


def affine_of(processor: Any, name: str) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """What the processor does to the level of a channel, as factor and offset [3, 1, 1], and the shape of its pictures.

    Found by sending plain pictures through it, so that rescaling, offsets, mean and std of every kind of processor are met.
    Raises `ConfigError` where it is not one straight line for each channel, or pictures do not come out in one size.
    """
    values, shapes = [], []
    for level, size in PROBES:
        picture = Image.new("RGB", size, (level,) * 3)
        pixels = cut_to_size(processor, picture)
        done = np.asarray(processor(picture, return_tensors="np")["pixel_values"][0], np.float64)
        shapes.append(list(pixels.shape))
        if pixels.dtype != np.uint8 or len(pixels) != 3 or done.shape != pixels.shape or shapes[0] != shapes[-1]:
            raise ConfigError(
                f"backbone.model={name}: its {type(processor).__name__} does not give pictures of one fixed size; "
                "take it by backbone=sentence_transformers (SigLIP 2 NaFlex), or choose a model of fixed resolution"
            )
        values.append(done.mean((1, 2)))
    factor, offset = (values[1] - values[0]) / 255, values[0]
    if not np.allclose(values[2], factor * PROBES[2][0] + offset, atol=1e-4):
        raise ConfigError(
            f"backbone.model={name}: its {type(processor).__name__} normalises in a way that is not known here"
        )
    lines = torch.tensor(np.stack([factor, offset]), dtype=torch.float32)[:, :, None, None]
    return lines[0], lines[1], shapes[0]


def plain_description(thing: Any) -> dict[str, Any]:
    """A config or processor as plain values, without what says only where it came from."""
    plain: dict[str, Any] = json.loads(json.dumps(thing.to_dict(), default=str))
    return {key: value for key, value in sorted(plain.items()) if key not in PLACES}


def digest_of_tokenizer(tokenizer: Any) -> str:
    """Digest of the tokenizer's content; of a sentencepiece tokenizer, of its vocabulary and settings."""
    if hasattr(tokenizer, "backend_tokenizer"):
        return tokenizer_digest(tokenizer)
    settings = {
        key: str(value) for key, value in tokenizer.init_kwargs.items() if "path" not in key and "file" not in key
    }
    return digest_of([sorted(tokenizer.get_vocab().items()), settings])


def is_matching_blip(folder: Path) -> bool:
    """Whether a folder holds that model, by its config."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return BLIP in (content.get("architectures") or ())
    except (OSError, ValueError, AttributeError):
        return False


class BlipPair(nn.Module):
    """BLIP's matching model as a dual encoder, by the towers that its contrastive loss trained.

    `vision_model`, `visual_projection`, `text_model` and `text_projection`, under the names that other dual encoders have.
    """

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.config = whole.config
        self.vision_model, self.visual_projection = whole.vision_model, whole.vision_proj
        self.text_model, self.text_projection = whole.text_encoder, whole.text_proj
        self.logit_scale = nn.Parameter(torch.tensor(float(whole.config.logit_scale_init_value)))

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """[n, width] of normalised pixels: the first state, projected."""
        features: torch.Tensor = self.visual_projection(
            self.vision_model(pixel_values=pixel_values).last_hidden_state[:, 0]
        )
        return features

    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: torch.Tensor
    ) -> torch.Tensor:
        """[n, width] of tokens: the first state, projected."""
        states = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        features: torch.Tensor = self.text_projection(states[:, 0])
        return features
