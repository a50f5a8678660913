"""What a server keeps of galleries is what would be made anew, whatever was booked or taken down in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from datetime import date as Date
from typing import Any

import pytest

from pipeline.cards import kept_galleries
from pipeline.cards.galleries import day_galleries
from pipeline.cards.kept_galleries import MOST_DAYS, KeptGalleries
from pipeline.place import Place
from pipeline.release.withheld import Withheld, withhold
from reporting.stores.base import RecordQuery
from tests.pipeline.project import DAY_1, DAY_2, Project


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Date]:
    """The days of which galleries were made."""
    days: list[Date] = []

    def make(place: Place, day: Date) -> list[dict[str, Any]]:
        days.append(day)
        return day_galleries(place, day)

    monkeypatch.setattr(kept_galleries, "day_galleries", make)
    return days


@pytest.mark.slow
def test_galleries_are_made_again_after_anything_that_could_change_them_and_only_then(
    three_days: Project, copy_of: Callable[[Project], Project], made: list[Date]
) -> None:
    with copy_of(three_days).place() as place:
        kept = KeptGalleries(place)
        first = kept.of(DAY_1)
        assert first == kept.of(DAY_1) == day_galleries(place, DAY_1)
        assert made == [DAY_1]

        (record, *_) = place.store.records(RecordQuery(tasks=("quality",), date_from=DAY_2, date_to=DAY_2))
        with place.store.begin() as work:
            work.put_record(record.model_copy(update={"version": record.version + 1, "metrics": {"more": 1.0}}))
        assert kept.of(DAY_1) == first
        assert made == [DAY_1, DAY_1]  # a later day may have deleted bytes that it shows

        offer = next(shown["offer"] for one in first for shown in one["shown"] if shown["picture"]["image"])
        at = datetime(2026, 11, 20, tzinfo=UTC)
        withhold(place.lake.folder(), Withheld(kind="offer", value=offer, by="ana", why="a test", at=at))
        assert kept.of(DAY_1) == day_galleries(place, DAY_1) != first
        assert kept.of(DAY_1) is kept.of(DAY_1)
        assert made == [DAY_1] * 3


def test_a_few_days_are_kept_those_that_were_asked_for_last(
    three_days: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Date] = []

    def make(_place: Place, day: Date) -> list[dict[str, Any]]:
        made.append(day)
        return []

    monkeypatch.setattr(kept_galleries, "day_galleries", make)
    days = [Date(2026, 1, number) for number in range(1, MOST_DAYS + 2)]
    with three_days.place() as place:
        kept = KeptGalleries(place)
        for day in [*days[:-1], days[0], days[-1], days[0], days[1]]:
            assert kept.of(day) == []
    assert made == [*days, days[1]]
