"""The page at `/`: made on the server, whole without JavaScript, and what is shown as JSON and CSV."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import UploadFile

import picdesk
from picdesk.data.sources import has_pictures
from picdesk.errors import short_repr
from picdesk.pages.answers import as_csv
from picdesk.report.content import Item, QueryCard, Ranking
from picdesk.report.page import TEMPLATES, environment_of
from picdesk.retrieval.pieces import Piece
from picdesk.retrieval.searcher import DIRECTION_OF, Find
from picdesk.serving.api import desk_of, finds, join_answers, looked_at, name_of
from picdesk.serving.commands import command_of, plain
from picdesk.serving.desk import Desk
from picdesk.serving.examples import examples_of
from picdesk.serving.filter_columns import example_of
from picdesk.serving.forms import each_once, number, step_of
from picdesk.serving.questions import AskError, Options, Question, about_pieces, about_text, refuse_others, text_of
from picdesk.serving.served import Served

router = APIRouter(include_in_schema=False)
OWN = Path(__file__).parent
STATIC = {
    "style.css": (TEMPLATES / "style.css", "text/css; charset=utf-8"),
    "page.js": (TEMPLATES / "page.js", "text/javascript; charset=utf-8"),
    "desk.css": (OWN / "static" / "desk.css", "text/css; charset=utf-8"),
    "desk.js": (OWN / "static" / "desk.js", "text/javascript; charset=utf-8"),
}
MINUS = -0.5
"""The weight of what is to be left out: at -1 little of a short text's own direction is left."""
KEYS = ("q", "minus", "like", "picture", "find", "top_k", "min_score", "filter", "fold")


@dataclass(frozen=True)
class Asked:
    """What the address asks: `given` is what stands in it and is not empty, `questions` what follows from it."""

    given: Mapping[str, str]
    options: Options
    questions: tuple[Question, ...] = ()
    pictures: Mapping[str, Piece] = field(default_factory=dict)

    def link(self, path: str = "/", **changed: str) -> str:
        """The same question with other values, as an address on this server."""
        kept = {name: value for name, value in {**self.given, **changed}.items() if value}
        return f"{path}?{urlencode(kept)}" if kept else path


@router.get("/", response_class=HTMLResponse)
async def question_page(request: Request) -> Response:
    """The page of a question, or of none."""
    return await page_of(request, each_once(request.query_params))


@router.post("/", response_class=HTMLResponse)
async def picture_page(request: Request) -> Response:
    """The page of a picture that was sent; it is kept in memory for a while, so that its links work."""
    async with request.form(max_files=1, max_fields=30) as form:
        written = {name: value for name, value in each_once(form).items() if isinstance(value, str)}
        given = each_once(request.query_params) | written
        sent = form.get("picture")
        if not isinstance(sent, UploadFile) or not sent.size:
            raise AskError("picture", "choose a picture first")
        data, name = await sent.read(), name_of(sent.filename)
    desk = desk_of(request)
    await looked_at(desk, data, name)
    digest = hashlib.sha256(data).hexdigest()
    desk.uploads.put(digest, name.encode() + b"\0" + data)
    for other in ("q", "minus", "like"):
        given.pop(other, None)
    return await page_of(request, given | {"picture": digest}, Piece(1.0, name, picture=data))


@router.get("/results.json")
async def as_json_file(request: Request) -> Response:
    """What the page shows, as the API gives it."""
    return join_answers(await parts_of(request))


@router.get("/results.csv")
async def as_csv_file(request: Request) -> Response:
    """What the page shows, as a table with the columns of `results.csv`."""
    told = as_csv([card_of(json.loads(part)) for part in await parts_of(request)])
    headers = {"Content-Disposition": 'attachment; filename="results.csv"'}
    return Response(told, media_type="text/csv; charset=utf-8", headers=headers)


async def parts_of(request: Request) -> list[bytes]:
    """The answers to what an address asks; what it names is read in a thread, as a disk may take its time."""
    desk = desk_of(request)
    asked = await desk.beside(asked_of, desk, each_once(request.query_params))
    return await desk.ask_all(asked.questions)


