"""Delivers outbox entries to Elasticsearch: exactly once by ids and versions, whatever is repeated or reordered.

Two steps a batch. First what is written once: events (lines of manifests, evaluations) by op type `create`. An event
that is already there is compared: equal content is a repeat, other content a conflict, and then its record is not
touched. So two writers of one version are told apart by the cluster itself, in whatever order they come. Second what
may change: records, plans, verdicts, incidents and effective lines by `external_gte`, the greater version stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date as Date
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reporting.elastic.bulk import CHUNK_ITEMS, CONFLICT, CUT_OFF, MISSING, Answer, Packed, pack, send
from reporting.elastic.check_documents import evaluation_document, incident_document
from reporting.elastic.client import cluster_errors, url_of
from reporting.elastic.documents import (
    Document,
    documents_of_body,
    expected_document,
    key_parts_of,
    plan_document,
    verdict_document,
)
from reporting.elastic.effective import EffectiveKeeper, Registry
from reporting.elastic.implicit import ImplicitPlans
from reporting.elastic.names import Kind, index_of
from reporting.elastic.stored import Stored, own_version, settle_refused, stored_fields, stored_versions
from reporting.errors import ConfigError, FunnelgateError
from reporting.key import RunKey
from reporting.outbox import Entry, Fate, Outcome, Topic
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.verdict import Verdict

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_LINES_AT_ONCE = 5000
_PART_CHARACTERS = 2**20
"""Of bodies in one part; a manifest's line becomes ten times as large on its way."""


@dataclass
class _Parcel:
    """One entry on its way: the documents it becomes, and what has become of it so far."""

    entry: Entry
    once: list[Packed] = field(default_factory=list)
    put: list[Packed] = field(default_factory=list)
    gone: list[Packed] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    plan: Plan | None = None
    fate: Fate = Fate.DELIVERED
    error: str = ""

    @property
    def alive(self) -> bool:
        return self.fate in (Fate.DELIVERED, Fate.STALE)

    def end(self, fate: Fate, error: str) -> None:
        """Note what went wrong; the first error stays, but one that keeps the entry queued outweighs the others."""
        if self.alive or (fate in (Fate.RETRY, Fate.BLOCKED) and self.fate not in (Fate.RETRY, Fate.BLOCKED)):
            self.fate, self.error = fate, error


