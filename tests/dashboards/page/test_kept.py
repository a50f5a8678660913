"""What a server keeps between requests is what would be read anew, whatever happened in between."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from dashboards.page.desk import Desk
from dashboards.page.kept import Kept
from dashboards.page.routes import page_at
from reporting.effective import leaf_of
from reporting.errors import StoreError
from reporting.plans import PlanKind
from reporting.record import Consumed, TaskRecord
from reporting.stores.base import RecordQuery
from reporting.stores.sql import SqlStore
from reporting.testing import make_plan, make_record
from tests.dashboards.page import world
from tests.dashboards.page.no_sources import NoSources

STEPS = 60


@pytest.fixture
def store(tmp_path):
    with world.fill(tmp_path / "books.db") as found:
        yield found


def assert_as_read_anew(store: SqlStore, kept: Kept, now: datetime = world.NOW) -> None:
    warm = Desk(store, world.TOPOLOGY, NoSources(), now, kept=kept)
    cold = Desk(store, world.TOPOLOGY, NoSources(), now)
    assert warm.plans == cold.plans
    span = cold.heat_span
    assert span is not None
    assert warm.sums(*span) == cold.sums(*span)
    assert warm.reasons(*span) == cold.reasons(*span)
    for day in (world.BEFORE, world.NEWEST):
        assert warm.day(day) == cold.day(day)


class Events:
    """Things that happen to a store, drawn at random."""

    def __init__(self, store: SqlStore, seed: int):
        self.store, self.chance, self.number = store, random.Random(seed), 0
        self.books = {day: store.records(RecordQuery(date_from=day, date_to=day)) for day in world.DAYS}

    def happen(self) -> str:
        self.number += 1
        one = self.chance.choice((self.again, self.again, self.promote, self.delete, self.put_back, self.expect))
        one(self.chance.choice(world.DAYS))
        return one.__name__

    def again(self, day: Any) -> None:
        old = self.chance.choice(self.books[day])
        taken = self.chance.randrange(500)
        with self.store.begin() as work:
            work.put_record(make_record(**old.key.model_dump(), attempt=10 + self.number, input=taken))

    def promote(self, day: Any) -> None:
        made = datetime(2026, 11, 5, tzinfo=UTC) + timedelta(minutes=self.number)
        name = self.chance.choice(("promoted", "shadow 2", f"daily {day}"))
        kind = {"promoted": PlanKind.BACKFILL, "shadow 2": PlanKind.SHADOW}.get(name, PlanKind.DAILY)
        with self.store.begin() as work:
            times = {"created_at": made, "completed_at": made, "promoted_at": made}
            work.put_plan(
                make_plan(f"{name} {day}" if kind is not PlanKind.DAILY else name, kind, dates=(day,), **times)
            )

    def delete(self, day: Any) -> None:
        self.store.delete_plan_records(f"daily {day}")

    def put_back(self, day: Any) -> None:
        """Byte for byte as they were, so that none has a new event."""
        with self.store.begin() as work:
            for one in self.books[day]:
                if self.store.get_record(one.key) is None:
                    work.put_record(one)

    def expect(self, day: Any) -> None:
        leaf = leaf_of(self.chance.choice(self.books[day]).key)._replace(subinstance=f"new {self.number}")
        with self.store.begin() as work:
            work.expect(f"daily {day}", [leaf])


@pytest.mark.parametrize("seed", [1, 2])
def test_after_anything_that_can_happen_what_is_kept_is_what_would_be_read(store, seed):
    kept, events = Kept(store, world.TOPOLOGY), Events(store, seed)
    seen = set()
    for _ in range(STEPS):
        seen |= {events.happen() for _ in range(events.chance.randrange(3))}
        assert_as_read_anew(store, kept)
    assert seen == {"again", "promote", "delete", "put_back", "expect"}


def test_a_day_is_read_again_where_one_that_its_window_read_has_changed(store):
    kept = Kept(store, world.TOPOLOGY)
    old = world.DAYS[0]
    read = Consumed(task="index", date=old, planid=f"daily {old}", count=7)
    with store.begin() as work:
        merge = make_record("merge", date=world.NEWEST, planid=world.REPAIR, category="hats", attempt=5,
                            input=7, consumed=(read,))  # fmt: skip
        work.put_record(merge)
    assert_as_read_anew(store, kept)
    before = kept.day(world.NEWEST, world.NOW)
    with store.begin() as work:
        work.put_record(make_record("index", date=old, planid=f"daily {old}", category="hats", attempt=9, input=5))
    assert_as_read_anew(store, kept)
    assert kept.day(world.NEWEST, world.NOW).balance != before.balance


def test_what_is_due_depends_on_the_hour_and_not_on_when_it_was_read(store):
    day = world.NEWEST
    with store.begin() as work:
        work.expect(f"daily {day}", [leaf_of(make_record("collect", date=day, subinstance="more").key)])
    kept = Kept(store, world.TOPOLOGY)
    deadline = datetime(2026, 10, 27, 2, tzinfo=UTC)
    missing = []
    for now in (deadline - timedelta(seconds=1), deadline, deadline - timedelta(seconds=1)):
        assert_as_read_anew(store, kept, now)
        missing.append([one.leaf.subinstance for one in kept.day(day, now).late if one.state == "missing"])
    assert missing == [[], ["more"], []]


def test_where_nothing_has_changed_no_record_is_read(store):
    kept = Kept(store, world.TOPOLOGY)
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    def overview() -> list[str]:
        said.clear()
        desk = Desk(store, world.TOPOLOGY, NoSources(), world.NOW, kept=kept)
        assert page_at(desk, "index.html") is not None
        return [one for one in said if "FROM record" in one or "FROM expected_leaf" in one]

    event.listen(store.engine, "before_cursor_execute", hear)
    try:
        assert overview()
        assert overview() == []
        with store.begin() as work:  # one old day: the database adds it up, and nothing else is read
            day = world.DAYS[3]
            work.put_record(make_record("collect", date=day, planid=f"daily {day}", attempt=7))
        assert len(overview()) == 1
    finally:
        event.remove(store.engine, "before_cursor_execute", hear)


def test_after_a_booking_only_its_record_is_made_anew_and_no_manifest_is_read(store, monkeypatch):
    day, kept, made, said = world.NEWEST, Kept(store, world.TOPOLOGY), [], []
    kept.day(day, world.NOW)
    old = store.records(RecordQuery(date_from=day, date_to=day, planids=(f"daily {day}",)))[0]
    with store.begin() as work:
        work.put_record(make_record(**old.key.model_dump(), attempt=9, input=old.input + 1))
    read = TaskRecord.model_validate_json

    def note(body: str) -> TaskRecord:
        made.append(body)
        return read(body)

    monkeypatch.setattr(TaskRecord, "model_validate_json", note)
    event.listen(store.engine, "before_cursor_execute", lambda *call: said.append(call[2]))
    found = kept.day(day, world.NOW)
    assert [read(body).attempt for body in made] == [9]
    assert not [one for one in said if "expected_leaf" in one]
    monkeypatch.undo()
    assert found == Desk(store, world.TOPOLOGY, NoSources(), world.NOW).day(day)


def test_what_could_not_be_read_is_asked_for_again(store, monkeypatch):
    kept = Kept(store, world.TOPOLOGY)

    def fail(*_: Any) -> None:
        raise StoreError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr("dashboards.page.kept.day_sums", fail)
        patch.setattr("dashboards.page.kept.read_day", fail)
        with pytest.raises(StoreError):
            kept.sums(world.DAYS[0], world.NEWEST)
        with pytest.raises(StoreError):
            kept.day(world.NEWEST, world.NOW)
    assert_as_read_anew(store, kept)
