"""A language model behind an OpenAI-compatible address: vLLM, llama.cpp, or a provider.

The key comes from the environment alone, so that it stands in no config that a job saves.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from picdesk import network
from picdesk.errors import ConfigError, NoAnswerError, UserError, kind_and_line
from picdesk.files import digest_of
from picdesk.language_models import Answer, Question, check_sampling
from picdesk.needs import Need, variable_need
from picdesk.parts import config_part

KINDS = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"GI": "gif", b"RI": "webp"}
LONGEST_WAIT = 60.0
MODEL = "OPENAI_MODEL"


@config_part
class Endpoint:
    """Chat completions of `model` at `base_url` (null: the environment's OPENAI_MODEL and OPENAI_BASE_URL).

    `key_variable` names the environment variable that holds the key; a server without keys needs none. A question is given
    `timeout_s` seconds and, after a time-out, a broken answer, 429 or 5xx, asked again up to `retries` times, with
    `backoff_s` * 2^n seconds between, or as long as the server says. `structured` sends the JSON schema along.
    """

    def __init__(
        self,
        answers: str,
        model: str | None = None,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = 512,
        seed: int | None = 0,
        structured: bool = False,
        timeout_s: float = 120.0,
        retries: int = 4,
        backoff_s: float = 1.0,
        concurrency: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        check_sampling(temperature, top_p)
        if concurrency < 1 or retries < 0 or max_tokens < 1 or not timeout_s > 0 or backoff_s < 0:
            raise ConfigError(
                f"language_model: concurrency={concurrency} and max_tokens={max_tokens} must be at least 1, "
                f"timeout_s={timeout_s:g} more than 0, retries={retries} and backoff_s={backoff_s:g} 0 or more"
            )
        self.answers, self.concurrency = answers, concurrency
        self.name = model or os.environ.get(MODEL, "")
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL", "")
        self.key_variable = key_variable
        self.settings: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        self.settings |= {"seed": seed} if seed is not None else {}
        self.structured, self.timeout_s, self.retries, self.backoff_s = structured, timeout_s, retries, backoff_s
        self._sleep = sleep

    @staticmethod
    def needs(key: str, values: Mapping[str, Any]) -> list[Need]:
        """Address, model and key, each from the config or the environment."""
        found = [] if values.get("base_url") else [variable_need(["OPENAI_BASE_URL"], f"{key}.base_url", "an address")]
        found += [] if values.get("model") else [variable_need([MODEL], f"{key}.model", "the name of a model")]
        variable = str(values.get("key_variable") or "OPENAI_API_KEY")
        return [*found, variable_need([variable], f"{key}.key_variable", "the key of the address")]

    @staticmethod
    def named_here(values: Mapping[str, Any]) -> dict[str, str]:
        """The model, where the environment alone names it."""
        named = os.environ.get(MODEL)
        return {"model": named} if named and not values.get("model") else {}

    def fingerprint(self) -> str:
        """The model's name and the generation settings; not the address, so that a server may move."""
        return digest_of(["endpoint", self._model(), self.settings, self.structured])

    def ask(self, question: Question) -> Answer:
        """One answer, after as many attempts as it takes or are allowed."""
        import openai

        lasting = (openai.BadRequestError, openai.AuthenticationError, openai.PermissionDeniedError)
        reason = ""
        for attempt in range(self.retries + 1):
            try:
                return self._once(question)
            except UserError:
                raise
            except (*lasting, openai.NotFoundError, openai.UnprocessableEntityError) as error:
                place = network.without_password(self.base_url)
                raise UserError(f"language_model: {place} refuses the question ({kind_and_line(error)})") from None
            except (openai.OpenAIError, ValueError) as error:
                reason = kind_and_line(error)
                if attempt < self.retries:
                    self._sleep(self._wait(error, attempt))
        raise NoAnswerError(f"no answer after {self.retries + 1} attempts ({reason})")

    @cached_property
    def _client(self) -> Any:
        from openai import OpenAI

        if not self.base_url:
            raise ConfigError(
                "language_model.base_url is missing: give one, or set OPENAI_BASE_URL (http://HOST:PORT/v1)"
            )
        network.need(f"language_model.base_url={network.without_password(self.base_url)}")
        key = os.environ.get(self.key_variable) or "none"
        if key != "none":
            network.check_secret(self.base_url, "language_model.base_url", self.key_variable)
        return OpenAI(base_url=self.base_url, api_key=key, timeout=self.timeout_s, max_retries=0)

    def _model(self) -> str:
        if not self.name:
            raise ConfigError(
                "language_model.model is missing: give the name that the server knows, or set OPENAI_MODEL"
            )
        return self.name

    def _once(self, question: Question) -> Answer:
        messages: list[dict[str, Any]] = [{"role": "system", "content": question.system}] if question.system else []
        content: Any = question.text
        if question.pictures:
            pictures = [{"type": "image_url", "image_url": {"url": data_url(data)}} for data in question.pictures]
            content = [*pictures, {"type": "text", "text": question.text}]
        messages.append({"role": "user", "content": content})
        extra: dict[str, Any] = {}
        if self.structured and question.schema is not None:
            form = {"name": "answer", "schema": dict(question.schema), "strict": True}
            extra["response_format"] = {"type": "json_schema", "json_schema": form}
        reply = self._client.chat.completions.create(model=self._model(), messages=messages, **self.settings, **extra)
        choices = getattr(reply, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            raise ValueError(f"the server's reply is no chat completion: {str(reply)[:80]!r}")
        usage = getattr(reply, "usage", None)
        counts = [int(getattr(usage, name, 0) or 0) for name in ("prompt_tokens", "completion_tokens")]
        return Answer(str(choices[0].message.content or ""), *counts)

    def _wait(self, error: Exception, attempt: int) -> float:
        """Seconds until the next attempt: what the server asks for, else doubling."""
        headers = getattr(getattr(error, "response", None), "headers", {}) or {}
        try:
            asked = float(headers.get("retry-after", ""))
        except ValueError:
            asked = self.backoff_s * 2.0**attempt
        return float(min(max(asked, 0.0), LONGEST_WAIT))


def data_url(data: bytes) -> str:
    """A picture as it stands in a message."""
    kind = KINDS.get(data[:2], "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
