"""Writes into a cluster what a comparison finds missing or different there, from the SQL store's truth.

Every write is either refused by a greater version or done by compare-and-set on what was looked at, so a shipper or
another replay at work at the same time is never overwritten: who comes second leaves it, and says so.

Manifests, events and records come first and plans after them, so that a reader who sees a complete plan sees its
records; lookup lines come last. Events are written in the order of their arrival, which is a key's history.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from reporting.elastic.bulk import Action, Answer, send, write_action
from reporting.elastic.client import url_of
from reporting.elastic.compare import Checked, Example, Extras, OnProgress, Tally, checked, look_up
from reporting.elastic.documents import Document
from reporting.elastic.names import Kind
from reporting.elastic.stored import Stored, compare_and_set
from reporting.elastic.truth import EVERYTHING, Hit, Span, SqlTruth
from reporting.errors import StoreError
from reporting.logs import logger
from reporting.shipper import backoff_seconds

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from reporting.stores.sql import SqlStore

_log = logger("replay")
_ORDER = (
    *(Kind.EXPECTED, Kind.EVENTS, Kind.RECORDS, Kind.VERDICTS, Kind.EVALUATIONS, Kind.INCIDENTS),
    *(Kind.PLANS, Kind.EFFECTIVE),
)
_TRIES = 6
"""Of a chunk that is refused for now; about a minute."""
_EXAMPLES = 10
_CONFLICT = 409
_GONE = 404


class ReplayReport(BaseModel):
    """What was found and what was done about it; with `dry_run` what would be done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: bool
    compared: int
    missing: int
    different: int
    extra: int
    written: int
    """Missing, different, and events after a repaired one of their key, so that its history stays in order."""
    pruned: int
    left: int
    """Changed by another writer meanwhile: not touched; compare again."""
    refused: int
    """Documents that the cluster will never take as they are; `errors` has the first reasons."""
    conflicts: int
    """Of the different: events whose version the cluster had with other booked content; SQL's is there now."""
    examples: tuple[Example, ...]
    errors: tuple[str, ...]


class Replay:
    """One replay; see `replay`."""

    def __init__(
        self,
        truth: SqlTruth,
        client: Elasticsearch,
        *,
        dry_run: bool = False,
        wait: Callable[[float], object] = time.sleep,
    ):
        self._truth = truth
        self._client = client
        self._dry_run = dry_run
        self._wait = wait
        self._tally = Tally(_EXAMPLES)
        self._counts: Counter[str] = Counter()
        self._errors: list[str] = []

    def repair(self, kind: Kind, span: Span, on_progress: OnProgress) -> None:
        """Write what is missing or different of a kind."""
        batches = checked(self._truth, self._client, kind, span, on_progress)
        for batch, todo in _with_what_follows(batches) if kind is Kind.EVENTS else _wrong(batches):
            self._tally.note(kind, batch)
            if kind is Kind.EVENTS:
                self._warn_of_conflicts(batch)
            self._write(todo)

    def prune(self, span: Span, *, delete: bool) -> None:
        """Look for documents that SQL does not know, and delete them if told to."""
        extras = Extras(self._truth, self._client)
        for kind, hits in extras.found(span, self._tally.moved):
            self._tally.note_extra(kind, hits)
            if delete:
                self._delete(kind, hits, extras)

    def report(self) -> ReplayReport:
        """Return what was done so far."""
        found = self._tally.comparison()
        return ReplayReport(
            dry_run=self._dry_run,
            **found.model_dump(include={"compared", "missing", "different", "extra"}),
            **{name: self._counts[name] for name in ("written", "pruned", "left", "refused", "conflicts")},
            examples=found.examples,
            errors=tuple(self._errors),
        )

    def _warn_of_conflicts(self, batch: Iterable[Checked]) -> None:
        for one in batch:
            if one.what == "different" and "content_hash" in one.fields:
                self._counts["conflicts"] += 1
                _log.warning("%s: the cluster has other content of this version; SQL's is written", one.line.key)

    def _write(self, todo: Sequence[Checked]) -> None:
        if self._dry_run:
            self._counts["written"] += len(todo)
            return
        documents = [one.line.document for one in todo]
        answers = self._send([_action(one) for one in todo])
        refused = [document for document, answer in zip(documents, answers, strict=True) if self._missed(answer)]
        # Most were taken by another writer. But what was deleted by hand refuses its old version for a minute, and an
        # answer may have been lost on its way: look once more.
        once_more: list[Document] = []
        actions: list[Action | dict[str, Any]] = []
        for document, found in zip(refused, look_up(self._client, refused), strict=True):
            if found is not None and found[0].source == document.source:
                self._counts["written"] += 1
            elif found is None:
                once_more.append(document)
                actions.append(compare_and_set(document, None))
            else:
                self._counts["left"] += 1
        self._counts["left"] += sum(self._missed(answer) for answer in self._send(actions))

    def _missed(self, answer: Answer) -> bool:
        """Count an answer; return whether another writer came first."""
        if answer.ok:
            self._counts["written"] += 1
        elif answer.status != _CONFLICT:
            self._refuse(answer)
        return answer.status == _CONFLICT

    def _delete(self, kind: Kind, hits: Sequence[Hit], extras: Extras) -> None:
        """Delete documents, if they still are what was looked at and SQL still does not know them."""
        found = look_up(self._client, [_place(hit) for hit in hits])
        stored = {(hit.where, hit.id): one[0] for hit, one in zip(hits, found, strict=True) if one is not None}
        # In this order: what a writer books after the look-up changes the sequence number, and the delete fails.
        unknown = [hit for hit in extras.among(kind, hits) if (hit.where, hit.id) in stored]
        actions = [_delete_action(_place(hit), stored[hit.where, hit.id]) for hit in unknown]
        if self._dry_run:
            self._counts["pruned"] += len(actions)
            return
        for answer in self._send(actions):
            if answer.ok or answer.status == _GONE:
                self._counts["pruned"] += 1
            elif answer.status == _CONFLICT:
                self._counts["left"] += 1
            else:
                self._refuse(answer)

    def _send(self, actions: Sequence[Action | dict[str, Any]]) -> list[Answer]:
        """Send actions until each has an answer that time does not change.

        Raises:
            StoreError: an operator must act, or the cluster took too long; what was written stays.
        """
        answers: list[Answer] = []
        for tries in range(1, _TRIES + 1):
            todo = [place for place in range(len(actions)) if tries == 1 or answers[place].not_now]
            new = send(self._client, [actions[place] for place in todo], wait=self._wait) if todo else []
            answers = answers or [Answer(0)] * len(actions)
            for place, answer in zip(todo, new, strict=True):
                answers[place] = answer
            stopped = [(actions[i], a) for i, a in enumerate(answers) if a.operator_must_act]
            if stopped:
                raise self._cut(*stopped[0])
            if not any(answer.not_now for answer in answers):
                return answers
            self._wait(backoff_seconds(tries))
        raise self._cut(*next((actions[i], a) for i, a in enumerate(answers) if a.not_now))

    def _cut(self, action: Action | dict[str, Any], answer: Answer) -> StoreError:
        name = action.index_name if isinstance(action, Action) else action["_index"]
        return StoreError(
            f"{url_of(self._client)}: index {name}: {answer.text()}; the replay ended early: what it wrote"
            " stays, run it again"
        )

    def _refuse(self, answer: Answer) -> None:
        self._counts["refused"] += 1
        if len(self._errors) < _EXAMPLES:
            self._errors.append(answer.text())


