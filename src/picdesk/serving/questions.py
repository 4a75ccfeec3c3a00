"""What one client asks, checked: a text, a picture, or several of both, with how much is to be listed."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from picdesk.errors import UserError, short_repr
from picdesk.readers.queries import Query, bare
from picdesk.retrieval.pieces import WEIGHTS, Piece, as_query, is_weight
from picdesk.retrieval.searcher import Find
from picdesk.serving.server_settings import Limits


class AskError(UserError):
    """A question that cannot be answered: `field` is what is wrong with it, `status` the HTTP status."""

    def __init__(self, field: str, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.field, self.status = field, status


@asynccontextmanager
async def in_time(seconds: float | None, why: str = "") -> AsyncIterator[None]:
    """Within, whatever is waited for takes no longer than `seconds` (None: it may). Raises `AskError` (503), which says `why`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise AskError("request", f"no answer within {seconds:g} s{why}", 503) from None


@dataclass(frozen=True)
class Options:
    """How much is listed, and in what order: `k` items that score `min_score` or more, `weights` of rerankers by name;
    `where` is a filter, `fold` folds look-alikes into the best of them."""

    k: int = 20
    min_score: float | None = None
    weights: tuple[tuple[str, float], ...] = ()
    where: str = ""
    fold: bool = False


@dataclass(frozen=True)
class Question:
    """A text (`query`), one picture, or several pieces of either; one of the first two is None."""

    find: Find
    query: Query | None = None
    pieces: tuple[Piece, ...] = ()
    options: Options = field(default_factory=Options)

    @property
    def name(self) -> str:
        """What a person reads."""
        return str((self.query or as_query(self.pieces)).fields["title"])

    @property
    def key(self) -> str:
        """A digest over all that the answer depends on besides what is searched."""
        told: list[object] = [self.find, self.options]
        if self.query:
            told += [self.query.id, self.query.picture_id, sorted(self.query.fields.items())]
        told += [(one.weight, one.name, one.text, hashlib.sha256(one.picture).digest()) for one in self.pieces]
        return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()


def text_of(given: object, name: str, limits: Limits) -> str:
    """A text as it is asked, without blanks around it. Raises `AskError` for nothing, for too much, and for what is no text."""
    text = str(given).strip()
    if not text:
        raise AskError(name, "empty; give a text, for example 'flood warnings in the north'")
    if len(text) > limits.characters:
        raise AskError(name, f"{len(text):,} characters; at most {limits.characters:,}")
    if "\0" in text:
        raise AskError(name, "holds the character NUL, which is in no text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise AskError(name, "holds half of a character (a lone surrogate)") from None
    return text


def refuse_others(given: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raise `AskError` for a name that nothing is called by: a misspelt option is told, not ignored. `w.RERANKER`, where it is
    `known`, stands for any name after `w.`."""
    for name in given:
        if name not in known and not ("w.RERANKER" in known and name.startswith("w.")):
            raise AskError(short_repr(name, 40).strip("'"), f"no such {what}; there are {', '.join(known)}")


def about_text(
    text: str,
    find: Find,
    options: Options,
    tags: Sequence[str] = (),
    name: str = "q1",
    true: str = "",
) -> Question:
    """A text that finds pictures; or texts, which is asked of the vectors alone."""
    if find == "pictures":
        return Question(find, bare(name, text, tags, true), options=options)
    return Question(find, None, (Piece(1.0, text, text=text),), options)


def about_pieces(pieces: Sequence[Piece], find: Find, options: Options) -> Question:
    """Texts and pictures with weights. Raises `AskError` where none has a weight above 0, or one a weight that is none."""
    if not pieces:
        raise AskError("pieces", "none; give a text or a picture")
    for i, one in enumerate(pieces):
        if not is_weight(one.weight):
            raise AskError(f"pieces[{i}].weight", f"{one.weight:g}: {WEIGHTS}")
    if not any(one.weight > 0 for one in pieces):
        raise AskError("pieces", "one text or picture at least must have a weight above 0")
    only = pieces[0]
    if len(pieces) == 1 and only.text and find == "pictures":
        return about_text(only.text, find, options)
    return Question(find, None, tuple(pieces), options)


def options_of(
    limits: Limits,
    known: Sequence[str],
    usual: int,
    *,
    k: int | None = None,
    min_score: float | None = None,
    weights: Mapping[str, float] | None = None,
    where: str = "",
    fold: bool = False,
) -> Options:
    """Options as a client gives them; `known` are the rerankers. Raises `AskError` naming what cannot be."""
    listed = usual if k is None else k
    if not 1 <= listed <= limits.most:
        raise AskError("top_k", f"{short_repr(listed, 40)}: a whole number from 1 to {limits.most}")
    if min_score is not None and not math.isfinite(min_score):
        raise AskError("min_score", "a finite number")
    for name, weight in (weights or {}).items():
        if name not in known:
            raise AskError(f"weights.{name}", f"no such reranker; this system has {', '.join(known) or 'none'}")
        if not 0 <= weight <= 1:
            raise AskError(f"weights.{name}", f"{weight:g}: a number from 0 to 1")
    if sum((weights or {}).values()) > 1:
        raise AskError("weights", "their sum must be 1 at most")
    return Options(listed, min_score, tuple(sorted((weights or {}).items())), where.strip(), fold)
