"""`backbone=sentence_transformers`: any model of that library that embeds both texts and pictures, by folder or hub id.

CLIP, SigLIP 2 (of any resolution, NaFlex too), EmbeddingGemma 2, Qwen3-VL-Embedding, Jina's and Nomic's models: the library knows
their pooling, prompts, chat templates and picture sizes. What goes in and out here is what its `encode_query` and
`encode_document` give, except that a text tower which reads padding is given texts filled up to its context, as it was trained.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from picdesk.backbones.model_prompts import ALL_PROMPTS, Prompts, Role, read_prompts, role_of
from picdesk.backbones.tokens import FILLED, flags_of, indifferent
from picdesk.backbones.transformers_files import LOWER_CASED, lower_cased
from picdesk.backbones.two_tower import TwoTower
from picdesk.errors import ConfigError
from picdesk.hub import code_beyond, folder_of
from picdesk.interfaces import Direction, Modality
from picdesk.needs import Need, model_need
from picdesk.packed import pack, unpack
from picdesk.parts import config_part
from picdesk.sentence_models import FILES, digest_of_folder, load, pick_files

log = logging.getLogger(__name__)
COSINE_SCALE = 4.6052  # ln 100: the library's models keep no scale
WORD = "a"
GREY = Image.new("RGB", (64, 64), "grey")
Tokens = dict[str, torch.Tensor]


@config_part
class SentenceTransformers(TwoTower):
    """A `SentenceTransformer` for texts and pictures; heads are the identity.

    `model` is a local folder or a hub id. `prompts` are put before texts that ask (`query`) and that are found (`document`), and
    told with pictures (`query_picture`, `document_picture`) where the model has a way to tell; null is the model's own. `dim`
    keeps the first numbers of each vector (null: all). Code out of the folder runs only with `allow_code`.
    """

    trunks_learn = False

    def __init__(
        self,
        model: str,
        dim: int | None = None,
        prompts: Mapping[str, str | None] | None = None,
        allow_code: bool = False,
        max_tokens: int | None = None,
    ) -> None:
        folder = folder_of(model, "backbone.model", pick_files, FILES)
        library = load("SentenceTransformer", folder, f"backbone.model={model}", allow_code)
        check_modalities(library, model)
        library.max_seq_length = context_of(library, max_tokens)
        kind = str(getattr(library.config, "model_type", ""))
        if kind in LOWER_CASED:
            lower_cased(library.tokenizer)
        told = read_prompts(prompts, ALL_PROMPTS, own_prompts(library))
        reader = Reader(library, told.of("text", "t2i"), role_of("text", "t2i"))
        text = TextTrunk(library, reader)
        reader.fill = not indifferent(text, lambda texts, rule: reader.tokens(texts, rule, FILLED))
        image = ImageTrunk(library, told.of("image", "t2i"), role_of("image", "t2i"))
        with torch.inference_mode():
            image.one_by_one = len(image(**pack([np.asarray(GREY)] * 2))) != 2
            widths = [
                int(found.shape[1]) for found in (image(**pack([np.asarray(GREY)])), text(**reader.tokens(["a"])))
            ]
        rule: dict[str, Any] = {"library": "sentence_transformers", "folder": digest_of_folder(folder)}
        if beyond := code_beyond(folder, (*library.modules(), library.config, library.tokenizer)):
            rule["code beyond"] = beyond
        context = {"max_tokens": library.max_seq_length, "filled": reader.fill, "lower": kind in LOWER_CASED}
        super().__init__(
            name=f"sentence_transformers({model})",
            dim=widths[1],
            image_trunk=image,
            image_head=nn.Identity(),
            text_trunk=text,
            text_head=nn.Identity(),
            trunk_dims=(widths[0], widths[1]),
            preprocessing={"image": rule, "text": rule | context},
            logit_scale=COSINE_SCALE,
            shorter=dim,
            prompts=told,
        )
        self._library, self._by_role = (library,), by_role(library)  # in a tuple: the trunks own it
        self.reads_padding = reader.fill

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The folder or hub id."""
        return [model_need(values["model"], f"{key}.model", pick_files, FILES)]

    @property
    def turns(self) -> bool:
        """Whether prompts differ, or the model itself treats queries and documents differently."""
        return self.prompts.differ or self._by_role

    def facing(self, direction: Direction) -> Self:
        """As for all backbones; the trunks, which preprocess, are told the prompt and the role."""
        turned = super().facing(direction)
        if turned is not self:
            for modality in ("image", "text"):
                trunk = copy.copy(self.trunk(modality))
                assert isinstance(trunk, Side)
                trunk.face(self.prompts.of(modality, direction), role_of(modality, direction))
                turned._modules[f"{modality}_trunk"] = trunk
        return turned

    def role_parts(self, modality: Modality) -> dict[str, Any]:
        """The prompt, and the role where the model looks at it."""
        role = {"role": role_of(modality, self.direction)} if self._by_role else {}
        return super().role_parts(modality) | role

    def picture_to_pixels(self, picture: Image.Image) -> NDArray[Any]:
        """The picture as it is, uint8 [height, width, 3]: the model's own processor stands in the trunk."""
        return np.asarray(picture)

    def picture_inputs(self, pictures: Sequence[NDArray[Any]]) -> Tokens:
        """`pictures` and `sizes`, of any sizes."""
        return pack(pictures)

    def normalise_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Nothing: the trunk does it."""
        return pixels

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """What the library makes of the texts and their prompt, [n, longest], padding at the end."""
        return self._reader.tokens(list(texts))

    @property
    def context(self) -> int:
        """The most tokens of a text that are read, prompt and chat template included."""
        return int(self._library[0].max_seq_length)

    def text_flags(self, texts: Sequence[str]) -> NDArray[np.uint8] | None:
        """What is cut, and what is unknown, by the tokenizer."""
        tokenizer = self._library[0].tokenizer
        if tokenizer is None:
            return None
        around = self._reader.tokens([WORD], "longest")["input_ids"].shape[1] - len(tokenizer(WORD)["input_ids"])
        return flags_of(tokenizer, texts, self.context - max(around, 0))

    @property
    def _reader(self) -> Reader:
        trunk = self.text_trunk
        assert isinstance(trunk, TextTrunk)
        return trunk.reader


class Reader:
    """Texts to the library's tensors, each [n, length], with the padding at the end; what else it gives is in `constants`."""

    def __init__(self, library: Any, prompt: str, role: Role) -> None:
        self.library, self.prompt, self.role = library, prompt, role
        self.fill = False
        self.constants: dict[str, Any] = {}

    def tokens(self, texts: list[str], rule: str = "", most: int | None = None) -> Tokens:
        """The tensors of the texts. Raises `ConfigError` for a model that does not give one row a text."""
        rule = rule or ("max_length" if self.fill else "longest")
        longest = min(most or self.library.max_seq_length, self.library.max_seq_length)
        padding: dict[str, Any] = {"padding": rule} | ({"max_length": longest} if rule == "max_length" else {})
        made = self.library.preprocess(texts, prompt=self.prompt, task=self.role, processing_kwargs={"text": padding})
        tensors = {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}
        if any(value.ndim != 2 or len(value) != len(texts) for value in tensors.values()):
            raise ConfigError("backbone=sentence_transformers: a model that does not read a row of tokens a text")
        self.constants = {name: value for name, value in made.items() if name not in tensors}
        mask = tensors.get("attention_mask")
        return tensors if mask is None else {name: shift_padding(value, mask, -1) for name, value in tensors.items()}


