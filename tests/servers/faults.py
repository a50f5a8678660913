"""What can go wrong with one request: each fault deals with an exchange in the server's place.

`PASS`, `DROP_REQUEST`, `DROP_RESPONSE`, `HALF_RESPONSE`, and those made by `answer`, `item_429` and `slow`; `mixture`
draws among them.
"""

from __future__ import annotations

import gzip
import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.servers.relay import JSON_HEADERS, Exchange

Note = Callable[[], None]
Schedule = Callable[[int, str], "Fault"]

_REASONS = {
    413: ("content_too_long_exception", "entity content is too long"),
    429: ("es_rejected_execution_exception", "rejected execution: the write queue is full"),
    503: ("cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];"),
}


@dataclass(frozen=True)
class Fault:
    """A name to be counted under, and what is done; `act` calls its second argument when the server has done its part.

    Once that is called the fault is counted, so a test that waits for the count knows what the server has.
    """

    name: str
    act: Callable[[Exchange, Note], None]


def _pass(exchange: Exchange, note: Note) -> None:
    exchange.pass_back(exchange.forward())


def _drop_request(exchange: Exchange, note: Note) -> None:
    exchange.body()
    note()
    exchange.cut()


def _drop_response(exchange: Exchange, note: Note) -> None:
    exchange.forward().read()
    note()
    exchange.cut()


def _half_response(exchange: Exchange, note: Note) -> None:
    answer = exchange.forward()
    note()
    exchange.pass_back_half(answer)


PASS = Fault("pass", _pass)
DROP_REQUEST = Fault("drop_request", _drop_request)
DROP_RESPONSE = Fault("drop_response", _drop_response)
HALF_RESPONSE = Fault("half_response", _half_response)


def answer(status: int, body: bytes | str | None = None, headers: Mapping[str, str] | None = None) -> Fault:
    """Answer every request without the server; without a body as Elasticsearch words that status.

    It is counted as `answer_<status>`.
    """
    kind, reason = _REASONS.get(status, ("exception", f"status {status} of the fault proxy"))
    error = {"type": kind, "reason": reason}
    worded = json.dumps({"error": {"root_cause": [error], **error}, "status": status}) if body is None else body
    payload = worded.encode() if isinstance(worded, str) else worded

    def act(exchange: Exchange, note: Note) -> None:
        exchange.body()
        note()
        exchange.reply(status, JSON_HEADERS if headers is None else headers, payload)

    return Fault(f"answer_{status}", act)


def slow(seconds: float) -> Fault:
    """Hold the server's answer back: the work is done, and known late."""

    def act(exchange: Exchange, note: Note) -> None:
        response = exchange.forward()
        note()
        exchange.wait(seconds)
        exchange.pass_back(response)

    return Fault("slow", act)


def item_429(ratio: float, seed: int) -> Fault:
    """Refuse each item of a bulk request with probability `ratio` in [0, 1], and have the server do the others.

    The answer is that of a server whose queue ran full: every item in its place, the refused ones with status 429. It
    is counted when an item was refused.
    """
    rng, lock = random.Random(seed), threading.Lock()

    def act(exchange: Exchange, note: Note) -> None:
        items = _items(exchange)
        with lock:
            refused = [rng.random() < ratio for _ in items]
        if not any(refused):
            exchange.pass_back(exchange.forward(_lines(items), _PLAIN))
            return
        left = [item for item, no in zip(items, refused, strict=True) if not no]
        answered: list[Any] = []
        if left:
            response = exchange.forward(_lines(left), _PLAIN)
            payload = response.read()
            if response.status != 200:
                exchange.reply(response.status, JSON_HEADERS, payload)
                return
            answered = json.loads(payload)["items"]
        done = iter(answered)
        merged = [item.rejection() if no else next(done) for item, no in zip(items, refused, strict=True)]
        assert next(done, None) is None, "the server answered more items than it got"
        note()
        exchange.reply(200, JSON_HEADERS, json.dumps({"took": 1, "errors": True, "items": merged}).encode())

    return Fault("item_429", act)


def mixture(seed: int, weights: Mapping[Fault, float]) -> Schedule:
    """Return a schedule that draws a fault for each request, the same for the same seed; weights need no sum.

    Two connections at a time race for their place in the sequence.
    """
    rng, faults = random.Random(seed), list(weights)
    return lambda number, path: rng.choices(faults, [weights[fault] for fault in faults])[0]


_PLAIN = {"content-encoding": "", "accept-encoding": ""}  # neither side compressed: the items are read and written


@dataclass(frozen=True)
class _Item:
    """One item of a bulk request: its lines, and what they say."""

    lines: list[bytes]
    action: str
    index: str
    id: str | None

    def rejection(self) -> dict[str, Any]:
        kind, reason = _REASONS[429]
        return {
            self.action: {
                "_index": self.index,
                "_id": self.id,
                "status": 429,
                "error": {"type": kind, "reason": reason},
            }
        }


def _items(exchange: Exchange) -> list[_Item]:
    body = exchange.body()
    if exchange.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    default_index = exchange.path_only.strip("/").removesuffix("_bulk").strip("/")
    lines = iter(body.splitlines(keepends=True))
    items = []
    for head in lines:
        if not head.strip():
            continue
        ((action, where),) = json.loads(head).items()
        own = [head] if action == "delete" else [head, next(lines)]
        items.append(_Item(own, action, where.get("_index", default_index), where.get("_id")))
    return items


def _lines(items: list[_Item]) -> bytes:
    return b"".join(line for item in items for line in item.lines)