@router.get("/uploads/{digest}")
async def upload(request: Request, digest: str) -> Response:
    """A picture that was sent, as a small JPEG."""
    from picdesk.serving.thumbs import smaller

    piece, desk = upload_of(desk_of(request), digest), desk_of(request)
    made = await desk.beside(smaller, piece.picture, "small", desk.settings.encode.max_pixels)
    return Response(made, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    """Style and script. Their addresses carry a digest, so a browser keeps them."""
    if name not in STATIC:
        raise AskError("request", "no such address", 404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(content_of(name), media_type=STATIC[name][1], headers=headers)


@router.get("/favicon.ico")
async def icon() -> Response:
    """There is none."""
    return Response(status_code=204)


@cache
def content_of(name: str) -> bytes:
    """The bytes of a style or script."""
    return STATIC[name][0].read_bytes()


def static_link(name: str) -> str:
    """The address of a style or script, which changes with its content."""
    return f"/static/{name}?{hashlib.sha256(content_of(name)).hexdigest()[:10]}"


def asked_of(desk: Desk, query: Mapping[str, str], sent: Piece | None = None) -> Asked:
    """What an address asks. Raises `AskError` naming the parameter that cannot be."""
    refuse_others(query, (*KEYS, "w.RERANKER"), "parameter")
    weights = {name: number(f"weight of {name}", value) for name, value in reranker_values(query).items()}
    given = {name: query[name].strip() for name in KEYS if query.get(name, "").strip()}
    given |= {"like": query["like"]} if "like" in given else {}  # an id is what it is
    known = {name: weight for name, weight in weights.items() if weight is not None}
    own = desk.now.weights
    given |= {f"w.{name}": f"{plain(weight)}" for name, weight in known.items() if weight != own.get(name)}
    if given.get("fold") not in (None, "0", "1"):
        raise AskError("fold", f"{short_repr(given['fold'], 40)}: give 1, or leave it out")
    k = number("top_k", given.get("top_k", ""))
    if k is not None and k != int(k):
        raise AskError("top_k", f"{k:g}: a whole number")
    options = desk.options(
        k=None if k is None else int(k),
        min_score=number("min_score", given.get("min_score", "")),
        weights={name: weight for name, weight in known.items() if weight != own.get(name)},
        where=given.get("filter", ""),
        fold=given.get("fold") == "1",
    )
    pieces = pieces_of(desk, given, sent)
    ways: list[Find] = [finds(given["find"])] if "find" in given else [desk.now.first_find]
    if pieces and "find" not in given and "q" not in given and ways == ["pictures"] and can_find_texts(desk.now):
        ways = ["pictures", "texts"]
    if len(pieces) == 1 and pieces[0].text:
        made = tuple(about_text(pieces[0].text, find, options) for find in ways)
    else:
        made = tuple(about_pieces(pieces, find, options) for find in ways) if pieces else ()
    return Asked(given, options, made)


def pieces_of(desk: Desk, given: Mapping[str, str], sent: Piece | None) -> list[Piece]:
    """The texts and pictures of an address."""
    found: list[Piece] = []
    if "q" in given:
        text = text_of(given["q"], "q", desk.limits)
        found.append(Piece(1.0, text, text=text))
    if "like" in given:
        found.append(desk.now.piece_of(given["like"]))
    if "picture" in given:
        found.append(sent or upload_of(desk, given["picture"]))
    if "minus" in given:
        text = text_of(given["minus"], "minus", desk.limits)
        if not found:
            raise AskError("minus", "give a text or a picture too, which it is taken away from")
        found.append(Piece(MINUS, text, text=text))
    return found


def upload_of(desk: Desk, digest: str) -> Piece:
    """A picture that was sent before. Raises `AskError` (404) where it is no longer kept."""
    held = desk.uploads.get(digest)
    if held is None:
        raise AskError("picture", "this picture is no longer kept here; choose it again", 404)
    name, _, data = held.partition(b"\0")
    return Piece(1.0, name.decode(), picture=data)


def can_find_texts(served: Served) -> bool:
    """Whether there are texts to find for a picture; those of a data set need not be encoded yet."""
    if served.opened.encode_ahead is not None:
        return served.has_texts
    try:
        return len(served.gallery("texts")) > 0
    except AskError:
        return False


def reranker_values(query: Mapping[str, str]) -> dict[str, str]:
    """The weights in an address: `w.captions=0.2`."""
    return {name[2:]: value for name, value in query.items() if name.startswith("w.") and value.strip()}


async def page_of(request: Request, query: Mapping[str, str], sent: Piece | None = None) -> Response:
    """The page with the answers to what is asked; texts that are found besides may be late, which is told."""
    desk, served = desk_of(request), desk_of(request).now
    asked = await desk.beside(asked_of, desk, query, sent)
    parts = await asyncio.gather(*(desk.ask(one, served) for one in asked.questions), return_exceptions=True)
    late = [part for part in parts[1:] if isinstance(part, AskError) and part.status == 503]
    shown = []
    for part, question in zip(parts, asked.questions, strict=True):
        if isinstance(part, bytes):
            shown.append(view(served, json.loads(part), question))
        elif part not in late:
            raise part
    return HTMLResponse(render(desk, served, asked=asked, answers=shown, fault=late[0] if late else None))


def view(served: Served, answer: dict[str, Any], question: Question) -> dict[str, Any]:
    """An answer as the template wants it: with addresses, marks and the command that gives the same."""
    true = answer.get("true_picture")
    seen = served.pictures.has_pictures()
    for item in [each for one in answer["results"] for each in (one, *one.get("alike", ()))]:
        item.setdefault("alike", ())
        item["true"] = item["id"] == true
        is_picture = answer["find"] == "pictures"
        item["shown"] = seen and is_picture and item["id"] in served.pictures  # what was added later lies elsewhere
        item["leads"] = item["shown"] or (is_picture and served.system.backbone.knows_given_alone)
    missing = true and true not in {each["id"] for one in answer["results"] for each in (one, *one.get("alike", ()))}
    known = {"true_picture": None, "true_rank": None}
    return {**known, **answer, "missing": bool(missing), "command": command_of(served, question), "seen": seen}


def render(desk: Desk, served: Served, **more: Any) -> str:
    """HTML of the page."""
    known: dict[str, Any] = {
        "served": served,
        "count": len(served.gallery(served.first_find)),
        "both": served.has_texts,
        "rerankers": served.weights,
        "folds": desk.folds.are_known(served),
        "usual": desk.settings.run_depth,
        "most": desk.limits.most,
        "examples": examples_of(desk, served),
        "version": picdesk.__version__,
        "static": static_link,
        "plain": plain,
        "step_of": step_of,
        "address": lambda name: quote(name),
        "has_pictures": served.pictures.collection is not None and has_pictures(served.pictures.collection),
        "fault": None,
        "filters": example_of(served),
    }
    template = environment_of(OWN / "templates").get_template("desk.html.j2")
    return template.render(**(known | more))


def card_of(answer: Mapping[str, Any]) -> QueryCard:
    """An answer as the card that a table is written from."""
    found = tuple(
        Item(
            one["id"], one["title"], "", one["score"], one["rank"], False, one.get("file") or "", details=one["columns"]
        )
        for each in answer["results"]
        for one in (each, *each.get("alike", ()))
    )
    return QueryCard(answer["query_id"], DIRECTION_OF[answer["find"]], (Ranking(found),), text=answer["query"])


def is_wanted(request: Request) -> bool:
    """Whether it is the page that was asked for, by a browser."""
    return request.url.path == "/" and "text/html" in request.headers.get("accept", "")


def refusal_page(request: Request, status: int, told: list[tuple[str, str]], headers: Any) -> Response:
    """The page with what is wrong in place of answers; what was typed stays in the form."""
    desk = desk_of(request)
    given = {name: value for name, value in request.query_params.items() if name in KEYS or name.startswith("w.")}
    asked = Asked({name: value for name, value in given.items() if value}, Options(desk.settings.run_depth))
    said = "; ".join(f"{name}: {what}" for name, what in told)
    return HTMLResponse(render(desk, desk.now, asked=asked, answers=[], fault=said), status, headers)
