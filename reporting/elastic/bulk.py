"""One way to write many documents: the client's `streaming_bulk`, with every way it can fail made an answer.

What the helper does not do by itself (seen with client 9.5.1 and server 9.5.3): it drops 429 items after no retry at
all by default; connection errors end its generator even with `raise_on_exception=False`; retried items come back out
of order. So it is given no retries, and the rounds are ours: one answer an item, in the order of the items.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError
from elasticsearch.helpers import expand_action, streaming_bulk
from pydantic_core import to_json

from reporting.elastic.documents import Document
from reporting.elastic.refusals import error_of
from reporting.logs import redact

CHUNK_ITEMS = 1000
CHUNK_BYTES = 10 * 2**20
ROUNDS = 4
"""Tries of an item that is refused for now, within one call; the shipper goes on after that with a longer wait."""
FIRST_WAIT_SECONDS = 0.2
NOT_NOW = (429, 500, 502, 503, 504)
"""The flood-stage block of a full disk comes as 429 too."""
CUT_OFF = 0
"""Status of an item whose answer never came: it may have been written."""
TOO_LARGE = 413
CONFLICT = 409
MISSING = 404

_OPERATOR = {
    "cluster_block_exception": "an operator has blocked writing to it; nothing is lost: what waits stays queued",
    "index_closed_exception": "the index is closed; open it: what waits stays queued",
    "index_not_found_exception": "the cluster does not make indices by itself; run `funnelgate records setup`",
    "invalid_index_name_exception": "elastic.prefix makes no valid index name",
    "security_exception": "the API key may not do this; see docs/elasticsearch.md for the roles",
    "validation_exception": "the cluster refuses another index; make room (shard limit) or raise the limit",
}
"""Refusals that no document is to blame for: an operator must act, and nothing may be put aside meanwhile."""


_WHOLE = "the whole request was refused; check elastic.url, the key and what stands before the cluster"


class Answer(NamedTuple):
    """What the cluster said to one item."""

    status: int
    error_type: str = ""
    reason: str = ""
    whole: bool = False
    """The request was refused as a whole: no item of it is to blame."""

    @property
    def ok(self) -> bool:
        """Tell whether it was done."""
        return 200 <= self.status < 300

    @property
    def operator_must_act(self) -> bool:
        """Tell whether the refusal is about the index, the key or the cluster, not about the document."""
        if self.ok or self.not_now:
            return False
        return self.status in (401, 403) or self.error_type in _OPERATOR or (self.whole and self.status != TOO_LARGE)

    @property
    def not_now(self) -> bool:
        """Tell whether the same item may well be taken later."""
        return self.status in NOT_NOW or self.status == CUT_OFF

    def text(self) -> str:
        """Return the error in one line, with what to do where that is known."""
        remedy = _OPERATOR.get(self.error_type, _WHOLE if self.whole else None) if self.operator_must_act else None
        said = f"{self.error_type}: {self.reason}" if self.error_type else self.reason
        return f"{self.status or 'no answer'} {redact(said)}" + (f"; {remedy}" if remedy else "")


_DONE = {status: Answer(status) for status in (200, 201)}


class Action(NamedTuple):
    """One item of a bulk request, as it goes over the wire: its two lines are made ahead."""

    index_name: str
    id: str
    header: bytes
    source: bytes


class Packed(NamedTuple):
    """A document and the bulk action that writes it."""

    document: Document
    action: Action | dict[str, Any]


def pack(document: Document) -> Packed:
    """Make a document ready to be sent: its JSON is made here, so that it can be made ahead."""
    return Packed(document, write_action(document))


def write_action(document: Document) -> Action:
    """Return the bulk action of a document.

    The helper would take fields called `pipeline`, `routing` or `version` of a flat action for its own, without a
    word; lines that are ready pass it as they are. pydantic's core makes them in a third of the client's time.
    """
    place: dict[str, Any] = {"_index": document.index, "_id": document.id}
    if document.version is None:
        return Action(document.index, document.id, to_json({"create": place}), to_json(document.source))
    place |= {"version": document.version, "version_type": "external_gte"}
    return Action(document.index, document.id, to_json({"index": place}), to_json(document.source))


def send(
    client: Elasticsearch,
    actions: Sequence[Action | dict[str, Any]],
    *,
    wait: Callable[[float], object] = time.sleep,
) -> list[Answer]:
    """Write documents; return one answer for each, in order. Repeating a call is safe by the actions' own versions.

    Args:
        client: with no retries of its own.
        actions: see `write_action`; or as the client's helper takes them, with `_source`.
        wait: how to wait between rounds, in seconds; the shipper's wait ends early when it is told to stop.
    """
    answers: list[Answer] = [Answer(CUT_OFF, reason="not sent")] * len(actions)
    todo = list(range(len(actions)))
    for number in range(ROUNDS):
        if number:
            wait(FIRST_WAIT_SECONDS * 2 ** (number - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
        for index, answer in zip(todo, _once(client, [actions[i] for i in todo]), strict=True):
            answers[index] = answer
        todo = [index for index in todo if answers[index].status in NOT_NOW]
        if not todo or any(answer.status == CUT_OFF for answer in answers):
            break
    return answers


def _once(client: Elasticsearch, actions: Sequence[Action | dict[str, Any]]) -> list[Answer]:
    """Send each action once; a connection that breaks leaves the rest without an answer."""
    answers: list[Answer] = []
    lost = Answer(CUT_OFF, reason="the answer has not as many items as the request")
    try:
        for action, (done, item) in zip(actions, _stream(client, actions), strict=False):
            wanted = action.id if isinstance(action, Action) else action["_id"]
            if next(iter(item.values())).get("_id", wanted) != wanted:
                break  # an item is missing: whose answers the others are is not known
            answers.append(_answer(done, item))
    except ApiError as error:
        lost = _of_request(error)
    except TransportError as error:
        lost = Answer(CUT_OFF, type(error).__name__, str(error))
    except (KeyError, TypeError, AttributeError) as error:  # from the helper's reading of the answer
        lost = Answer(CUT_OFF, reason=f"answered something that is no answer to a bulk request ({error!r})")
    answers += [lost] * (len(actions) - len(answers))
    return _one_by_one(client, actions, answers) if len(actions) > 1 else answers


def _one_by_one(
    client: Elasticsearch, actions: Sequence[Action | dict[str, Any]], answers: list[Answer]
) -> list[Answer]:
    """Send each action again that went in a request which was too large: alone it may well be taken."""
    for index, answer in enumerate(answers):
        if answer.status == TOO_LARGE:
            answers[index] = _once(client, [actions[index]])[0]
            if answers[index].status == CUT_OFF:  # not a timeout for each of the others
                return [answers[index] if left.status == TOO_LARGE else left for left in answers]
    return answers


def _stream(client: Elasticsearch, actions: Iterable[Action | dict[str, Any]]) -> Iterable[tuple[bool, dict[str, Any]]]:
    return streaming_bulk(
        client,
        cast("Iterable[dict[str, Any]]", actions),
        expand_action_callback=_lines,
        chunk_size=CHUNK_ITEMS,
        max_chunk_bytes=CHUNK_BYTES,
        raise_on_error=False,
        max_retries=0,
    )


def _lines(action: Any) -> tuple[Any, Any]:
    """Return the two lines of an item; the helper passes on what is bytes already."""
    return (action.header, action.source) if isinstance(action, Action) else expand_action(action)


def _answer(done: bool, item: dict[str, Any]) -> Answer:
    """Read one item of a bulk answer: `{"index": {"status": ..., "error": {"type", "reason"} or text}}`."""
    result = next(iter(item.values()))
    status = int(result.get("status", 200 if done else CUT_OFF))
    if "error" not in result:
        return _DONE.get(status) or Answer(status)
    error = result["error"]
    if isinstance(error, dict):
        cause = error.get("caused_by", {}).get("reason", "")
        reason = str(error.get("reason", ""))
        return Answer(status, str(error.get("type", "")), f"{reason}: {cause}" if cause else reason)
    return Answer(status, reason=str(error))


def _of_request(error: ApiError) -> Answer:
    """Read the refusal of a whole request."""
    kind, reason = error_of(error.body)
    if isinstance(error, UnsupportedProductError):  # status 200 of something else is not a success
        return Answer(CUT_OFF, type(error).__name__, "what answers is not Elasticsearch", whole=True)
    return Answer(error.status_code, kind, reason, whole=True)
