"""Image-text matching: BLIP reads text and picture together and says whether they belong to each other.

Protocol of the BLIP authors' retrieval evaluation (Li et al. 2022, arXiv 2201.12086): text padded to 35 tokens, picture 384
pixels, [ENC] as the first token, score = logit of "match" + cosine of the two towers, over the best candidates of the search.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from picdesk.errors import ConfigError, UserError
from picdesk.files import digest_of, file_digest
from picdesk.hub import folder_of, one_set_of_weights
from picdesk.interfaces import RerankContext
from picdesk.parts import config_part
from picdesk.rerankers.base import Scorer, unscored
from picdesk.trec.runs import Run
from picdesk.weights import from_folder, why

log = logging.getLogger(__name__)
FILES = "config.json, preprocessor_config.json, the tokenizer's files and model.safetensors"
SCORES = ("logit", "probability")


@config_part
class Itm(Scorer):
    """`BlipForImageTextRetrieval` of the transformers library over pairs; `model` is a local folder or a hub id.

    `score` is the match `logit` or its `probability`; `add_similarity` adds the cosine of BLIP's own towers. `first_token`
    replaces the first token of the text before matching, as the published evaluation does (30523, [ENC]); null leaves it as
    the library has it. Each picture is encoded once, and its pairs go through the text side `batch_size` at a time.
    """

    block = 64

    def __init__(
        self,
        model: str = "Salesforce/blip-itm-base-coco",
        score: str = "logit",
        add_similarity: bool = True,
        max_tokens: int = 35,
        picture_size: int = 384,
        first_token: int | None = 30523,
        batch_size: int = 32,
        weight: float = 0.2,
        top_k: int | None = None,
    ) -> None:
        super().__init__(weight, top_k)
        if score not in SCORES:
            raise ConfigError(f"reranker.score={score}: choose one of {', '.join(SCORES)}")
        if min(max_tokens, picture_size, batch_size) < 1:
            raise ConfigError("reranker.max_tokens, picture_size and batch_size must each be at least 1")
        self.model, self.kind, self.add_similarity = model, score, add_similarity
        self.max_tokens, self.picture_size, self.batch_size = max_tokens, picture_size, batch_size
        self.first_token = first_token
        self.folder = folder_of(model, "reranker.model", pick_files, FILES)
        self.counts = {"itm_pictures": 0, "itm_pairs": 0}
        self._cut = False

    def fingerprint(self, context: RerankContext) -> str:
        """The files of the model and every setting that matters."""
        settings = [self.kind, self.add_similarity, self.max_tokens, self.picture_size, self.first_token]
        return digest_of(["itm", self._files, settings])

    def content(self) -> str:
        """The files of the model."""
        return digest_of(["itm", self._files])

    @cached_property
    def _files(self) -> list[str]:
        names = sorted(
            path for path in self.folder.iterdir() if path.suffix in (".json", ".txt", ".safetensors", ".bin")
        )
        return [f"{path.name}:{file_digest(path)}" for path in names]

    @cached_property
    def _parts(self) -> tuple[Any, Any, Any]:
        return load(self.folder, self.model, self.picture_size, self.first_token)

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """One value a pair [queries, depth]."""
        if context.embedder is None or context.pictures.pictures is None:
            return unscored(run)
        model, processor, tokenizer = self._parts
        device = torch.device(context.embedder.device)
        model.to(device)
        scores = unscored(run)
        tokens = tokenizer(
            list(context.texts.texts),
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        self._say_cut(tokenizer, context.texts.texts, tokens["attention_mask"])
        with torch.inference_mode():
            for picture, cells, texts in by_picture(run, context.direction == "t2i"):
                image = context.embedder.decode(context.pictures.pictures.read(picture))
                pixels = processor(images=image, return_tensors="pt")["pixel_values"].to(device)
                seen = model.vision_model(pixel_values=pixels).last_hidden_state
                self.counts["itm_pictures"] += 1
                self.counts["itm_pairs"] += len(texts)
                for at in range(0, len(texts), self.batch_size):
                    rows = torch.from_numpy(texts[at : at + self.batch_size])
                    ids, mask = tokens["input_ids"][rows].to(device), tokens["attention_mask"][rows].to(device)
                    part = cells[at : at + self.batch_size]
                    scores[part[:, 0], part[:, 1]] = self._pairs(model, seen, ids, mask).float().cpu().numpy()
        return scores

    def _say_cut(self, tokenizer: Any, texts: Sequence[str], mask: torch.Tensor) -> None:
        """Say how many texts are longer than `max_tokens`; once. Only a text that fills its row can be."""
        full = [texts[i] for i in torch.nonzero(mask.all(1))[:, 0].tolist()]
        longer = [len(ids) > self.max_tokens for ids in tokenizer(full, verbose=False)["input_ids"]] if full else []
        if any(longer) and not self._cut:
            log.warning(
                "reranker.max_tokens=%d: %d of %d texts are longer than the reranker reads: the rest of each is cut off",
                self.max_tokens,
                sum(longer),
                len(texts),
            )
            self._cut = True

    def _pairs(self, model: Any, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Values [n] of n texts with one picture, whose states are `seen` [1, places, width]."""
        states = seen.expand(len(ids), -1, -1)
        first = ids if self.first_token is None else ids.clone()
        if self.first_token is not None:
            first[:, 0] = self.first_token
        joint = model.text_encoder(
            input_ids=first,
            attention_mask=mask,
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:-1], dtype=torch.long, device=ids.device),
        ).last_hidden_state
        logits = model.itm_head(joint[:, 0, :])
        value = logits[:, 1] if self.kind == "logit" else torch.softmax(logits, dim=1)[:, 1]
        if not self.add_similarity:
            return torch.as_tensor(value)
        alone = model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        text = torch.nn.functional.normalize(model.text_proj(alone[:, 0, :]), dim=-1)
        picture = torch.nn.functional.normalize(model.vision_proj(seen[:, 0, :]), dim=-1)
        return torch.as_tensor(value + text @ picture[0])


