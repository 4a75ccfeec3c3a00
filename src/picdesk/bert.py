"""BERT's encoder and its tokenizer without `transformers`: a sentence encoder is ready before that library is imported.

Source: Devlin et al. 2019, arXiv 1810.04805, section 3. Modules and weights have the names that published files use. Values are
those of `transformers.BertModel`, bit for bit, dropout included (`tests/test_bert.py`).
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from picdesk.errors import UserError
from picdesk.unfilled import DRAWING, Unfilled
from picdesk.weights import misfit

log = logging.getLogger(__name__)
POOLER = "pooler."
"""Weights of the layer over the first token, which sentence encoders do not use."""
Groups = list[tuple[int, int]]
"""Texts that follow each other: how many, and of how many tokens each."""
WANTED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}


def cut_groups(states: torch.Tensor, groups: Groups) -> list[torch.Tensor]:
    """[tokens, width] of texts one after the other as one tensor [n, length, width] a group."""
    parts: list[torch.Tensor] = []
    start = 0
    for n, length in groups:
        parts.append(states[start : start + n * length].view(n, length, -1))
        start += n * length
    return parts


class Embeddings(nn.Module):
    """Sum of word, position and type embeddings, normalised."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, padding = config["hidden_size"], config.get("pad_token_id", 0)
        self.word_embeddings = nn.Embedding(config["vocab_size"], width, padding_idx=padding)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, input_ids: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
        """Ids [n, length] to [n, length, width], all of the first type; `places` are the positions, from 0 on if not given."""
        if places is None:
            places = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0)
        types = self.token_type_embeddings(torch.zeros_like(input_ids))
        normalised = self.LayerNorm(self.word_embeddings(input_ids) + types + self.position_embeddings(places))
        states: torch.Tensor = self.dropout(normalised)
        return states


