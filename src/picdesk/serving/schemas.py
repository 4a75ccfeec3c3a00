"""What the API takes and gives, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def refuse_truth(value: Any) -> Any:
    """Raise `ValueError` for true and false where a number is wanted; Python would take them for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return value


NO_TRUTH = BeforeValidator(refuse_truth)
Count = Annotated[int, NO_TRUTH, Field(ge=1)]
Number = Annotated[float, NO_TRUTH, Field(allow_inf_nan=False)]
Weight = Annotated[float, NO_TRUTH, Field(ge=0, le=1, allow_inf_nan=False)]
Finds = Literal["pictures", "texts"]


class Strict(BaseModel):
    """No unknown keys: a misspelt option is told, not ignored."""

    model_config = ConfigDict(extra="forbid")


class Options(Strict):
    """How much is listed, and in what order."""

    find: Finds = Field("pictures", description="what is looked for")
    top_k: Count | None = Field(None, description="how many are listed")
    min_score: Number | None = Field(None, description="leave out what the search scores less")
    weights: dict[str, Weight] = Field(
        default_factory=dict, description="weights of rerankers by name; the rest as configured"
    )
    filter: str = Field("", max_length=2000, description="a condition on the columns of what is found")
    fold: bool = Field(False, description="fold look-alikes into the best of them, as `alike`")


class Article(Strict):
    """A text with what belongs to it."""

    title: str = Field(description="the headline, or any text")
    tags: list[str] = Field(default_factory=list, max_length=100)
    id: str = Field("", max_length=200)
    picture_id: str = Field("", max_length=1000, description="the true picture, where it is known: its rank is told")


class Search(Options):
    """One text, several, or articles: exactly one of the three."""

    text: str | None = None
    texts: list[str] | None = Field(None, min_length=1)
    articles: list[Article] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def one_of_three(self) -> Search:
        """Exactly one way to ask."""
        given = [name for name in ("text", "texts", "articles") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of text, texts and articles is needed; given: {' and '.join(given) or 'none'}"
            )
        return self


class Part(Strict):
    """A text, a picture of the collection by its id, or a picture's bytes in base64; a weight below 0 takes away."""

    text: str | None = None
    item: str | None = Field(None, description="id of a picture of the collection")
    picture: str | None = Field(None, description="bytes of a picture in base64")
    weight: Number = 1.0

    @model_validator(mode="after")
    def one_of_three(self) -> Part:
        """Exactly one thing."""
        given = [name for name in ("text", "item", "picture") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of text, item and picture is needed; given: {' and '.join(given) or 'none'}")
        return self


class Combined(Options):
    """Several texts and pictures, added up by their weights."""

    pieces: list[Part] = Field(min_length=1, max_length=16)


class Result(BaseModel):
    """One item that was found; `rank` counts from 1, and `alike` are look-alikes that were folded into it."""

    id: str
    score: float
    rank: int
    title: str
    file: str | None = None
    columns: dict[str, str] = {}
    alike: list[Result] = []


class Answer(BaseModel):
    """What was found for one query, best first. `true_rank` is null where the true picture is not among what is listed."""

    query_id: str
    query: str
    encoded_as: str | None = Field(None, description="the text as the encoder read it")
    find: Finds
    true_picture: str | None = None
    true_rank: int | None = None
    fingerprint: str = Field(description="changes with weights, data and index")
    results: list[Result]


class Answers(BaseModel):
    """An answer a query, in the order of the queries."""

    answers: list[Answer]


class ItemFound(BaseModel):
    """What is known of an item. `image` and `thumbnail` are addresses on this server."""

    id: str
    kind: Literal["picture", "text"]
    title: str
    file: str | None = None
    columns: dict[str, str] = {}
    image: str | None = None
    thumbnail: str | None = None


class State(BaseModel):
    """Whether the process is alive, or ready to be asked."""

    status: str


class Info(BaseModel):
    """What is served, and by what it was made."""

    version: str
    source: str
    fingerprint: str
    generation: int
    since: str
    pictures: int | None
    texts: int | None
    index: dict[str, str]
    weights: dict[str, str]
    data: dict[str, str]
    rerankers: dict[str, float]
    columns: list[str]
    folds: bool
    limits: dict[str, float]


class Fault(BaseModel):
    """One thing that is wrong with a request: the field, and what would be right."""

    field: str
    message: str


class Faults(BaseModel):
    """Why a request was refused."""

    errors: list[Fault]


def responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """What else a route may answer, for the schema."""
    return {code: {"model": Faults} for code in codes}
