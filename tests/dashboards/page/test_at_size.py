"""30 tasks x 300 leaves a day: what is read does not grow with the days, and no page grows too large to open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event

from dashboards.page.desk import READ_DAYS, SHOWN_DAYS, Desk
from dashboards.page.kept import Kept
from dashboards.page.links import day_path, leaves_path
from dashboards.page.render import render
from dashboards.page.routes import page_at
from dashboards.page.static import write_site
from reporting.record import TaskRecord
from reporting.stores.sql import SqlStore
from tests.benches.many_days import DAY, NOW, chain, fill
from tests.dashboards.page.no_sources import NoSources

pytestmark = pytest.mark.slow
TASKS, CATEGORIES, PACKAGES, DAYS = 30, 10, 30, 35
LEAVES = TASKS * CATEGORIES * PACKAGES
LARGEST = 5_000_000
"""Bytes of a page."""


class Cost(NamedTuple):
    """What was asked of the database, and the records that were made of its answers."""

    statements: list[str]
    records: list[str]

    def of(self, table: str) -> int:
        return sum(f"FROM {table} " in one or one.endswith(f"FROM {table}") for one in self.statements)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    path = tmp_path_factory.mktemp("size") / "books.db"
    with fill(path, chain(TASKS), categories=CATEGORIES, packages=PACKAGES, days=DAYS) as found:
        yield found


@pytest.fixture
def counted(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    @contextmanager
    def count() -> Iterator[Cost]:
        cost = Cost([], [])

        def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            cost.statements.append(" ".join(statement.split()))

        read = TaskRecord.model_validate_json

        def note(body: str) -> TaskRecord:
            cost.records.append(body)
            return read(body)

        with monkeypatch.context() as patch:
            patch.setattr(TaskRecord, "model_validate_json", note)
            event.listen(store.engine, "before_cursor_execute", hear)
            try:
                yield cost
            finally:
                event.remove(store.engine, "before_cursor_execute", hear)

    return count


def desk_of(store: SqlStore, **more: Any) -> Desk:
    return Desk(store, chain(TASKS), NoSources(), NOW, **more)


def text_of(desk: Desk, path: str) -> str:
    page = page_at(desk, path)
    assert page is not None, path
    return render(page, desk.site(live=True))


def test_the_overview_reads_one_day_and_asks_once_for_the_sums_of_all_others(store, counted):
    with counted() as cost:
        text_of(desk_of(store), "index.html")
    assert len(cost.records) == LEAVES
    assert cost.of("record") == 2  # the day's records, and the sums
    assert len([one for one in cost.statements if "GROUP BY record.date, record.task" in one]) == 1


def test_how_many_statements_a_page_takes_does_not_depend_on_how_many_days_it_shows(store, counted):
    taken = []
    for days in (2, DAYS):
        with counted() as cost:
            text_of(
                desk_of(store, first=DAY - timedelta(days=days - 1)),
                f"days/{DAY - timedelta(days=days - 1)}_{DAY}.html",
            )
        assert cost.records == []
        taken.append(len(cost.statements))
    assert taken[0] == taken[1] <= 10


def test_pages_of_a_full_day_can_be_opened(store):
    desk = desk_of(store)
    sizes = {path: len(text_of(desk, path).encode()) for path in ("index.html", day_path(DAY), leaves_path(DAY))}
    assert max(sizes.values()) < LARGEST, sizes
    assert sizes[leaves_path(DAY)] > 100 * LEAVES  # every record stands there


def test_a_folder_reads_each_of_its_days_once_and_holds_few_of_them(store, counted, tmp_path):
    desk = desk_of(store)
    held = []
    with counted() as cost:
        report = write_site(desk, tmp_path / "out", lambda _: held.append(len(desk._days)))
    assert len(cost.records) == SHOWN_DAYS * LEAVES
    assert max(held) <= READ_DAYS
    assert report.largest_bytes < LARGEST
    assert len(list((tmp_path / "out" / "day").glob("*-leaves.html"))) == SHOWN_DAYS


def test_a_server_that_has_answered_once_reads_no_record_again(store, counted):
    kept = Kept(store, chain(TASKS))
    first = text_of(desk_of(store, kept=kept), "index.html")
    with counted() as cost:
        assert text_of(desk_of(store, kept=kept), "index.html") == first
        text_of(desk_of(store, kept=kept), day_path(DAY))
    assert cost.records == []
    assert cost.of("record") == cost.of("expected_leaf") == 0
    assert len(cost.statements) <= 40  # six for each time that it asks what has changed
