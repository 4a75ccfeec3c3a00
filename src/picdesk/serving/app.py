"""The application: the routes of the API and the page, what an error looks like, and the guard before all of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import picdesk
from picdesk.errors import readable, short_repr
from picdesk.serving import api, page
from picdesk.serving.desk import Desk
from picdesk.serving.guard import FAILED, LOCAL, App, Guard, Refusal
from picdesk.serving.questions import AskError

UNREADABLE = "There was an error parsing the body"
"""What FastAPI says of a body that its parser of JSON fails at in another way than by finding a mistake in it."""
NO_JSON, FORMS = "json_invalid", ("multipart/form-data", "application/x-www-form-urlencoded")
log = logging.getLogger(__name__)


def application(desk: Desk, token: str | None = None, names: Iterable[str] | None = LOCAL) -> App:
    """What a server runs. `names` are those it may be called by, None for any."""
    app = FastAPI(
        title="picdesk",
        version=picdesk.__version__,
        description="Find the pictures for a text, the texts for a picture, and pictures like a picture.",
        docs_url=None,  # its page asks a foreign address for its scripts
        redoc_url=None,
        redirect_slashes=False,  # a redirection says nothing to a client that follows none
    )
    app.state.desk = desk
    app.include_router(api.router)
    app.include_router(page.router)
    app.add_exception_handler(AskError, of_a_question)
    app.add_exception_handler(RequestValidationError, of_a_form)
    app.add_exception_handler(HTTPException, of_a_route)
    app.add_exception_handler(Exception, of_ours)
    known = None if names is None else frozenset(name.lower() for name in names)
    return Guard(app, desk, token.encode() if token else None, known)


def faults(request: Request, status: int, told: list[tuple[str, str]], headers: Any = None) -> Response:
    """Errors as JSON that names the fields; as a page for a browser that asked for one. They may quote half of a character."""
    told = [(readable(field), readable(message)) for field, message in told]
    if page.is_wanted(request):
        return page.refusal_page(request, status, told, headers)
    body = {"errors": [{"field": field, "message": message} for field, message in told]}
    return JSONResponse(body, status, headers)


async def of_a_question(request: Request, error: Exception) -> Response:
    """A question that cannot be answered."""
    assert isinstance(error, AskError)
    headers = {"Retry-After": "1"} if error.status == 503 else None
    return faults(request, error.status, [(error.field, str(error))], headers)


async def of_a_form(request: Request, error: Exception) -> Response:
    """A body or a parameter of the wrong form."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()[:20]
    kind = request.headers.get("content-type", "")
    if isinstance(error.body, bytes) and any(one["loc"] == ("body",) for one in found):
        return faults(request, 415, [("Content-Type", f"{short_repr(kind, 80)}: application/json is wanted")])
    if any(one["type"] == "missing" for one in found) and takes_form(request) and not kind.startswith(FORMS):
        return faults(request, 415, [("Content-Type", f"{short_repr(kind, 80)}: multipart/form-data is wanted")])
    return faults(request, 422, [(place(one), message(one)) for one in found])


async def of_a_route(request: Request, error: Exception) -> Response:
    """No such address, no such method, or not let through."""
    assert isinstance(error, HTTPException)
    field, said = (error.field if isinstance(error, Refusal) else "request"), error.detail
    if error.status_code == 404:
        said = f"{request.url.path}: no such address; /openapi.json lists them"
    elif error.detail == UNREADABLE:
        return unreadable(request, error.__cause__)
    return faults(request, error.status_code, [(field, str(said))], error.headers)


def unreadable(request: Request, why: BaseException | None) -> Response:
    """What is wrong with a body that cannot be read as JSON at all, nor as the mistake of somebody who wrote some."""
    packed = request.headers.get("content-encoding", "identity")
    if packed != "identity":
        return faults(request, 415, [("Content-Encoding", f"{short_repr(packed, 40)}: a body is sent as it is")])
    if isinstance(why, UnicodeError):
        return faults(request, 400, [("body", "not in UTF-8, which JSON is in, whatever charset its type names")])
    return faults(request, 400, [("body", "no JSON that can be read: nested too deep, or a number of too many digits")])


async def of_ours(request: Request, error: Exception) -> Response:
    """A fault of the server: its log has it, the client is told no more than that."""
    return faults(request, 500, [("request", FAILED)])


def takes_form(request: Request) -> bool:
    """Whether the route that was asked reads a form."""
    return request.url.path == "/search/image"


def place(fault: Any) -> str:
    """Where a fault lies: `articles[2].title`."""
    told, where = "", list(fault["loc"])[1:]
    for part in where if fault["type"] != NO_JSON else ():
        told += f"[{part}]" if isinstance(part, int) else f".{part}" if told else str(part)
    return told or "body"


def message(fault: Any) -> str:
    """What pydantic says of it, after the value where it is one, without the name of its own exception."""
    if fault["type"] == NO_JSON:
        return f"no JSON at character {fault['loc'][-1]}: {fault['ctx']['error']}"
    if fault["type"] == "value_error" and fault["loc"] == ("body", "picture"):
        return "a file is wanted, with a filename"
    said, value = str(fault["msg"]).removeprefix("Value error, "), fault.get("input")
    is_value = isinstance(value, str | int | float) and fault["type"] not in ("extra_forbidden", "value_error")
    return f"{short_repr(value, 80)}: {said}" if is_value else said
