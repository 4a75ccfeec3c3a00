"""Captions that a language model writes from a headline: what a picture to it could show, compared with the candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picdesk.collection import Fields, in_words
from picdesk.errors import ConfigError
from picdesk.files import digest_of
from picdesk.interfaces import RerankContext
from picdesk.language_models import LanguageModel, Question
from picdesk.needs import Need, file_need
from picdesk.parts import config_part
from picdesk.rerankers.asking import Asker
from picdesk.rerankers.base import Scorer, no_scores
from picdesk.rerankers.captions import Pairs, check_pooling, read_captions
from picdesk.trec.runs import Run


@config_part
class CaptionWriter:
    """Asks for `count` captions of a text. `question` holds {count} and names of fields such as {title}, {tags} or {text}."""

    def __init__(self, language_model: LanguageModel, question: str, system: str = "", count: int = 3) -> None:
        if count < 1:
            raise ConfigError(f"writing.count={count}: at least 1")
        if not any(f"{{{name}}}" in question for name in ("title", "text", "caption")):
            raise ConfigError("writing.question must hold {title}, {text} or {caption}")
        self.question, self.system, self.count = question.strip(), system.strip(), count
        self.asker = Asker(language_model, "captions")

    def write(self, ids: Sequence[str], fields: Sequence[Fields], texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Captions by id; a text whose answer could not be used has none."""
        questions = [
            Question(self.prompt_for(own, text), self.system, name=name)
            for name, own, text in zip(ids, fields, texts, strict=True)
        ]
        schema = {
            "type": "object",
            "properties": {"captions": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}},
            "required": ["captions"],
        }
        answers = self.asker.objects(questions, schema)
        return {
            name: tuple(caption.strip() for caption in answer["captions"][: self.count])
            for name, answer in zip(ids, answers, strict=True)
            if answer is not None
        }

    def prompt_for(self, fields: Fields, text: str) -> str:
        """The question with the fields filled in; the braces of JSON in it stay as they are."""
        values = {"title": text, "caption": text, "text": text, "tags": ""}
        values |= {name: in_words(own) for name, own in fields.items()}
        question = self.question.replace("{count}", str(self.count))
        for name, value in values.items():
            question = question.replace(f"{{{name}}}", value)
        return question


@config_part
class LlmRewriting(Scorer):
    """Cosine of each candidate picture and the captions of the text, in the space that is searched: their mean, or the highest.

    `file` holds captions by text id, as `retrieve.py task=write_captions` leaves them; a text that is not in it is unscored.
    Without a file `writer` is asked.
    """

    def __init__(
        self,
        writer: CaptionWriter,
        file: str | None = None,
        pooling: str = "mean",
        weight: float = 0.2,
        top_k: int | None = None,
    ) -> None:
        super().__init__(weight, top_k)
        self.writer, self.pooling = writer, check_pooling(pooling)
        self.given = read_captions(file, "reranker.file") if file is not None else None
        self.counts = writer.asker.counts
        self.unusable = writer.asker.unusable

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """The file of captions, where one is named."""
        return [file_need(values["file"], f"{key}.file", "captions by id")] if values.get("file") else []

    def score(self, run: Run, context: RerankContext) -> NDArray[np.float32]:
        """Cosines [queries, depth]."""
        pictures = context.pictures.embeddings
        if context.encode_texts is None or pictures is None:
            return no_scores(run)
        side = context.texts
        wanted = np.arange(len(side.ids)) if context.direction == "t2i" else np.unique(run.index[run.index >= 0])
        known = self.given
        if known is None:
            self.unusable.clear()
            fields = side.fields or tuple({} for _ in side.ids)
            rows = wanted.tolist()
            known = self.writer.write(
                [side.ids[i] for i in rows], [fields[i] for i in rows], [side.texts[i] for i in rows]
            )
        captions = [list(known.get(name, ())) for name in side.ids]
        said = list(dict.fromkeys(caption for own in captions for caption in own))
        if not said:
            return no_scores(run)
        place = {caption: i for i, caption in enumerate(said)}
        table = [np.array([place[caption] for caption in own], np.int64) for own in captions]
        never = np.full((len(pictures.ids), 1), -1, np.int64)
        pairs = Pairs(context.encode_texts(said), table, pictures.matrix, never, self.pooling)
        return pairs.scores(run, context.direction == "i2t")

    def content(self) -> str:
        """The language model and its settings, or else the captions of the file."""
        by = self.writer.asker.model.fingerprint() if self.given is None else sorted(self.given.items())
        return digest_of(["llm_rewriting", by])
