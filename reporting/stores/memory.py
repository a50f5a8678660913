"""The store in memory: the reference for the contract tests, and a double for the tests of users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date as Date

from reporting.key import RunKey
from reporting.plans import Leaf, Plan
from reporting.record import TaskRecord
from reporting.stores.base import PutOutcome, RecordQuery, Sums, Totals, decide_put
from reporting.stores.summing import sum_records
from reporting.verdict import Verdict


class MemoryStore:
    """Keeps everything in dictionaries; a transaction that raises restores what was before. Not thread-safe."""

    def __init__(self) -> None:
        self._records: dict[RunKey, TaskRecord] = {}
        self._events: list[TaskRecord] = []
        self._plans: dict[str, Plan] = {}
        self._expected: dict[str, set[Leaf]] = defaultdict(set)
        self._verdicts: dict[str, Verdict] = {}

    @contextmanager
    def begin(self) -> Iterator[MemoryStore]:
        """Open a transaction on this store."""
        before = (
            dict(self._records),
            list(self._events),
            dict(self._plans),
            {planid: set(leaves) for planid, leaves in self._expected.items()},
            dict(self._verdicts),
        )
        try:
            yield self
        except BaseException:
            self._records, self._events, self._plans, expected, self._verdicts = before
            self._expected = defaultdict(set, expected)
            raise

    def put_record(self, record: TaskRecord) -> PutOutcome:
        """See `UnitOfWork.put_record`."""
        stored = self._records.get(record.key)
        outcome = decide_put(None if stored is None else (stored.version, stored.content_hash()), record)
        if outcome is PutOutcome.OLDER:
            known = next((event for event in self.history(record.key) if event.version == record.version), None)
            if known is not None:
                outcome = decide_put((known.version, known.content_hash()), record)
        if outcome is not PutOutcome.REPEAT:
            self._events.append(record)
        if outcome is PutOutcome.STORED:
            self._records[record.key] = record
        return outcome

    def put_plan(self, plan: Plan) -> None:
        """See `UnitOfWork.put_plan`."""
        self._plans[plan.planid] = plan

    def expect(self, planid: str, leaves: Iterable[Leaf]) -> None:
        """See `UnitOfWork.expect`."""
        self._expected[planid].update(leaves)

    def put_verdict(self, verdict: Verdict) -> None:
        """See `UnitOfWork.put_verdict`."""
        self._verdicts[verdict.verdict_id] = verdict

    def get_record(self, key: RunKey) -> TaskRecord | None:
        """See `RecordStore.get_record`."""
        return self._records.get(key)

    def records(self, query: RecordQuery) -> list[TaskRecord]:
        """See `RecordStore.records`."""
        found = self._records
        if query.as_of is not None:
            found = latest(event for event in self._events if event.reported_at <= query.as_of)
        return sorted((r for key, r in found.items() if query.selects(key)), key=lambda r: r.key.parts())

    def totals(self, query: RecordQuery, by: Sequence[str]) -> list[Totals]:
        """See `RecordStore.totals`."""
        return sum_by(self.records(query), by)

    def sums(self, query: RecordQuery, by: Sequence[str], measures: Sequence[str]) -> list[Sums]:
        """See `RecordStore.sums`."""
        return sum_records(self.records(query), by, measures)

    def history(self, key: RunKey) -> list[TaskRecord]:
        """See `RecordStore.history`."""
        return [event for event in self._events if event.key == key]

    def plans(self, date_from: Date | None = None, date_to: Date | None = None) -> list[Plan]:
        """See `RecordStore.plans`."""
        return sorted(
            (
                plan
                for plan in self._plans.values()
                if any((not date_from or day >= date_from) and (not date_to or day <= date_to) for day in plan.dates)
            ),
            key=lambda plan: (plan.created_at, plan.planid),
        )

    def get_plan(self, planid: str) -> Plan | None:
        """See `RecordStore.get_plan`."""
        return self._plans.get(planid)

    def expected(self, planid: str) -> set[Leaf]:
        """See `RecordStore.expected`."""
        return set(self._expected.get(planid, set()))

    def delete_plan_records(self, planid: str) -> int:
        """See `RecordStore.delete_plan_records`."""
        doomed = [key for key in self._records if key.planid == planid]
        for key in doomed:
            del self._records[key]
        return len(doomed)

    def verdicts(self, planid: str) -> list[Verdict]:
        """See `RecordStore.verdicts`."""
        found = (verdict for verdict in self._verdicts.values() if verdict.planid == planid)
        return sorted(found, key=lambda verdict: (verdict.decided_at, verdict.verdict_id))


def latest(events: Iterable[TaskRecord]) -> dict[RunKey, TaskRecord]:
    """Return the greatest version of every key."""
    found: dict[RunKey, TaskRecord] = {}
    for event in events:
        if event.key not in found or event.version > found[event.key].version:
            found[event.key] = event
    return found


def sum_by(records: Iterable[TaskRecord], by: Sequence[str]) -> list[Totals]:
    """Sum records grouped by key parts."""
    groups: dict[tuple[str, ...], list[TaskRecord]] = defaultdict(list)
    for record in records:
        groups[tuple(str(getattr(record.key, part)) for part in by)].append(record)
    return [
        Totals(
            group=group,
            records=len(members),
            input=sum(r.input for r in members),
            output=sum(r.output for r in members),
            produced=sum(r.produced for r in members),
            dropped=sum(r.dropped_total for r in members),
            failed=sum(r.failed_total for r in members),
        )
        for group, members in sorted(groups.items())
    ]
