"""Plans of teams that register none: a planid that nobody registered counts as an open daily plan.

A registry that knows no plan makes nothing effective, and every panel empty. So the first record of an unknown
planid registers it, on the record's day; further days are added as they come. A plan that is registered later, by
`put_plan`, takes its place: its version is greater.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date as Date
from typing import TYPE_CHECKING

from reporting.elastic.bulk import CONFLICT, Answer, send
from reporting.elastic.documents import Document, plan_document, plan_of
from reporting.elastic.names import Kind, index_of
from reporting.elastic.stored import compare_and_set, stored_fields
from reporting.errors import ConfigError, StoreError
from reporting.plans import Plan, PlanKind
from reporting.record import TaskRecord

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

REASON = "implicit: its records came without a registered plan"
_TRIES = 10
"""Of one plan, where other shippers add their days to it at the same moment."""


class ImplicitPlans:
    """Registers the plans of records, once each."""

    def __init__(self, client: Elasticsearch, prefix: str):
        self._client = client
        self._prefix = prefix
        self._known: set[tuple[str, Date]] = set()

    def register(self, records: Iterable[TaskRecord]) -> None:
        """Make sure that the plan of each record is in the registry, and covers its day.

        Raises:
            StoreError: that could not be done now. The records must be delivered again: their lines would say that no
                plan counts, and nothing would correct them.
            ConfigError: an operator must act first.
        """
        new: dict[str, dict[Date, TaskRecord]] = {}
        for record in records:
            if (record.key.planid, record.key.date) not in self._known:
                new.setdefault(record.key.planid, {})[record.key.date] = record
        for planid, days in new.items():
            self._add(planid, days)
            self._known |= {(planid, day) for day in days}
        if new:
            self._client.indices.refresh(index=index_of(self._prefix, Kind.PLANS))

    def _add(self, planid: str, days: dict[Date, TaskRecord]) -> None:
        answer = self._try(planid, days)
        for _ in range(_TRIES):
            if answer is None or answer.ok:
                return
            if answer.status != CONFLICT:
                break
            answer = self._try(planid, days)
        assert answer is not None
        error = ConfigError if answer.operator_must_act else StoreError
        raise error(f"plan {planid}: could not be registered: {answer.text()}; what waits stays queued")

    def _try(self, planid: str, days: dict[Date, TaskRecord]) -> Answer | None:
        """Return the answer to the write, or None where the registry knows the plan on these days."""
        place = Document(index_of(self._prefix, Kind.PLANS), planid, None, {})
        stored = stored_fields(self._client, [place])[0]
        if stored is None:
            first = min(record.reported_at for record in days.values())
            plan = Plan(planid=planid, kind=PlanKind.DAILY, dates=tuple(sorted(days)), reason=REASON, created_at=first)
        else:
            known = plan_of(stored.source)
            if known.reason != REASON or set(days) <= set(known.dates):
                return None
            plan = known.model_copy(update={"dates": tuple(sorted({*known.dates, *days}))})
        document = plan_document(self._prefix, plan, len(plan.dates))
        return send(self._client, [compare_and_set(document, stored)])[0]
