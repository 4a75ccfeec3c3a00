"""The nouns of language models: a question, an answer, and who answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from picdesk.errors import ConfigError, check_fraction


@dataclass(frozen=True)
class Question:
    """What is asked: a text, instructions that go before it, pictures (encoded bytes) to look at, and the JSON schema that the
    answer should have, for a server that can hold the model to one. `name` says in lists which question it was."""

    text: str
    system: str = ""
    pictures: tuple[bytes, ...] = ()
    schema: Mapping[str, Any] | None = None
    name: str = ""


@dataclass(frozen=True)
class Answer:
    """What was answered, and how many tokens were read and written."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class LanguageModel(Protocol):
    """Answers one question at a time; `concurrency` threads may ask at once. `answers` is the folder that keeps answers."""

    name: str
    concurrency: int
    answers: str

    def fingerprint(self) -> str:
        """Digest over the model and its settings: with the question, all that an answer depends on."""

    def ask(self, question: Question) -> Answer:
        """The answer. Raises `NoAnswerError` if there is none after all retries, `UserError` where asking on is useless."""


@runtime_checkable
class NamedByEnvironment(Protocol):
    """A language model whose class says what the environment decides of it, before it is built."""

    @staticmethod
    def named_here(values: Mapping[str, Any]) -> dict[str, str]:
        """Of these values of its config those that the environment fills: what somebody else needs to ask the same model, and
        no address or key."""


def check_sampling(temperature: float, top_p: float) -> None:
    """Raise `ConfigError` for a temperature below 0, or a share of the likeliest words that is none."""
    if not temperature >= 0:
        raise ConfigError(f"language_model.temperature={temperature}: 0 or more is needed")
    check_fraction("language_model.top_p", top_p)