class ElasticSink:
    """Takes entries of an outbox to one cluster.

    Args:
        client: see `client.connect`.
        prefix: of the index names.
        metric_names: what the mapping has, from `setup.require_setup`.
        registry: where the plans are known: the SQL store, or the cluster itself for a team that has only a spool.
        implicit_plans: count a planid that nobody registered as an open daily plan (`implicit.ImplicitPlans`).
        wait: how to wait, in seconds.
    """

    def __init__(
        self,
        client: Elasticsearch,
        prefix: str,
        metric_names: Collection[str],
        registry: Registry,
        *,
        implicit_plans: bool = False,
        wait: Callable[[float], object] = time.sleep,
    ):
        self._client = client
        self._prefix = prefix
        self._metric_names = frozenset(metric_names)
        self._keeper = EffectiveKeeper(registry, prefix)
        self._implicit = ImplicitPlans(client, prefix) if implicit_plans else None
        self._wait = wait
        self._due: dict[str, set[Date]] = {}
        """Days that a plan has or had, until their lines are written."""

    def deliver(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Hand entries over; return one outcome for each, in order. Never raises for what the cluster answers.

        The next part is packed by a thread while the cluster works on this one.

        Args:
            entries: any number; they are sent in parts of at most `bulk.CHUNK_ITEMS`.
        """
        parts = list(_parts(entries))
        outcomes: list[Outcome] = []
        waiting: set[str] = set()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="packer") as packer:
            ahead = packer.submit(self._packed, parts[0]) if parts else None
            for number in range(len(parts)):
                assert ahead is not None
                parcels = ahead.result()
                if any(outcome.fate is Fate.RETRY for outcome in outcomes):  # no answer, or too busy: ask for no more
                    outcomes += [
                        Outcome(entry, Fate.RETRY, "not sent: the part before was refused") for entry in parts[number]
                    ]
                    continue
                if number + 1 < len(parts):
                    ahead = packer.submit(self._packed, parts[number + 1])
                outcomes += self._delivered(parcels, waiting)
        return outcomes

    def _delivered(self, parcels: Sequence[_Parcel], waiting: set[str]) -> list[Outcome]:
        """Deliver one part; `waiting` holds the documents whose earlier entries could not be delivered."""
        try:
            with cluster_errors(url_of(self._client)):
                self._write_once(parcels)
                self._note_days(parcels)
                self._put(parcels)
                waiting |= {one.entry.document_id for one in parcels if one.fate in (Fate.RETRY, Fate.BLOCKED)}
                self._remove(parcels, waiting)
                self._keep_effective(parcels)
        except FunnelgateError as error:
            # A question that decides what to write went unanswered (what is stored now, which plans there are).
            self._keeper.forget_all()
            for parcel in parcels:
                parcel.end(Fate.BLOCKED if isinstance(error, ConfigError) else Fate.RETRY, str(error))
        return [Outcome(parcel.entry, parcel.fate, parcel.error) for parcel in parcels]

    def _packed(self, entries: Sequence[Entry]) -> list[_Parcel]:
        parcels = []
        for entry in entries:
            parcel = _Parcel(entry)
            try:
                self._pack(parcel, Topic(entry.topic))
            except (ValidationError, ValueError, KeyError, TypeError) as error:
                parcel.end(Fate.POISON, f"not a readable entry of topic {entry.topic!r}: {error}")
            parcels.append(parcel)
        return parcels

    def _pack(self, parcel: _Parcel, topic: Topic) -> None:
        entry = parcel.entry
        if topic is Topic.RECORD:
            event, put = documents_of_body(self._prefix, entry.document_id, entry.body, self._metric_names)
            parcel.once.append(pack(event))
            parcel.put.append(pack(put))
            parcel.leaves.append(leaf_from([put.source[part] for part in ("task", "date", "category", "subinstance")]))
        elif topic is Topic.PLAN:
            parcel.plan = Plan.model_validate_json(entry.body)
            parcel.put.append(pack(plan_document(self._prefix, parcel.plan, entry.version)))
        elif topic is Topic.VERDICT:
            verdict = Verdict.model_validate_json(entry.body)
            parcel.put.append(pack(verdict_document(self._prefix, verdict, entry.version)))
        elif topic is Topic.EVALUATION:
            body = json.loads(entry.body)
            parcel.once = [pack(evaluation_document(self._prefix, body["run_id"], body["result"]))]
        elif topic is Topic.INCIDENT:
            parcel.put.append(pack(incident_document(self._prefix, json.loads(entry.body), entry.version)))
        elif topic is Topic.EXPECTED:
            body = json.loads(entry.body)
            parcel.leaves = [leaf_from(parts) for parts in body["leaves"]]
            parcel.once = [pack(expected_document(self._prefix, body["planid"], leaf)) for leaf in parcel.leaves]
        else:
            key = RunKey.model_validate(json.loads(entry.body)["key"])
            index = index_of(self._prefix, Kind.RECORDS, key.date)
            gone = Document(index, key.document_id(), entry.version, {})
            parcel.gone.append(Packed(gone, _delete_action(gone)))

    def _write_once(self, parcels: Iterable[_Parcel]) -> None:
        pairs = [(parcel, packed) for parcel in parcels if parcel.alive for packed in parcel.once]
        there: list[tuple[_Parcel, Document]] = []
        for (parcel, packed), answer in self._sent(pairs):
            if answer.status == CONFLICT:
                there.append((parcel, packed.document))
            else:
                _judge(parcel, answer)
        events = [(parcel, document) for parcel, document in there if parcel.entry.topic == Topic.RECORD]
        stored = stored_fields(self._client, [document for _, document in events], ("content_hash",))
        for (parcel, document), found in zip(events, stored, strict=True):
            if found is None:
                parcel.end(Fate.RETRY, "the event was there, and then was not")
            elif found.source.get("content_hash") != document.source["content_hash"]:
                parcel.end(Fate.CONFLICT, _conflict(parcel))

    def _put(self, parcels: Iterable[_Parcel]) -> None:
        pairs = [(parcel, packed) for parcel in parcels if parcel.alive for packed in parcel.put]
        refused: list[tuple[_Parcel, Document]] = []
        for (parcel, packed), answer in self._sent(pairs):
            if answer.status == CONFLICT:
                refused.append((parcel, packed.document))
            else:
                _judge(parcel, answer)
        documents = [document for _, document in refused]
        settled = settle_refused(self._client, documents, wait=self._wait)
        for (parcel, _), outcome in zip(refused, settled, strict=True):
            if outcome is None:
                parcel.fate = Fate.STALE if parcel.alive else parcel.fate
            else:
                _judge(parcel, outcome)

    def _note_days(self, parcels: Iterable[_Parcel]) -> None:
        """Note which days the plans have and had: a plan that gives a day up changes what counts there too."""
        documents = [packed.document for parcel in parcels if parcel.alive and parcel.plan for packed in parcel.put]
        for document, stored in zip(documents, stored_fields(self._client, documents, ("dates",)), strict=True):
            days = {*document.source["dates"], *(stored.source.get("dates", ()) if stored else ())}
            self._due.setdefault(document.id, set()).update(map(Date.fromisoformat, days))

    def _remove(self, parcels: Iterable[_Parcel], waiting: set[str]) -> None:
        pairs = [(parcel, packed) for parcel in parcels if parcel.alive for packed in parcel.gone]
        for parcel, _ in pairs:
            if parcel.entry.document_id in waiting:  # else the record would come after its deletion, and stay
                parcel.end(Fate.RETRY, "an earlier entry of the same record waits")
        pairs = [(parcel, packed) for parcel, packed in pairs if parcel.alive]
        refused: list[tuple[_Parcel, Document]] = []
        for (parcel, packed), answer in self._sent(pairs):
            if answer.status == CONFLICT:
                refused.append((parcel, packed.document))
            elif answer.status != MISSING or answer.operator_must_act:
                _judge(parcel, answer)
        stored = stored_versions(self._client, [document for _, document in refused])
        for (parcel, document), found in zip(refused, stored, strict=True):
            if found is not None and own_version(found.source) > (document.version or 0):
                parcel.fate = Fate.STALE  # written anew since
            elif found is not None:  # somebody changed it by hand
                again = send(self._client, [_delete_action(document, found)], wait=self._wait)[0]
                _judge(parcel, Answer(CUT_OFF, reason="another writer came first") if not again.ok else again)

    def _keep_effective(self, parcels: Sequence[_Parcel]) -> None:
        """Write the lines that deliveries of plans, manifests and records make necessary."""
        alive = [parcel for parcel in parcels if parcel.alive]
        if self._implicit is not None:
            records = (one.entry.body for one in alive if one.entry.topic == Topic.RECORD)
            self._implicit.register(TaskRecord.model_validate_json(body) for body in records)
        plans = [(parcel, parcel.plan.planid) for parcel in alive if parcel.plan is not None]
        for day in sorted({day for _, planid in plans for day in self._due[planid]}):
            self._write_day(day, [parcel for parcel, planid in plans if day in self._due[planid]])
        for parcel, planid in plans:
            if parcel.alive:
                self._due.pop(planid, None)
        reported: dict[Leaf, list[_Parcel]] = {}
        for parcel in alive:
            for leaf in parcel.leaves:
                reported.setdefault(leaf, []).append(parcel)
        self._write_lines(self._keeper.lines(reported), reported.__getitem__)

    def _write_day(self, day: Date, parcels: Sequence[_Parcel]) -> None:
        """Write the lines of a day whose plans were changed by some parcels."""
        # A registry in the cluster finds by search. The plans first: who still sees the old ones has put its records
        # before this, and they are found by what follows.
        self._client.indices.refresh(index=index_of(self._prefix, Kind.PLANS))
        mine = [index_of(self._prefix, kind, day) for kind in (Kind.RECORDS, Kind.EXPECTED)]
        self._client.indices.refresh(index=mine, ignore_unavailable=True)
        lines = iter(self._keeper.day_lines(day))
        while part := list(islice(lines, _LINES_AT_ONCE)):
            self._write_lines(part, lambda _: parcels)

    def _write_lines(self, lines: Sequence[Document], parcels_of: Callable[[Leaf], Sequence[_Parcel]]) -> None:
        """Write lines; one that fails keeps the parcels of its leaf queued."""
        answers = self._send([pack(line) for line in lines])
        refused = [place for place, answer in enumerate(answers) if answer.status == CONFLICT]
        settled = settle_refused(self._client, [lines[place] for place in refused], wait=self._wait)
        for place, outcome in zip(refused, settled, strict=True):
            answers[place] = Answer(200) if outcome is None else outcome
        for line, answer in zip(lines, answers, strict=True):
            if answer.ok:
                continue
            leaf = leaf_from(line.source["effective_key"].split("|"))
            self._keeper.forget(leaf)
            fate = Fate.BLOCKED if answer.operator_must_act else Fate.RETRY
            for parcel in parcels_of(leaf):
                parcel.end(fate, f"{line.index}: {answer.text()}")

    def _sent(self, pairs: Sequence[tuple[_Parcel, Packed]]) -> Iterable[tuple[tuple[_Parcel, Packed], Answer]]:
        return zip(pairs, self._send([packed for _, packed in pairs]), strict=True)

    def _send(self, packed: Sequence[Packed]) -> list[Answer]:
        return send(self._client, [one.action for one in packed], wait=self._wait) if packed else []


def leaf_from(parts: Sequence[str]) -> Leaf:
    """Return a leaf from its four parts as text."""
    task, day, category, subinstance = parts
    return Leaf(task, Date.fromisoformat(day), category, subinstance)


def _parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Cut entries into parts that fit into memory, and in which no document is put after its deletion.

    A part puts before it deletes.
    """
    part: list[Entry] = []
    size, deleted = 0, set[str]()
    for entry in entries:
        full = len(part) == CHUNK_ITEMS or size + len(entry.body) > _PART_CHARACTERS
        if part and (full or (entry.document_id in deleted and entry.topic != Topic.DELETE)):
            yield part
            part, size, deleted = [], 0, set()
        part.append(entry)
        size += len(entry.body)
        if entry.topic == Topic.DELETE:
            deleted.add(entry.document_id)
    if part:
        yield part


def _delete_action(document: Document, stored: Stored | None = None) -> dict[str, Any]:
    action: dict[str, Any] = {"_op_type": "delete", "_index": document.index, "_id": document.id}
    if stored is not None:
        return action | {"if_seq_no": stored.seq_no, "if_primary_term": stored.primary_term}
    return action | {"version": document.version, "version_type": "external_gte"}


def _conflict(parcel: _Parcel) -> str:
    key = "/".join(key_parts_of(parcel.put[0].document.source))
    return (
        f"{key}: version {parcel.entry.version} is already booked with other content; "
        "a new emit must carry a greater version"
    )


def _judge(parcel: _Parcel, answer: Answer) -> None:
    """Note an answer other than 409."""
    if answer.ok:
        return
    if answer.operator_must_act:
        parcel.end(Fate.BLOCKED, answer.text())
    elif answer.not_now:
        parcel.end(Fate.RETRY, answer.text())
    else:
        parcel.end(Fate.POISON, answer.text())
