"""The pages, the metrics and a sign of life as an ASGI app: read-only, and nothing in it reaches outside."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from dashboards.metrics.exposition import CONTENT_TYPE, text_of
from dashboards.metrics.figures import figures
from dashboards.page.render import Page, Site, render
from dashboards.page.routes import page_at
from dashboards.shelf import Shelf
from dashboards.web.settings import WebSettings
from reporting.addresses import is_loopback
from reporting.errors import FunnelgateError, StoreError

LONGEST = 600
"""Characters of an address; the longest of ours names two plans."""
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_LOG = logging.getLogger("funnelgate.web")
_METHODS = ["GET", "HEAD"]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]


def make_app(shelf: Shelf, settings: WebSettings) -> FastAPI:
    """Return the app.

    Args:
        shelf: Gives a desk for each request.
        settings: Who is let in, and of how many days metrics tell.
    """
    app = FastAPI(title="funnelgate", docs_url=None, redoc_url=None, openapi_url=None)

    def metrics() -> Response:
        try:
            return Response(text_of(figures(shelf.serving(), settings.metrics_days)), media_type=CONTENT_TYPE)
        except FunnelgateError as error:
            return PlainTextResponse(f"{error}\n", 503)

    def alive() -> Response:
        try:
            shelf.serving().store.get_plan("")
        except FunnelgateError as error:
            return PlainTextResponse(f"{error}\n", 503)
        return PlainTextResponse("ok\n")

    def page(path: str) -> Response:
        return _page(shelf, path or "index.html")

    app.add_api_route("/metrics", metrics, methods=_METHODS)
    app.add_api_route("/healthz", alive, methods=_METHODS)
    app.add_api_route("/{path:path}", page, methods=_METHODS)
    app.add_exception_handler(404, _no_address)
    app.add_exception_handler(405, _no_such_method)
    app.add_middleware(_Guarded, allow_remote=settings.allow_remote, host=settings.host)
    return app


def _page(shelf: Shelf, path: str) -> Response:
    """Return a page, or one that says why there is none."""
    if len(path) > LONGEST or not path.isprintable():
        return _refused(
            400, "This is no address", f"{len(path)} characters, {path[:LONGEST]!r}: pages have shorter ones"
        )
    try:
        desk = shelf.serving().desk
        found = page_at(desk, path)
        if found is not None:
            return HTMLResponse(render(found, desk.site(live=True)))
    except StoreError as error:
        return _refused(503, "The store cannot be read", str(error), path)
    except FunnelgateError as error:
        return _refused(500, "This page cannot be made", str(error), path)
    return _refused(404, "There is no such page", f"/{path}: no day, plan or incident of this name is known here", path)


def _refused(status: int, title: str, text: str, path: str = "") -> Response:
    """Return a page with an error; what it says is escaped as all text of data is."""
    page = Page(path, "refused.html.j2", title, {"text": text})
    return HTMLResponse(render(page, Site(datetime.now(UTC), lambda _: True)), status)


async def _no_address(request: Request, error: Exception) -> Response:
    """Answer where not even `/{path}` takes the address: there is a line end in it."""
    del error
    return _refused(400, "This is no address", f"{request.url.path[:LONGEST]!r}: pages have none like it")


async def _no_such_method(request: Request, error: Exception) -> Response:
    del error
    text = f"{request.method}: pages are only read here, by GET"
    return PlainTextResponse(text + "\n", 405, headers={"Allow": ", ".join(_METHODS)})


class _Guarded:
    """Puts the headers on every answer, refuses names that are not ours, and answers for faults. Plain ASGI.

    A browser may be told that a stranger's name is 127.0.0.1, and then reads for the stranger what is shown here: where
    only this machine is let in, it must ask by a name of this machine.
    """

    def __init__(self, app: Asgi, *, allow_remote: bool, host: str) -> None:
        self._app, self._allow_remote, self._host = app, allow_remote, host

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def headed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *ours]}
            await send(message)

        try:
            if self._is_ours(dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
                await self._app(scope, receive, headed)
            else:
                text = "this name is not one of this machine; ask 127.0.0.1, or start with --allow-remote"
                await PlainTextResponse(text + "\n", 400)(scope, receive, headed)
        except Exception:
            if begun:
                raise
            _LOG.exception("%s failed", scope["path"][:LONGEST])
            answer = _refused(500, "This page cannot be made", "a fault of funnelgate; its log has the traceback")
            await answer(scope, receive, headed)

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return self._allow_remote or name == self._host or is_loopback(name.strip("[]"))
