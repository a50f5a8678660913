"""Any retrieval service over HTTP: one POST of the picture a query, one JSON list of hits back.

Request   `POST URL?k=100`, the picture's bytes as the body, `X-Query-Id` naming it (beyond ASCII: UTF-8,
          percent-encoded).
Answer    `{"results": [{"image_id": "a-17", "distance": 0.12, "group": "shoe-9"}, ...]}`; `score` (higher is nearer)
          instead of `distance`; `picture` (sha256 of the found picture) instead of `image_id`; `group` is optional.
          What `funnelgate search --json` prints is such an answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import string
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from evaluation.answers import Hit, Status, answers_of
from evaluation.evalset import EvalSet, Query
from evaluation.latency import latency_facts
from evaluation.searchers.index import DEPTH, stands_for_equals
from evaluation.set_pictures import read_picture
from evaluation.system import System, View
from reporting.errors import DataError, UsageError

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 10.0
CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 8 << 20
GIVE_UP_AFTER = 10
"""Queries in a row that no connection could be made for: the service is dead, the others are missing."""
_PLAIN = string.punctuation
"""What a header may hold beside letters and digits."""


class _Answer(NamedTuple):
    """What became of one query."""

    status: Status
    hits: Sequence[Hit]
    seconds: float
    error: str = ""


class _Dead(Exception):
    """No connection could be made."""


def ask_service(
    url: str,
    evalset: EvalSet,
    *,
    deepest: int = 10,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> System:
    """Ask a service every query of a set, one after another.

    A query that times out or fails is counted as such and scores 0; a service that dies half-way leaves the rest
    missing. No query is asked again: a user would not have been answered either.

    Args:
        url: Where to POST; its own parameters are kept. A password in it is used, and shown nowhere.
        evalset: With pictures.
        deepest: The deepest cut that will be measured.
        timeout_seconds: For one query, from the connection to the last byte: one that drips is as late as a silent one.

    Raises:
        UsageError: That is no address, or the set has no pictures.
        DataError: A picture is not the one that was labelled.
    """
    address = _address(url)
    name = str(address.copy_with(userinfo=b""))
    if evalset.root is None or not all(query.path for query in evalset.queries):
        raise UsageError(f"{evalset.set_id}: has no pictures, so {name} cannot be asked; give a run file instead")
    names, other = stands_for_equals(evalset)
    target = address.copy_merge_params({"k": deepest * DEPTH})
    answers = asyncio.run(_ask_all(target, name, evalset, timeout_seconds, names))
    return _system(name, evalset, answers, other)


def _address(url: str) -> httpx.URL:
    import httpx

    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UsageError(f"{url!r} is no address: {error}; write http://host:port/path") from error
    if not address.host:
        raise UsageError(f"{url!r} names no host; write http://host:port/path")
    return address


async def _ask_all(
    target: httpx.URL, name: str, evalset: EvalSet, timeout_seconds: float, names: Mapping[str, str]
) -> dict[str, _Answer]:
    import httpx

    answers: dict[str, _Answer] = {}
    silent = 0
    limits = httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds / 2))
    async with httpx.AsyncClient(timeout=limits) as client:
        for query in evalset.queries:
            if silent >= GIVE_UP_AFTER:
                break
            picture = read_picture(evalset, query)
            try:
                answers[query.query_id] = await _ask(client, target, query, picture, timeout_seconds, names)
                silent = 0
            except _Dead as dead:
                silent += 1
                answers[query.query_id] = _Answer(Status.ERROR, (), math.nan, f"{name}: {dead}")
    return answers


def _system(name: str, evalset: EvalSet, answers: Mapping[str, _Answer], other: Mapping[str, str]) -> System:
    ids = [query.query_id for query in evalset.queries]
    served = answers_of(
        ids,
        {query: one.hits for query, one in answers.items() if one.status is Status.ANSWERED},
        statuses={query: one.status for query, one in answers.items()},
        seconds={query: one.seconds for query, one in answers.items()},
        errors={query: one.error for query, one in answers.items() if one.error},
        stands_for=other,
    )
    timed = [one.seconds for one in answers.values() if one.status is Status.ANSWERED]
    inputs = {"answers": _sha256(answers)}  # a service names no model; the verdict is bound to what it answered
    return System(name=name, views={View.SERVED: served}, facts=tuple(latency_facts([timed])), inputs=inputs)


def _sha256(answers: Mapping[str, _Answer]) -> str:
    told = sorted(
        (query, one.status.value, [[hit.image_id, hit.distance, hit.group_id] for hit in one.hits])
        for query, one in answers.items()
    )
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


async def _ask(
    client: httpx.AsyncClient,
    target: httpx.URL,
    query: Query,
    picture: bytes,
    timeout_seconds: float,
    names: Mapping[str, str],
) -> _Answer:
    import httpx

    headers = {"content-type": "application/octet-stream", "x-query-id": quote(query.query_id, safe=_PLAIN)}
    started = time.perf_counter()
    try:
        # httpx's own limits hold for each read: a service could send a byte now and then for ever.
        async with asyncio.timeout(timeout_seconds):
            status, body = await _exchange(
                client, client.build_request("POST", target, content=picture, headers=headers)
            )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _Dead(f"no connection: {error or type(error).__name__}") from error
    except (TimeoutError, httpx.TimeoutException):
        return _Answer(Status.TIMEOUT, (), math.nan, f"no answer within {timeout_seconds:g} s")
    except (httpx.HTTPError, DataError) as error:
        return _Answer(Status.ERROR, (), math.nan, f"{type(error).__name__}: {error}".rstrip(": "))
    seconds = time.perf_counter() - started
    if status != 200:
        return _Answer(Status.ERROR, (), seconds, f"HTTP {status}")
    try:
        return _Answer(Status.ANSWERED, _hits(body, names), seconds)
    except DataError as error:
        return _Answer(Status.ERROR, (), seconds, str(error))


async def _exchange(client: httpx.AsyncClient, request: httpx.Request) -> tuple[int, bytes]:
    """Return status and body; asked again only where a kept connection turns out to have been closed meanwhile."""
    import httpx

    steps: list[str] = []

    async def note(step: str, _: Mapping[str, Any]) -> None:
        steps.append(step)

    request.extensions["trace"] = note
    try:
        got = await client.send(request, stream=True)
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
        if any(step.startswith("connection.connect") for step in steps):
            raise
        got = await client.send(request, stream=True)
    try:
        return got.status_code, await _body(got)
    finally:
        await got.aclose()


async def _body(got: httpx.Response) -> bytes:
    body = bytearray()
    async for part in got.aiter_bytes():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise DataError(f"the answer is longer than {MAX_ANSWER_BYTES >> 20} MiB")
    return bytes(body)


def _hits(body: bytes, names: Mapping[str, str]) -> list[Hit]:
    try:
        told: Any = json.loads(body)
    except (ValueError, RecursionError) as error:  # RecursionError: a hundred thousand brackets
        raise DataError(f"the answer is no JSON: {error}") from error
    results = told.get("results") if isinstance(told, dict) else None
    if not isinstance(results, list):
        raise DataError("the answer has no list `results`")
    return [_hit(one, f"results[{place}]", names) for place, one in enumerate(results)]


def _hit(one: Any, where: str, names: Mapping[str, str]) -> Hit:
    if not isinstance(one, dict):
        raise DataError(f"{where} is no mapping")
    name, picture, group = (_name(one, key, where) for key in ("image_id", "picture", "group"))
    if name is None and picture is None:
        raise DataError(f"{where} has neither image_id nor picture")
    image_id = name if name is not None else names.get(picture or "", picture or "")
    if one.get("distance") is not None:
        return Hit(image_id, _figure(one["distance"], "distance", where), group)
    return Hit(image_id, -_figure(one.get("score"), "score", where), group)


def _name(one: Mapping[str, Any], key: str, where: str) -> str | None:
    found = one.get(key)
    if found is None or (isinstance(found, str) and _is_text(found)):
        return found
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    raise DataError(f"{where}: {key} is {found!r}; expected a text or a whole number")


def _is_text(found: str) -> bool:
    """Say whether it can be written at all: JSON may hold half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in found)


def _figure(found: Any, key: str, where: str) -> float:
    try:
        figure = math.nan if isinstance(found, bool) or not isinstance(found, int | float) else float(found)
    except OverflowError:
        figure = math.inf
    if not math.isfinite(figure):
        raise DataError(f"{where}: has no finite distance or score, but {key} {str(found)[:40]}")
    return figure
