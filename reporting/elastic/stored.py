"""What is stored now, and what to do where the cluster refused a version.

A refusal (409) says that `_version` is not below ours; that is not yet a success. Somebody who changes or deletes a
document by hand raises its `_version` too (a deletion leaves a tombstone for a minute), and would lock out the truth.
So the document's own `version` field is looked at, and where that is not above ours, or nothing is there, the
document is written by compare-and-set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from reporting.elastic.bulk import CUT_OFF, Answer, send
from reporting.elastic.documents import Document
from reporting.elastic.refusals import refuse_unreadable

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_PAGE = 1000
_VERSIONS = ("version", "effective_revision")
"""The fields in which documents carry their version; each has one of them."""


class Stored(NamedTuple):
    """A stored document, or some fields of it."""

    source: dict[str, Any]
    seq_no: int
    primary_term: int


def stored_fields(
    client: Elasticsearch, documents: Sequence[Document], fields: Sequence[str] | None = None
) -> list[Stored | None]:
    """Return what is stored under each document's id, in order; None where nothing is. Realtime.

    Raises:
        TransportError, ApiError: as the client raises them.
        StoreError: an index cannot be read.
    """
    found: list[Stored | None] = []
    for start in range(0, len(documents), _PAGE):
        part = documents[start : start + _PAGE]
        wanted: list[dict[str, Any]] = [{"_index": document.index, "_id": document.id} for document in part]
        if fields is not None:
            wanted = [{**one, "_source": list(fields)} for one in wanted]
        found += [_stored(one) for one in client.mget(docs=wanted)["docs"]]
    return found


def _stored(answer: dict[str, Any]) -> Stored | None:
    """Read one item; an index that is not there holds nothing, one that cannot be read is not an empty one."""
    refuse_unreadable(answer)
    return Stored(answer["_source"], answer["_seq_no"], answer["_primary_term"]) if answer.get("found") else None


def stored_versions(client: Elasticsearch, documents: Sequence[Document]) -> list[Stored | None]:
    """Return what is stored, only with the fields that `own_version` reads."""
    return stored_fields(client, documents, _VERSIONS)


def settle_refused(
    client: Elasticsearch, documents: Sequence[Document], *, wait: Callable[[float], object] = time.sleep
) -> list[Answer | None]:
    """Return, for documents whose version was refused, None where the stored one is newer: a success.

    Else the answer to a second, compare-and-set write: where another writer came first, "not now". A stored document
    of our own version is written too: it was refused because somebody changed it by hand, or it is this one already.
    """
    answers: list[Answer | None] = [None] * len(documents)
    actions, places = [], []
    there = stored_versions(client, documents)
    for place, (document, stored) in enumerate(zip(documents, there, strict=True)):
        if stored is not None and own_version(stored.source) > (document.version or 0):
            continue
        actions.append(compare_and_set(document, stored))
        places.append(place)
    for place, answer in zip(places, send(client, actions, wait=wait), strict=True):
        lost_race = answer.status == 409
        answers[place] = Answer(CUT_OFF, reason="another writer came first") if lost_race else answer
    return answers


def compare_and_set(document: Document, stored: Stored | None) -> dict[str, Any]:
    """Return the bulk action that writes a document only where what is stored is still what was looked at."""
    action: dict[str, Any] = {"_index": document.index, "_id": document.id, "_source": document.source}
    if stored is None:
        return {"_op_type": "create", **action}
    return {"_op_type": "index", "if_seq_no": stored.seq_no, "if_primary_term": stored.primary_term, **action}


def own_version(source: dict[str, Any]) -> int:
    """Return the version that a document says it has, whatever its `_version` is; -1 where it says none."""
    found = next((source[name] for name in _VERSIONS if source.get(name) is not None), -1)
    return int(found)
