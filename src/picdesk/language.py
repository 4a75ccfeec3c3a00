"""The nouns of language models: a question, an answer, who answers, and what answers are checked against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Question:
    """What a language model is asked: a text, instructions that go before it, pictures (their encoded bytes) to look at."""

    text: str
    system: str = ""
    pictures: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What it answered, and how many tokens were read and written."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class LanguageModel(Protocol):
    """Answers one question at a time; `concurrency` threads may ask at once."""

    name: str
    concurrency: int

    def fingerprint(self) -> str:
        """Digest over the model and its settings: with the question, all that an answer depends on."""

    def ask(self, question: Question) -> Answer:
        """The answer. Raises `NoAnswerError` if there is none after all retries, `UserError` where asking on is useless."""
