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
from picdesk.serving import api, page
from picdesk.serving.desk import Desk
from picdesk.serving.guard import FAILED, LOCAL, App, Guard, Refusal
from picdesk.serving.questions import AskError

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
    """Errors as JSON that names the fields; as a page for a browser that asked for one."""
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
    return faults(request, 422, [(place(one["loc"]), message(one)) for one in error.errors()[:20]])


async def of_a_route(request: Request, error: Exception) -> Response:
    """No such address, no such method, or not let through."""
    assert isinstance(error, HTTPException)
    field = error.field if isinstance(error, Refusal) else "request"
    said = (
        f"{request.url.path}: no such address; /openapi.json lists them" if error.status_code == 404 else error.detail
    )
    return faults(request, error.status_code, [(field, str(said))], error.headers)


async def of_ours(request: Request, error: Exception) -> Response:
    """A fault of the server: its log has it, the client is told no more than that."""
    return faults(request, 500, [("request", FAILED)])


def place(where: Iterable[int | str]) -> str:
    """Where a fault lies: `articles[2].title`."""
    told = ""
    for part in list(where)[1:]:
        told += f"[{part}]" if isinstance(part, int) else f".{part}" if told else str(part)
    return told or "body"


def message(fault: Any) -> str:
    """What pydantic says of it, without the name of its own exception."""
    return str(fault["msg"]).removeprefix("Value error, ")