class SelfAttention(nn.Module):
    """Scaled dot products of queries and keys weigh the values, in several heads."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(config["attention_probs_dropout_prob"])

    def forward(self, states: torch.Tensor, seen: torch.Tensor | None, groups: Groups | None = None) -> torch.Tensor:
        """[n, length, width] to the same; `seen` [n, 1, length, length], None where every place may be looked at.

        With `groups`, [tokens, width] to the same: texts one after the other, each of which looks at itself alone.
        """
        query, key, value = self.query(states), self.key(states), self.value(states)
        if groups is None:
            return self.mix(query, key, value, seen)
        mixed: list[torch.Tensor] = []
        queries, keys, values = cut_groups(query, groups), cut_groups(key, groups), cut_groups(value, groups)
        for i in range(len(groups)):
            mixed.append(self.mix(queries[i], keys[i], values[i], None).flatten(0, 1))
        return torch.cat(mixed)

    def mix(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention over [n, length, width] each."""
        n, length = query.shape[0], query.shape[1]
        query = query.view(n, length, self.heads, -1).transpose(1, 2)
        key = key.view(n, length, self.heads, -1).transpose(1, 2)
        value = value.view(n, length, self.heads, -1).transpose(1, 2)
        rate = self.dropout.p if self.training else 0.0
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, seen, rate)
        return mixed.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """A projection beside what went in, normalised together."""

    def __init__(self, inner: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, config["hidden_size"])
        self.LayerNorm = nn.LayerNorm(config["hidden_size"], eps=config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])

    def forward(self, states: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        """[..., inner] and [..., width] to [..., width]."""
        normalised: torch.Tensor = self.LayerNorm(self.dropout(self.dense(states)) + beside)
        return normalised


class Attention(nn.Module):
    """Attention with its output; `self` is the name in published files."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.add_module("self", SelfAttention(config))
        self.output = Output(config["hidden_size"], config)

    def forward(self, states: torch.Tensor, seen: torch.Tensor | None, groups: Groups | None = None) -> torch.Tensor:
        """[n, length, width], or with `groups` [tokens, width], to the same."""
        mixed: torch.Tensor = self.output(self.self(states, seen, groups), states)  # type: ignore[operator]
        return mixed


class Intermediate(nn.Module):
    """The wider layer between."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.dense = nn.Linear(config["hidden_size"], config["intermediate_size"])

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[..., width] to [..., intermediate width]."""
        return nn.functional.gelu(self.dense(states))


class Layer(nn.Module):
    """One block of the encoder."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config["intermediate_size"], config)

    def forward(self, states: torch.Tensor, seen: torch.Tensor | None, groups: Groups | None = None) -> torch.Tensor:
        """[n, length, width], or with `groups` [tokens, width], to the same."""
        states = self.attention(states, seen, groups)
        mixed: torch.Tensor = self.output(self.intermediate(states), states)
        return mixed


class Layers(nn.Module):
    """The blocks, one after the other."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))

    def forward(self, states: torch.Tensor, seen: torch.Tensor | None, groups: Groups | None = None) -> torch.Tensor:
        """[n, length, width], or with `groups` [tokens, width], to the same."""
        for layer in self.layer:
            states = layer(states, seen, groups)
        return states


class Bert(nn.Module):
    """Token ids to the states of the last block, [n, length, width]."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config)
        self._compiled: list[Any] = []  # in a list, so that it is no module of this one

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """[n, length] ids and mask (1: a token, 0: padding) to [n, length, width]."""
        length, seen = input_ids.shape[1], None
        if torch._C._is_tracing() or not bool(attention_mask.all()):
            seen = attention_mask.bool()[:, None, None, :].expand(-1, 1, length, -1)
        states: torch.Tensor = self.encoder(self.embeddings(input_ids), seen)
        return states

    def __getstate__(self) -> dict[str, Any]:
        """A copy may be of another type, and is compiled anew."""
        return {**self.__dict__, "_compiled": []}

    def packed(self, input_ids: torch.Tensor, groups: Groups) -> torch.Tensor:
        """Ids [tokens] of texts one after the other, without padding, to [tokens, width]: all rows in one product a layer.

        `groups` say how many texts of how many tokens there are, in turn.
        """
        places = torch.cat([torch.arange(length, device=input_ids.device).repeat(n) for n, length in groups])
        if not self._compiled:
            self._compiled.append(compile_module(self.encoder))
        # as it is written: lengths and counts are others each time
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            states: torch.Tensor = self._compiled[0](self.embeddings(input_ids, places), None, groups)
        return states


def compile_module(module: nn.Module) -> Any:
    """The same for TorchScript, which holds Python's lock for none of its operators; itself where torch has that no more.

    Without it a pass asks for the lock some five hundred times, beside threads that make answers: a tenth fewer answers a second.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated, and what is to stand for it compiles each length anew
            return torch.jit.script(module)
    except Exception as error:
        log.debug("not compiled: %s", error)
        return module


def load_bert(folder: Path) -> Bert:
    """The encoder of a published folder: `config.json`, `model.safetensors`.

    Raises `UserError` where it is another model or lacks weights.
    """
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    other = [f"{key}={config[key]}" for key, value in WANTED.items() if config.get(key, value) != value]
    if other:
        raise UserError(f"{folder / 'config.json'}: {', '.join(other)}; wanted {WANTED}")
    with Unfilled(DRAWING):  # not on the meta device, which takes a second to import
        made = Bert(config)
    weights = {name: value for name, value in load_file(folder / "model.safetensors").items() if POOLER not in name}
    weights.pop("embeddings.position_ids", None)
    report = made.load_state_dict(weights, strict=False, assign=True)
    if report.missing_keys or report.unexpected_keys:
        wanted = "config.json and weights must be of one model"
        raise misfit(str(folder), report.missing_keys, report.unexpected_keys, [], wanted)
    return made


class WordPieces:
    """The tokenizer of a published folder (`tokenizer.json`, `special_tokens_map.json`), called as those of `transformers` are.

    Ids are those of `transformers.BertTokenizer`.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self.backend_tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        named = json.loads((folder / "special_tokens_map.json").read_text(encoding="utf-8"))
        special: dict[str, Any] = {name: self.backend_tokenizer.token_to_id(own) for name, own in named.items()}
        self.pad_token_id, self.unk_token_id = int(special["pad_token"]), int(special["unk_token"])
        self.all_special_ids = list(special.values())

    def __call__(
        self,
        texts: Sequence[str],
        padding: bool = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> dict[str, Any]:
        """`input_ids` and `attention_mask` of each text: lists, or with `return_tensors` int64 [n, longest]."""
        library = self.backend_tokenizer
        library.enable_truncation(max_length) if truncation and max_length else library.no_truncation()
        library.enable_padding(pad_id=self.pad_token_id) if padding else library.no_padding()
        found = library.encode_batch(list(texts))
        made = {"input_ids": [one.ids for one in found], "attention_mask": [one.attention_mask for one in found]}
        return {name: torch.tensor(rows) for name, rows in made.items()} if return_tensors else made
