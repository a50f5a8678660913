"""The server as an ASGI app: addresses, keys, counting and errors around a holder of generations.

It starts no threads but its own pool and reads no pointer: whoever runs it calls `Holder.refresh` (see `poller.py`).
"""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from pipeline.release.withheld import WithheldList
from pipeline.serve.admission import Admission
from pipeline.serve.feedback import FeedbackStore
from pipeline.serve.holder import Holder
from pipeline.serve.prom import Metrics
from pipeline.serve.refusal import Refusal
from pipeline.serve.routes import Serving, refused, router
from pipeline.serve.searching import Searcher
from pipeline.serve.serve_settings import ServeSettings, api_keys
from pipeline.version import code_version
from reporting.errors import FunnelgateError

_OPEN = ("/healthz", "/readyz")  # a load balancer has no key
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]


def make_app(holder: Holder, settings: ServeSettings, withheld: Callable[[], WithheldList]) -> FastAPI:
    """Return the app; for one event loop.

    Args:
        holder: Of the generations; who calls its `refresh` is not our business.
        settings: Limits, keys, and the folder of feedback (absolute, or relative to where the process runs).
        withheld: Returns the takedowns as of now; asked with every search.

    Raises:
        ConfigError: The API keys cannot be read.
    """
    metrics = Metrics()
    admission = Admission(
        settings.threads,
        settings.queue,
        settings.time_limit_seconds,
        bodies=settings.bodies,
        body_bytes=max(settings.body_bytes, 2 * settings.max_bytes),
        cut_off=lambda where: metrics.cut_off.labels(where).inc(),
    )
    metrics.observe(admission, holder.status, withheld)
    serving = Serving(
        holder=holder,
        settings=settings,
        withheld=withheld,
        searcher=Searcher(holder, settings, withheld),
        admission=admission,
        metrics=metrics,
        feedback=None if settings.feedback is None else FeedbackStore(settings.feedback, settings.feedback_max_bytes),
        keys=api_keys(settings),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        admission.close()

    app = FastAPI(
        title="funnelgate", version=code_version(), docs_url=None, redoc_url=None, lifespan=lifespan
    )  # its pages of documentation would load scripts from elsewhere
    app.state.serving = serving
    app.include_router(router)
    for kind in (Refusal, FunnelgateError):
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(RequestValidationError, _bad_address)
    for status in (404, 405):
        app.add_exception_handler(status, _no_such_address)
    app.add_middleware(_Guarded, serving=serving)
    return app


def _bad_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
    return refused(request, Refusal(422, "bad_value", found=found, expected="see /openapi.json", do="mend the address"))


def _no_such_address(request: Request, error: Exception) -> Response:
    found = f"{request.method} {request.url.path[:80]}"
    headers = getattr(error, "headers", None)  # Allow, with 405
    status, word = (405, "no_such_method") if headers else (404, "no_such_address")
    refusal = Refusal(
        status, word, found=found, expected="an address of /openapi.json", do="mend the address or the method",
        headers=headers,
    )  # fmt: skip
    return refused(request, refusal)


class _Guarded:
    """Counts every request, lets in those that bring a key, and answers for faults. Plain ASGI: nothing is buffered.

    An exception that left the app would close the line under the client's next request.
    """

    def __init__(self, app: Asgi, serving: Serving) -> None:
        self._app, self._serving = app, serving

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._may_enter(scope):
                await self._app(scope, receive, watched)
            else:
                await _unauthorised(self._serving)(scope, receive, watched)
        except Exception as error:  # logged, counted and answered by `refused`
            if status is not None:
                raise
            await refused(Request(scope), error)(scope, receive, watched)
        finally:
            self._serving.metrics.count(scope["path"], status or 500, time.perf_counter() - started)

    def _may_enter(self, scope: Message) -> bool:
        keys = self._serving.keys
        if not keys or scope["path"] in _OPEN:
            return True
        headers = dict(scope["headers"])
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        given = bearer.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        # every key is compared, so that the time says nothing about which one is near
        return sum(hmac.compare_digest(given, key.encode()) for key in keys) > 0


def _unauthorised(serving: Serving) -> JSONResponse:
    serving.metrics.refused.labels("no_key").inc()
    refusal = Refusal(
        401, "no_key", found="no key of this server", expected="an API key",
        do="send `Authorization: Bearer KEY` or `X-API-Key: KEY`", headers={"WWW-Authenticate": "Bearer"},
    )  # fmt: skip
    return JSONResponse(refusal.body(), status_code=401, headers=refusal.headers)
