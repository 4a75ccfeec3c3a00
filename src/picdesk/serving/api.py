"""The API: JSON in, JSON out. Answers are bytes, made once; the models of `schemas` check what comes and tell what goes."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Annotated, Any, cast
from urllib.parse import quote

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from starlette.convertors import PathConvertor, register_url_convertor

import picdesk
from picdesk.pages.show import details_of
from picdesk.retrieval.pieces import Piece
from picdesk.retrieval.searcher import Find
from picdesk.serving import schemas
from picdesk.serving.desk import Desk
from picdesk.serving.filter_columns import names_of
from picdesk.serving.forms import each_once
from picdesk.serving.questions import AskError, Question, about_pieces, about_text, in_time, refuse_others, text_of
from picdesk.serving.served import Served
from picdesk.serving.thumbs import SIDES, Shown, original


class AnyId(PathConvertor):
    """An id in an address: whatever it holds, slashes and line breaks too."""

    regex = "(?s:.*)"


register_url_convertor("id", AnyId())
router = APIRouter()
JSON = "application/json"
FORM = ("picture", "find", "top_k", "min_score", "filter", "fold")
REFUSED = schemas.responses(400, 401, 403, 408, 413, 415, 422, 429, 503)


def desk_of(request: Request) -> Desk:
    """The desk of the application that was asked."""
    return cast(Desk, request.app.state.desk)


@router.post("/search", response_model=schemas.Answers, responses=REFUSED)
async def search(request: Request, asked: schemas.Search) -> Response:
    """Find pictures (or texts) for one text, several, or articles."""
    desk = desk_of(request)
    return join_answers(await desk.ask_all(questions_of(desk, asked)))


def questions_of(desk: Desk, asked: schemas.Search) -> list[Question]:
    """One question a text. Raises `AskError` naming the text that cannot be asked."""
    limits, options = desk.limits, options_from(desk, asked)
    if asked.articles is not None:
        too_many(len(asked.articles), limits.texts, "articles")
        made = []
        for i, one in enumerate(asked.articles):
            text = text_of(one.title, f"articles[{i}].title", limits)
            tags = [text_of(tag, f"articles[{i}].tags[{j}]", limits) for j, tag in enumerate(one.tags)]
            made.append(about_text(text, asked.find, options, tags, one.id or f"q{i + 1}", one.picture_id))
        return made
    texts = [asked.text] if asked.text is not None else asked.texts or []
    too_many(len(texts), limits.texts, "texts")
    names = ["text"] if asked.text is not None else [f"texts[{i}]" for i in range(len(texts))]
    return [
        about_text(text_of(text, name, limits), asked.find, options, name=f"q{i}")
        for i, (text, name) in enumerate(zip(texts, names, strict=True), 1)
    ]


@router.post("/search/image", response_model=schemas.Answers, responses=REFUSED)
async def search_image(
    request: Request,
    picture: Annotated[UploadFile, File(description="the picture that is asked about")],
    find: Annotated[schemas.Finds, Form()] = "pictures",
    top_k: Annotated[schemas.Count | None, Form()] = None,
    min_score: Annotated[schemas.Number | None, Form()] = None,
    filter: Annotated[str, Form(max_length=2000)] = "",  # noqa: A002
    fold: Annotated[bool, Form()] = False,
) -> Response:
    """Find pictures like a picture, or texts for it."""
    desk = desk_of(request)
    refuse_others(each_once(await request.form()), FORM, "field")
    options = desk.options(k=top_k, min_score=min_score, where=filter, fold=fold)
    piece = await looked_at(desk, await picture.read(), name_of(picture.filename))
    return join_answers([await desk.ask(about_pieces([piece], find, options))])


@router.post("/search/combined", response_model=schemas.Answers, responses=REFUSED)
async def search_combined(request: Request, asked: schemas.Combined) -> Response:
    """Find by several texts and pictures, added up by their weights: minus a word, more like this."""
    desk = desk_of(request)
    served = desk.now
    async with in_time(desk.limits.timeout_s):  # all of them together
        pieces = [await piece_of(desk, served, part, f"pieces[{i}]") for i, part in enumerate(asked.pieces)]
    return join_answers([await desk.ask(about_pieces(pieces, asked.find, options_from(desk, asked)), served)])


async def piece_of(desk: Desk, served: Served, part: schemas.Part, where: str) -> Piece:
    """One piece with its bytes or its text."""
    if part.text is not None:
        text = text_of(part.text, f"{where}.text", desk.limits)
        return Piece(part.weight, text, text=text)
    if part.item is not None:
        try:
            return await desk.beside(served.piece_of, part.item, part.weight)
        except AskError as error:
            if error.field != "id":
                raise
            raise AskError(f"{where}.item", str(error), 422) from None
    try:
        data = base64.b64decode(part.picture or "", validate=True)
    except (binascii.Error, ValueError):
        raise AskError(f"{where}.picture", "not base64") from None
    piece = await looked_at(desk, data, "picture", f"{where}.picture")
    return Piece(part.weight, piece.name, picture=data)


async def looked_at(desk: Desk, data: bytes, name: str, field: str = "picture") -> Piece:
    """A picture that a client sent as `field`, decoded to see that it is one. Raises `AskError`."""
    try:
        await desk.beside(desk.now.look_at, data)
    except AskError as error:
        raise AskError(field if error.field == "picture" else error.field, str(error), error.status) from None
    return Piece(1.0, name, picture=data)


@router.get("/items/{name:id}", response_model=schemas.ItemFound, responses=schemas.responses(401, 404))
async def item(request: Request, name: str) -> dict[str, Any]:
    """What is known of a picture or a text, by its id."""
    served = desk_of(request).now
    find, found = served.item(name)
    kind = "picture" if find == "pictures" else "text"
    own = (served.pictures if find == "pictures" else served.texts).fields(name)
    known = {"id": found.id, "kind": kind, "title": found.text, "columns": details_of(own)}
    if kind == "text":
        return known
    return {**known, "file": found.name, "image": f"/images/{quote(name)}", "thumbnail": f"/thumbs/small/{quote(name)}"}


@router.get("/images/{name:id}", response_class=Response, responses=schemas.responses(401, 404, 415, 503))
async def image(request: Request, name: str) -> Response:
    """A picture as it is stored."""
    desk = desk_of(request)
    return picture_response(request, await desk.beside(original, desk.now, name))


@router.get("/thumbs/{size}/{name:id}", response_class=Response, responses=schemas.responses(401, 404, 415, 503))
async def thumbnail(request: Request, size: str, name: str) -> Response:
    """A picture as JPEG: small (560 pixels) or large (1,600)."""
    desk = desk_of(request)
    if size not in SIDES:
        raise AskError("size", f"{size}: choose one of {', '.join(SIDES)}", 404)
    return picture_response(request, await desk.beside(desk.thumbs.of, desk.now, name, size))


def picture_response(request: Request, picture: Shown) -> Response:
    """A picture for a browser, or that the one it has is still right."""
    headers = {"ETag": picture.tag, "Cache-Control": "private, max-age=3600"}
    headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    if picture.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=picture.kind, headers=headers)


@router.get("/health", response_model=schemas.State)
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "alive"}


@router.get("/ready", response_model=schemas.State, responses={503: {"model": schemas.State}})
async def ready(request: Request) -> Response:
    """It can be asked; 503 once a stop was asked for."""
    stopping = desk_of(request).stopping
    told = b'{"status":"stopping"}' if stopping else b'{"status":"ready"}'
    return Response(told, 503 if stopping else 200, media_type=JSON)


@router.get("/info", response_model=schemas.Info, responses=schemas.responses(401))
async def info(request: Request) -> dict[str, Any]:
    """What is served, and the fingerprints of weights, data and index."""
    desk = desk_of(request)
    return await desk.beside(facts_of, desk, desk.now)


def facts_of(desk: Desk, served: Served) -> dict[str, Any]:
    """What `/info` tells."""
    gallery, limits = served.gallery(served.first_find), desk.limits
    known = served.pictures.collection
    return {
        "version": picdesk.__version__,
        "source": served.opened.searcher.name,
        "fingerprint": served.fingerprint,
        "generation": served.number,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(served.since)),
        "pictures": len(gallery) if served.first_find == "pictures" else None,
        "texts": len(known.text_ids) if known is not None else None,
        "index": {"kind": str(getattr(gallery.index, "kind", "captions")), "fingerprint": gallery.index.fingerprint},
        "weights": served.opened.weights,
        "data": dict(served.data),
        "rerankers": served.weights,
        "columns": names_of(served),
        "folds": desk.folds.are_known(served),
        "limits": {
            "most": limits.most,
            "texts": limits.texts,
            "characters": limits.characters,
            "body_mb": limits.body_mb,
            "pixels": desk.settings.encode.max_pixels,
            "rate": limits.rate,
        },
    }


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Counts for Prometheus."""
    return Response(desk_of(request).counts.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.post("/reload", response_model=schemas.State, responses=schemas.responses(401, 403, 409))
async def reload(request: Request) -> dict[str, str]:
    """Open the index or the checkpoint anew, as it is now. Whatever does not fit is refused, and the old one goes on."""
    try:
        desk = desk_of(request)
        fresh = await desk.workers.do(None, desk.reload)
    except AskError:
        raise
    except Exception as error:
        raise AskError("reload", f"refused, and nothing has changed: {error}", 409) from error
    return {"status": f"generation {fresh.number}"}


def options_from(desk: Desk, asked: schemas.Options) -> Any:
    """The options of a request."""
    weights: Mapping[str, float] = asked.weights
    return desk.options(k=asked.top_k, min_score=asked.min_score, weights=weights, where=asked.filter, fold=asked.fold)


def too_many(count: int, most: int, name: str) -> None:
    """Raise `AskError` (413) for more texts than one request may hold."""
    if count > most:
        raise AskError(name, f"{count}; at most {most} in one request", 413)


def name_of(filename: str | None) -> str:
    """The last part of a file's name, as far as it can be shown."""
    last = (filename or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:120] or "a picture"


def join_answers(parts: list[bytes]) -> Response:
    """Answers that are JSON already, as one."""
    return Response(b'{"answers":[' + b",".join(parts) + b"]}", media_type=JSON)


def finds(name: str) -> Find:
    """What is looked for. Raises `AskError`."""
    if name not in ("pictures", "texts"):
        raise AskError("find", f"{name}: choose pictures or texts")
    return cast(Find, name)