def by_picture(run: Run, texts_ask: bool) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Each picture once, with its cells (query, place) in the run [n, 2] and the texts [n] it is paired with."""
    query, place = np.nonzero(run.index >= 0)
    item = run.index[query, place].astype(np.int64)
    pictures, texts = (item, query) if texts_ask else (query, item)
    order = np.argsort(pictures, kind="stable")
    starts = np.flatnonzero(np.diff(pictures[order], prepend=-1))
    for own in np.split(order, starts[1:]) if len(order) else []:
        yield int(pictures[own[0]]), np.stack([query[own], place[own]], axis=1), texts[own].astype(np.int64)


def pick_files(names: Iterable[str]) -> list[str]:
    """Of a repository's files: configs, tokenizer, and one form of the weights."""
    return one_set_of_weights(names, "model*.safetensors", "config.json")


def load(folder: Path, name: str, size: int, first_token: int | None) -> tuple[Any, Any, Any]:
    """Model (float32, frozen), image processor at `size` pixels, tokenizer. Raises `UserError` where something is missing."""
    import transformers
    from transformers.utils import logging as chatter

    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        options: dict[str, Any] = {"local_files_only": True, "dtype": torch.float32, "weights_only": True}
        model = from_folder(transformers.BlipForImageTextRetrieval, folder, f"reranker.model={name}", **options)
        processor = transformers.AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except UserError:
        raise
    except Exception as error:  # the library raises whatever a broken file leads to
        reason = why(error, most=160)
        raise UserError(f"reranker.model={name} could not be loaded ({reason}); wanted: {FILES}") from error
    if model.config.vision_config.image_size != size:
        raise ConfigError(
            f"reranker.picture_size={size}: the model's pictures have {model.config.vision_config.image_size} pixels"
        )
    processor.size = {"height": size, "width": size}
    words = int(model.config.text_config.vocab_size)
    if first_token is not None and not 0 <= first_token < words:
        raise ConfigError(
            f"reranker.first_token={first_token}: the model knows {words} tokens; null leaves the first as it is"
        )
    return model.eval().requires_grad_(False), processor, tokenizer