class Side(nn.Module):
    """One side of the library's model, shared by both, with the prompt and the role that it has."""

    def __init__(self, library: Any, prompt: str, role: Role) -> None:
        super().__init__()
        self.library, self.prompt, self.role = library, prompt, role

    def run(self, features: Mapping[str, Any]) -> torch.Tensor:
        """The library's embeddings [n, width] of what it preprocessed, on the device and in the precision of its weights."""
        weight = next(self.library.parameters())
        ready = {name: move_to_weight(value, weight) for name, value in features.items()}
        found: torch.Tensor = self.library(ready, task=self.role)["sentence_embedding"]
        return found

    def face(self, prompt: str, role: Role) -> None:
        """Take another prompt and role."""
        self.prompt, self.role = prompt, role


class ImageTrunk(Side):
    """Pictures of any size through the model's own processor."""

    on_host = True
    """Its inputs stay where they are: the processor reads pictures in main memory."""
    one_by_one = False
    """Whether the processor takes several pictures for those of one item (EmbeddingGemma 2's does without a chat template)."""

    def forward(self, pictures: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """`pack`ed pictures to features [n, width]."""
        opened = unpack(pictures, sizes)
        groups = [[picture] for picture in opened] if self.one_by_one else [opened]
        return torch.cat([self.run(self.library.preprocess(g, prompt=self.prompt, task=self.role)) for g in groups])


class TextTrunk(Side):
    """Texts as `Reader` gives them."""

    def __init__(self, library: Any, reader: Reader) -> None:
        super().__init__(library, reader.prompt, reader.role)
        self.reader = reader

    def forward(self, **tokens: torch.Tensor) -> torch.Tensor:
        """The library's tensors [n, length], padding at the end, to features [n, width]."""
        mask = tokens.get("attention_mask")
        if mask is not None and getattr(self.library.tokenizer, "padding_side", "right") == "left":
            tokens = {name: shift_padding(value, mask, 1) for name, value in tokens.items()}
        return self.run(tokens | self.reader.constants)

    def face(self, prompt: str, role: Role) -> None:
        """Take another prompt and role, in a reader of its own."""
        self.prompt, self.role = prompt, role
        self.reader = copy.copy(self.reader)
        self.reader.prompt, self.reader.role = prompt, role
        self.reader.tokens(["a"])  # sets what goes with every text of this prompt


def shift_padding(rows: torch.Tensor, mask: torch.Tensor, way: int) -> torch.Tensor:
    """Rows [n, length] with their padding moved to the end (`way` -1) or to the beginning (1); the tokens keep their order."""
    order = torch.argsort(mask.bool().int() * way, dim=1, stable=True)
    return torch.gather(rows, 1, order)


def move_to_weight(value: Any, weight: torch.Tensor) -> Any:
    """A tensor on the device of the weight, floats in its precision; anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(weight.device, weight.dtype) if value.is_floating_point() else value.to(weight.device)


def context_of(library: Any, max_tokens: int | None) -> int:
    """The most tokens of a text: as the library says, no more than the text tower has places, no more than is asked for."""
    if max_tokens is not None and max_tokens < 1:
        raise ConfigError(f"backbone.max_tokens={max_tokens}: at least 1 is needed")
    inner = getattr(library.config, "text_config", library.config)
    known = [library.max_seq_length, getattr(inner, "max_position_embeddings", None), max_tokens]
    return int(min([int(one) for one in known if one], default=512))


def own_prompts(library: Any) -> Prompts:
    """The prompts that `encode_query` and `encode_document` of the library take by themselves, for texts and for pictures."""
    default = library.prompts.get(library.default_prompt_name, "") if library.default_prompt_name else ""
    query, document = (str(library.prompts.get(name, default) or "") for name in ("query", "document"))
    return Prompts(query, document, query, document)


def by_role(library: Any) -> bool:
    """Whether the model itself treats queries and documents differently: towers, lengths or a chat template of their own."""
    first = library[0]
    lengths = getattr(first, "query_length", None) != getattr(first, "document_length", None)
    return bool(lengths or type(first).__name__ == "Router" or getattr(first, "_chat_template_declares_task", bool)())


def check_modalities(library: Any, model: str) -> None:
    """Raise `ConfigError` for a model that does not embed both texts and pictures."""
    lacking = [name for name in ("text", "image") if not library.supports(name)]
    if lacking:
        has = ", ".join(str(name) for name in library.modalities)
        raise ConfigError(
            f"backbone.model={model} embeds {has} alone; wanted a model for text and image "
            "(texts alone: reranker=captions, backbone=sentences)"
        )
