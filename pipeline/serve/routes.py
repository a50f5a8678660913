"""The server's addresses; each only reads its request, and leaves the work to a thread."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from pipeline.release.withheld import WithheldList
from pipeline.serve.admission import Admission
from pipeline.serve.feedback import Feedback, FeedbackStore, KeptFeedback
from pipeline.serve.holder import Holder
from pipeline.serve.intake import ClientGone
from pipeline.serve.limits import body_kind, box_of, check_picture, parse_json
from pipeline.serve.prom import CONTENT_TYPE, Metrics
from pipeline.serve.ranking import shown_group
from pipeline.serve.refusal import Refusal, refusal_of, server_fault
from pipeline.serve.searching import PlainReply, Searcher, SearchQuery, SearchReply
from pipeline.serve.serve_settings import ServeSettings
from pipeline.serve.turned_away import NotReady, UnknownGeneration
from reporting.errors import FunnelgateError

router = APIRouter()
_LOG = logging.getLogger("funnelgate.serve")
_K = 10
_FEEDBACK_EXTRA = 16_384  # bytes of a feedback's JSON beside its picture
_JSON = "application/json"
_SEARCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            _JSON: {
                "schema": {
                    "type": "object",
                    "required": ["vector", "space_id"],
                    "properties": {
                        "vector": {"type": "array", "items": {"type": "number"}},
                        "space_id": {"type": "string"},
                        "category": {"type": "string"},
                    },
                }
            },
        },
    }
}


@dataclass(frozen=True)
class Serving:
    """What the addresses share, as `app.state.serving`."""

    holder: Holder
    settings: ServeSettings
    withheld: Callable[[], WithheldList]
    searcher: Searcher
    admission: Admission
    metrics: Metrics
    feedback: FeedbackStore | None
    keys: frozenset[str]


def _serving(request: Request) -> Serving:
    return cast(Serving, request.app.state.serving)


@router.post("/search", openapi_extra=_SEARCH_BODY)
async def search(
    request: Request,
    k: Annotated[int, Query(ge=1, description="Results wanted.")] = _K,
    category: Annotated[str | None, Query(min_length=1, max_length=128, description="Search this one only.")] = None,
    box: Annotated[str | None, Query(max_length=80, description="Part of the picture: x0,y0,x1,y1.")] = None,
    generation: Annotated[int | None, Query(ge=1, lt=1 << 63, description="Ask this release, if it is held.")] = None,
) -> Response:
    """Search by a picture (its bytes) or a vector (JSON)."""
    one = _serving(request)
    kind = body_kind(request.headers.get("content-type"))
    if k > one.settings.max_k:
        raise Refusal(422, "too_many_results", found=k, expected=f"at most {one.settings.max_k}", do="ask for fewer")
    query = SearchQuery(k, category, box_of(box), generation)
    work: Callable[[bytes, SearchQuery], SearchReply | PlainReply] = (
        one.searcher.by_picture if kind == "picture" else one.searcher.by_vector
    )
    with one.admission.body() as arriving:
        body = await arriving.read(*_body(request), one.settings.max_bytes)

        def search_in_thread() -> tuple[int, int, bytes]:
            with one.metrics.search_seconds.labels(kind).time():
                reply = work(body, query)
                return reply.generation, len(reply.results), reply.written()

        async with one.admission.admit(arriving.deadline) as place:
            number, results, written = await place.run(search_in_thread, request.receive())
    one.metrics.answers.labels(str(number)).inc()
    if results < k:
        one.metrics.short.inc()
    return Response(written, media_type=_JSON)


@router.post("/feedback", status_code=201)
async def feedback(request: Request) -> Response:
    """Keep what a user says of a result."""
    one = _serving(request)
    store = one.feedback
    if store is None:
        raise Refusal(404, "feedback_off", found="/feedback", expected="another address", do="set serve.feedback")
    if body_kind(request.headers.get("content-type")) != "json":
        raise Refusal(415, "unsupported_type", found="a picture", expected=_JSON, do="send the picture as base64")
    with one.admission.body() as arriving:
        limit = one.settings.max_bytes * 4 // 3 + _FEEDBACK_EXTRA
        body = await arriving.read(*_body(request), limit)
        async with one.admission.admit(arriving.deadline) as place:
            kept = await place.run(partial(_keep, one, store, body))
    one.metrics.feedback.labels(kept.verdict).inc()
    return JSONResponse({"id": kept.id, "picture": kept.picture, "shown_group": kept.shown_group}, status_code=201)


def _keep(one: Serving, store: FeedbackStore, body: bytes) -> KeptFeedback:
    said = parse_json(body, Feedback)
    try:
        data = said.data()
    except ValueError as error:
        raise Refusal(422, "bad_value", found=str(error), expected="base64", do="mend the body") from None
    if data is not None:
        if len(data) > one.settings.max_bytes:
            raise Refusal(
                413, "too_many_bytes", found=len(data), expected=f"at most {one.settings.max_bytes}", do="send less"
            )
        check_picture(data, one.settings.max_pixels)
    return store.keep(said, data, _shown_group(one, said), dt.datetime.now(dt.UTC))


def _shown_group(one: Serving, said: Feedback) -> str | None:
    """Return the product group of the item; None where its generation is not held any more, or it is withheld.

    Raises:
        Refusal: 422: that generation has no such item, or its verdict needs one.
    """
    if said.item is None:
        if said.verdict != "missing":
            raise Refusal(422, "bad_value", found="no item", expected="the id of a result", do="name the result")
        return None
    try:
        with one.holder.pin(said.generation) as served:
            for shelf in served.generation.shelves.values():
                if said.item in shelf.items:
                    return shown_group(said.item, shelf.items[said.item], one.withheld())
    except (UnknownGeneration, NotReady):
        return None
    raise Refusal(
        422, "unknown_item", found=said.item, expected=f"an item of generation {said.generation}",
        do="send `item` and `generation` of one answer",
    )  # fmt: skip


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process is alive."""
    return {"status": "alive"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz")
def readyz(request: Request) -> dict[str, Any]:
    """Say whether queries are answered: a generation serves, and the takedowns can be read."""
    one = _serving(request)
    one.withheld()
    active = one.holder.status().active
    if active is None:
        raise refusal_of(NotReady("no generation serves"))
    return {"status": "ready", "generation": active}


@router.get("/generation")
def generation_now(request: Request) -> dict[str, Any]:
    """Say what is served: releases, models and feature spaces, and what was not let in."""
    one = _serving(request)
    status = one.holder.status()
    held = [_described(one.holder, number) for number in (status.active, status.previous) if number is not None]
    return {**status.model_dump(mode="json"), "generations": [part for part in held if part is not None]}


def _described(holder: Holder, number: int) -> dict[str, Any] | None:
    try:
        with holder.pin(number) as served:
            manifest = served.manifest
    except UnknownGeneration:  # it left since the status was taken
        return None
    columns = {"model", "space_id", "rows", "nprobe", "codec"}
    return {
        "number": manifest.number,
        "date": manifest.date.isoformat(),
        "planid": manifest.planid,
        "verdict_id": manifest.verdict_id,
        "rollback_to": manifest.rollback_to,
        "golden": manifest.golden_path is not None,
        "ranking": manifest.ranking.model_dump(mode="json"),
        "categories": {name: entry.model_dump(include=columns) for name, entry in manifest.categories.items()},
    }


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Return the counters in Prometheus' text format."""
    return Response(_serving(request).metrics.text(), media_type=CONTENT_TYPE)


def _body(request: Request) -> tuple[AsyncIterator[bytes], str | None]:
    return _chunks(request.receive), request.headers.get("content-length")


async def _chunks(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> AsyncIterator[bytes]:
    """Yield a body as it arrives (ASGI 3.0, "Request - receive event").

    Raises:
        ClientGone: The client hung up before its end.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


def refused(request: Request, error: Exception) -> Response:
    """Answer a request that has no answer; a fault of the server is logged, its client is told only that."""
    refusal = error if isinstance(error, Refusal) else _of(error)
    if refusal.error == "server_fault":
        _LOG.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    _serving(request).metrics.refused.labels(refusal.error).inc()
    return JSONResponse(refusal.body(), status_code=refusal.status, headers=refusal.headers)


def _of(error: Exception) -> Refusal:
    return refusal_of(error) if isinstance(error, FunnelgateError) else server_fault(500)