def replay(
    store: SqlStore,
    client: Elasticsearch,
    prefix: str,
    metric_names: Iterable[str],
    span: Span = EVERYTHING,
    *,
    prune: bool = False,
    dry_run: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> ReplayReport:
    """Make a cluster equal to the SQL store; into an empty one everything is written.

    Args:
        store: which is right by definition.
        client: see `client.connect`; role shipper.
        prefix: of the index names.
        metric_names: from `setup.require_setup`.
        span: which days.
        prune: also delete documents that SQL does not know; never where several SQL stores share a prefix.
        dry_run: change nothing, only report.
        on_progress: see `compare.OnProgress`.

    Raises:
        StoreError: the store or the cluster could not be read or written; what was written stays, and the call may
            be repeated.
        ConfigError: the cluster refuses who asks.
    """
    truth = SqlTruth(store, prefix, metric_names)
    one = Replay(truth, client, dry_run=dry_run)
    for kind in _ORDER:
        one.repair(kind, span, on_progress)
    one.prune(span, delete=prune)
    return one.report()


def _wrong(batches: Iterable[list[Checked]]) -> Iterator[tuple[list[Checked], list[Checked]]]:
    """Yield each batch with what is to be written of it."""
    for batch in batches:
        yield batch, [one for one in batch if one.what is not None]


def _with_what_follows(batches: Iterable[list[Checked]]) -> Iterator[tuple[list[Checked], list[Checked]]]:
    """Yield each batch of events with what is to be written: the wrong ones, and the later ones of their keys.

    A cluster knows the order of a key's events by their sequence numbers, which a write raises.
    """
    group: tuple[Any, ...] = ()
    repaired: set[str] = set()
    for batch in batches:
        todo = []
        for one in batch:
            if one.line.group != group:
                group, repaired = one.line.group, set()
            key = one.line.document.source["effective_key"]
            if one.what is not None or key in repaired:
                repaired.add(key)
                todo.append(one)
        yield batch, todo


def _action(one: Checked) -> Action | dict[str, Any]:
    """Return the bulk action that puts a document right, whatever its `_version` has become.

    By our version where that does not lower `_version`: an older record that comes later must stay refused. Else by
    compare-and-set, which raises it.
    """
    document = one.line.document
    if one.stored is None or (document.version is not None and one.version < document.version):
        return write_action(document)
    return compare_and_set(document, one.stored)


def _place(hit: Hit) -> Document:
    return Document(hit.where, hit.id, None, {})


def _delete_action(document: Document, stored: Stored) -> dict[str, Any]:
    return {
        "_op_type": "delete",
        "_index": document.index,
        "_id": document.id,
        "if_seq_no": stored.seq_no,
        "if_primary_term": stored.primary_term,
    }
