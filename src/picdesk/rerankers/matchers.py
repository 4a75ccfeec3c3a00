"""The models behind `reranker=itm`: a picture is looked at once, and each of its texts is then read with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from picdesk.errors import ConfigError, UserError
from picdesk.hub import WITH_PICTURES
from picdesk.weights import NO_CODE, from_folder, why


class Matcher:
    """A model that reads texts with a picture. `ids` and `mask` are [n, length], of n texts with one picture."""

    def __init__(self, model: Any, first_token: int | None) -> None:
        self.model, self.first_token = model, first_token

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """States [1, places, width] of one picture."""
        states: torch.Tensor = self.model.vision_model(pixel_values=pixels).last_hidden_state
        return states

    def match(self, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits [n, 2]: no match, match."""
        raise NotImplementedError

    def similarity(self, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Cosine [n] of the picture and each text, by the model's own towers."""
        raise NotImplementedError


class Blip(Matcher):
    """`BlipForImageTextRetrieval`; `first_token` stands in place of the text's first one for matching alone."""

    def match(self, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The text side attends to the picture; its first state is judged."""
        states = seen.expand(len(ids), -1, -1)
        first = ids if self.first_token is None else ids.clone()
        if self.first_token is not None:
            first[:, 0] = self.first_token
        joint = self.model.text_encoder(
            input_ids=first,
            attention_mask=mask,
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:-1], dtype=torch.long, device=ids.device),
        ).last_hidden_state
        logits: torch.Tensor = self.model.itm_head(joint[:, 0, :])
        return logits

    def similarity(self, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """First states, projected."""
        alone = self.model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        text = normalize(self.model.text_proj(alone[:, 0, :]), dim=-1)
        picture = normalize(self.model.vision_proj(seen[:, 0, :]), dim=-1)
        return torch.as_tensor(text @ picture[0])


class Blip2(Matcher):
    """`Blip2ForImageTextRetrieval`: queries that are learned look at the picture, with the text or without it."""

    def match(self, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Queries and text look at the picture together; the mean over the queries is judged."""
        asking = self.model.query_tokens.expand(len(ids), -1, -1)
        there = torch.ones(asking.shape[:-1], dtype=mask.dtype, device=mask.device)
        joint = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=ids, query_embeds=asking),
            query_length=asking.shape[1],
            attention_mask=torch.cat([there, mask], dim=1),
            **self._picture(seen, len(ids)),
        ).last_hidden_state
        logits: torch.Tensor = self.model.itm_head(joint[:, : asking.shape[1]]).mean(dim=1)
        return logits

    def similarity(self, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The query that is nearest to the text."""
        words = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=ids), query_length=0, attention_mask=mask
        ).last_hidden_state
        looked = self.model.qformer(query_embeds=self.model.query_tokens, **self._picture(seen, 1)).last_hidden_state
        picture = normalize(self.model.vision_projection(looked[0]), dim=-1)
        text = normalize(self.model.text_projection(words[:, 0, :]), dim=-1)
        return torch.as_tensor((text @ picture.T).amax(dim=1))

    def _picture(self, seen: torch.Tensor, count: int) -> dict[str, torch.Tensor]:
        states = seen.expand(count, -1, -1)
        there = torch.ones(states.shape[:-1], dtype=torch.long, device=seen.device)
        return {"encoder_hidden_states": states, "encoder_attention_mask": there}


KINDS: dict[str, tuple[type[Matcher], str]] = {
    "blip": (Blip, "BlipForImageTextRetrieval"),
    "blip-2": (Blip2, "Blip2ForImageTextRetrieval"),
}


def load(folder: Path, name: str, size: int, first_token: int | None) -> tuple[Matcher, Any, Any]:
    """Model (float32, frozen), image processor at `size` pixels, tokenizer. Raises `UserError` where something is missing."""
    import transformers
    from transformers.utils import logging as chatter

    kind, library = kind_of(folder, name)
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        options: dict[str, Any] = {"local_files_only": True, "dtype": torch.float32, "weights_only": True}
        model = from_folder(getattr(transformers, library), folder, f"reranker.model={name}", **options)
        processor = transformers.AutoImageProcessor.from_pretrained(str(folder), **NO_CODE)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **NO_CODE)
    except UserError:
        raise
    except Exception as error:  # the library raises whatever a broken file leads to
        reason = why(error, most=160)
        raise UserError(f"reranker.model={name} could not be loaded ({reason}); wanted: {WITH_PICTURES}") from error
    check(model.config, size, first_token, kind)
    processor.size = {"height": size, "width": size}
    return kind(model.eval().requires_grad_(False), first_token), processor, tokenizer


def kind_of(folder: Path, name: str) -> tuple[type[Matcher], str]:
    """Which of the models a folder holds, by its config. Raises `ConfigError` for another one."""
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"reranker.model={name} could not be loaded ({why(error, most=160)}); wanted: {WITH_PICTURES}"
        ) from error
    if told not in KINDS:
        raise ConfigError(f"reranker.model={name} is a {told} model; reranker=itm takes {' or '.join(KINDS)}")
    return KINDS[told]


def check(config: Any, size: int, first_token: int | None, kind: type[Matcher]) -> None:
    """Raise `ConfigError` for a picture size or a first token that the model does not have."""
    if config.vision_config.image_size != size:
        raise ConfigError(
            f"reranker.picture_size={size}: the model's pictures have {config.vision_config.image_size} pixels"
        )
    if first_token is None:
        return
    if kind is not Blip:
        raise ConfigError(f"reranker.first_token={first_token}: BLIP-2 has no such token; give null")
    words = int(config.text_config.vocab_size)
    if not 0 <= first_token < words:
        raise ConfigError(
            f"reranker.first_token={first_token}: the model knows {words} tokens; null leaves the first as it is"
        )
