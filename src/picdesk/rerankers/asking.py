"""Asking a language model many questions: each once ever, several at a time, with counts; answers checked against a schema."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from picdesk.errors import NoAnswerError, UserError, examples
from picdesk.files import digest_of, write_json
from picdesk.language_models import Answer, LanguageModel, Question

log = logging.getLogger(__name__)
AGAIN = "\n\nYour answer must be one JSON object of the form that was asked for, and nothing else."
SPEAK_EVERY = 10.0
HOPELESS = 5  # so many failures in a row: nobody is answering, or no longer


class Asker:
    """Keeps every answer in a file of its own under the model's `answers` folder, named by model, settings, text, pictures.

    `counts` are calls, tokens read and written, answers out of the folder, questions without an answer, and answers that could
    not be used; `unusable` names those questions.
    """

    def __init__(self, model: LanguageModel, what: str) -> None:
        self.model, self.what = model, what
        self.folder = Path(model.answers)
        names = ("calls", "tokens_in", "tokens_out", "cached", "failed", "unparsable")
        self.counts: dict[str, int] = {f"lm_{name}": 0 for name in names}
        self.unusable: list[str] = []

    def texts(self, questions: Sequence[Question]) -> list[str | None]:
        """The answers, in the order of the questions; None where there was none after all attempts."""
        keys = [self._key(question) for question in questions]
        answers = {key: self._read(key) for key in dict.fromkeys(keys)}
        self.counts["lm_cached"] += sum(answer is not None for answer in answers.values())
        todo = {key: question for key, question in zip(keys, questions, strict=True) if answers[key] is None}
        if todo:
            self._ask(todo, answers)
        return [answers[key] for key in keys]

    def objects(self, questions: Sequence[Question], schema: Mapping[str, Any]) -> list[dict[str, Any] | None]:
        """Answers as JSON objects that fit the schema. One that does not is asked again once; then it is None and listed."""
        asked, form = [replace(question, schema=schema) for question in questions], form_of(schema)
        found = [parse_answer(text, form) for text in self.texts(asked)]
        wrong = [i for i, value in enumerate(found) if value is None]
        if wrong:
            again = [replace(asked[i], text=asked[i].text + AGAIN) for i in wrong]
            for i, text in zip(wrong, self.texts(again), strict=True):
                found[i] = parse_answer(text, form)
        lost = [questions[i].name for i in wrong if found[i] is None]
        if lost:
            self.counts["lm_unparsable"] += len(lost)
            self.unusable += lost
            log.warning(
                "%s: %d of %d answers could not be used, also when asked again: %s",
                self.what,
                len(lost),
                len(questions),
                examples(lost),
            )
        return found

    def _ask(self, todo: dict[str, Question], answers: dict[str, str | None]) -> None:
        done, failed, in_a_row, start, said = 0, 0, 0, time.monotonic(), time.monotonic()
        with ThreadPoolExecutor(self.model.concurrency) as pool:
            futures: dict[Future[Answer], str] = {pool.submit(self.model.ask, q): key for key, q in todo.items()}
            try:
                for future in as_completed(futures):
                    key = futures[future]
                    try:
                        answers[key] = self._keep(key, todo[key], future.result())
                        done, in_a_row = done + 1, 0
                    except NoAnswerError as error:
                        failed, in_a_row = failed + 1, in_a_row + 1
                        self.counts["lm_failed"] += 1
                        log.info("%s: %s: %s", self.what, todo[key].name, error)
                        if in_a_row >= HOPELESS:
                            kept = f"; {done} answers are kept" if done else ""
                            told = f"{in_a_row} questions in a row, {error}{kept}"
                            raise UserError(f"language_model={self.model.name}: {told}") from None
                    if time.monotonic() - said > SPEAK_EVERY:
                        said = time.monotonic()
                        left = (said - start) / (done + failed) * (len(todo) - done - failed)
                        log.info("%s: %d of %d answered, about %.0f s left", self.what, done, len(todo), left)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        log.info("%s: %d asked, %d without an answer, %.1f s", self.what, len(todo), failed, time.monotonic() - start)

    def _keep(self, key: str, question: Question, answer: Answer) -> str:
        self.counts["lm_calls"] += 1
        self.counts["lm_tokens_in"] += answer.tokens_in
        self.counts["lm_tokens_out"] += answer.tokens_out
        kept = {"model": self.model.name, "question": question.name, "answer": answer.text}
        write_json(self._path(key), kept | {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out})
        return answer.text

    def _key(self, question: Question) -> str:
        pictures = [hashlib.sha256(data).hexdigest() for data in question.pictures]
        return digest_of([self.model.fingerprint(), question.system, question.text, pictures])

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def _read(self, key: str) -> str | None:
        """A kept answer; a file that cannot be read counts as none."""
        try:
            value = json.loads(self._path(key).read_text(encoding="utf-8"))
            return str(value["answer"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def form_of(schema: Mapping[str, Any]) -> Any:
    """What tells whether a value fits the schema, which is looked at itself once and not with each answer."""
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]

    kind = validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


def parse_answer(text: str | None, form: Any) -> dict[str, Any] | None:
    """The JSON object in the text that fits the form, be there words or fences around it; None if there is none, or if several
    that differ fit, such as the form of the question, said again, and the answer: nobody knows which is meant."""
    decoder, at = json.JSONDecoder(), 0
    found: list[dict[str, Any]] = []
    while text and (at := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
            fits = form.is_valid(value)
        except (json.JSONDecodeError, RecursionError):
            fits = False
        if not fits:
            at += 1
            continue
        found.append(value)
        at = end
    return found[0] if found and all(value == found[0] for value in found) else None
