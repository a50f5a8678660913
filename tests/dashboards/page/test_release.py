"""What serves: rows by day and category are those of the released files, the tail is what lies before the window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pyarrow.parquet as pq
import pytest

from dashboards.page.cards import DayRows, ReleaseCard, ReleasedCategory, StorageCard, WindowCard
from pipeline.cards.releases import gate_reports, release_cards, storage_cards, window_card
from tests.dashboards.page.desks import DAY, NOW, SCRIPT, hostile, made_desk, shown
from tests.pipeline.arrivals import DAYS
from tests.pipeline.project import DAY_1, DAY_3, Project


def released(number: int = 7, **changes: object) -> ReleaseCard:
    categories = (
        ReleasedCategory(category="bags", model="m@1", space="s", codec="flat", rows=30, bytes=9000, nprobe=4,
                         index="ab" * 32),
        ReleasedCategory(category="hats", model="m@2", space="t", codec="sq8", rows=12, nprobe=1, index="cd" * 32),
    )  # fmt: skip
    fields = {"number": number, "date": DAY, "planid": "daily", "verdict_id": "v7", "created_at": NOW, "rows": 42,
              "categories": categories, "marks": ("current",), "note": "waiver of ann"}  # fmt: skip
    return ReleaseCard.model_validate(fields | changes)


@pytest.mark.slow
def test_the_newest_release_is_what_the_pointer_names_and_holds_the_rows_of_its_files(three_days: Project) -> None:
    with three_days.place() as place:
        cards = [ReleaseCard.model_validate(one) for one in release_cards(place)]
    assert [one.number for one in cards] == [3, 2, 1]
    assert [one.marks for one in cards] == [("current",), (), ()]
    assert [one.date for one in cards] == list(reversed(DAYS))
    newest = cards[0]
    folder = three_days.folder / "lake" / "merge" / DAY_3.isoformat()
    merged = {path.parts[-5]: pq.read_metadata(path).num_rows for path in folder.glob("*/*/*/*/items.parquet")}
    assert {one.category: one.rows for one in newest.categories} == {
        name: rows for name, rows in merged.items() if rows
    }
    assert newest.rows == sum(merged.values())


@pytest.mark.slow
def test_the_window_gives_each_day_what_the_released_items_say_of_their_day(three_days: Project) -> None:
    with three_days.place() as place:
        window = WindowCard.model_validate(window_card(place))
    folder = three_days.folder / "lake" / "merge" / DAY_3.isoformat()
    counted: Counter[tuple[object, object]] = Counter()
    for path in folder.glob("*/*/*/*/items.parquet"):
        for day in pq.read_table(path, columns=["first_day"])["first_day"].to_pylist():
            counted[path.parts[-5], day] += 1
    assert {(one.category, one.date): one.rows for one in window.days} == counted
    assert not any(one.is_tail for one in window.days)  # the window is longer than three days


@pytest.mark.slow
def test_days_before_the_window_are_the_tail(three_days: Project, copy_of: Callable[[Project], Project]) -> None:
    project = copy_of(three_days)
    project.configure(evict={"window_days": 2})
    with project.place() as place:
        window = WindowCard.model_validate(window_card(place))
    assert {one.date for one in window.days if one.is_tail} == {DAY_1}
    assert dict(window.facts)["window"].startswith("2 days, since 2026-11-02")


@pytest.mark.slow
def test_storage_is_what_the_disk_holds(three_days: Project) -> None:
    with three_days.place() as place:
        found = {one["name"]: StorageCard.model_validate(one) for one in storage_cards(place)}
    lake = three_days.folder / "lake"
    packs = list(lake.glob("download/*/*/*/*/*/pictures.bin"))
    assert found["pictures"].files == len(packs)
    assert found["pictures"].bytes == sum(512 * path.stat().st_blocks for path in packs)
    assert 0 < found["current release"].bytes <= found["kept releases"].bytes


@pytest.mark.slow
def test_a_gates_page_is_named_by_its_day_and_plan_where_there_is_one(
    three_days: Project, copy_of: Callable[[Project], Project]
) -> None:
    project = copy_of(three_days)  # without a labelled set the gate writes no page
    for day in DAYS[:2]:
        (folder,) = (project.folder / "lake" / "evaluate" / day.isoformat()).glob("all/all/*/*")
        (folder / "report.html").write_text(day.isoformat())
    with project.place() as place:
        found = gate_reports(place, DAYS[1], DAYS[2])
        assert gate_reports(place, DAY_3, DAY_3) == {}
    ((key, path),) = found.items()
    assert key == (DAYS[1], f"daily-{DAYS[1]:%Y%m%d}")
    assert (project.folder / path).read_text() == DAYS[1].isoformat()


def test_every_number_of_the_page_is_that_of_the_cards() -> None:
    days = [
        DayRows(category=category, date=DAY - timedelta(days=back), rows=rows, is_tail=back > 2)
        for back in range(5)
        for category, rows in (("bags", 10 - back), ("hats", 3 * (back % 2)))
        if rows
    ]
    storage = (StorageCard(name="pictures", files=3, bytes=123456789), StorageCard(name="crops", files=1, bytes=5))
    desk = made_desk(releases=(released(), released(6, marks=())), window=WindowCard(days=tuple(days)), storage=storage)
    facts = {name: float(value) for name, value in shown(desk, "release.html").facts.items()}
    expected = {
        "release.number": 7, "release.rows": 42, "release.categories": 2,
        "release.window_rows": sum(one.rows for one in days if not one.is_tail),
        "release.tail_rows": sum(one.rows for one in days if one.is_tail),
        "release.bags.rows": 30, "release.hats.rows": 12, "release.7.rows": 42, "release.6.rows": 42,
        "storage.pictures.files": 3, "storage.pictures.bytes": 123456789,
        "storage.crops.files": 1, "storage.crops.bytes": 5,
    }  # fmt: skip
    expected |= {f"window.{one.date}.{one.category}": one.rows for one in days}
    for back in range(5):
        day = DAY - timedelta(days=back)
        expected[f"window.{day}.rows"] = sum(one.rows for one in days if one.date == day)
    assert facts == expected


@pytest.mark.parametrize("count", [1, 13, 60, 400])
def test_bars_are_as_high_as_their_rows_and_lie_side_by_side(count: int) -> None:
    from dashboards.page.view_release import HEIGHT, WIDTH, page

    days = [DayRows(category="bags", date=DAY + timedelta(days=n), rows=1 + n % 7, is_tail=False) for n in range(count)]
    columns = page(made_desk(releases=(released(),), window=WindowCard(days=tuple(days)))).facts["columns"]
    assert sum(one.rows for one in columns) == sum(one.rows for one in days)
    highest = max(columns, key=lambda one: one.rows)
    for one in columns:
        assert one.height == pytest.approx(highest.height * one.rows / highest.rows, abs=0.1)
        assert one.y + one.height == pytest.approx(highest.y + highest.height, abs=0.11)
    for one, after in pairwise(columns):
        assert one.x + one.width <= after.x + 0.1
    assert columns[0].x >= 0
    assert columns[-1].x + columns[-1].width <= WIDTH + 0.1
    assert min(one.y for one in columns) > 0
    assert max(one.y + one.height for one in columns) < HEIGHT


def test_a_release_leads_to_its_verdict_where_the_gates_page_has_it() -> None:
    from tests.dashboards.page.test_gate import card

    judged = card(5, verdict_id="v7")
    page = shown(
        made_desk(releases=(released(), released(6, verdict_id="long ago")), verdicts=[judged]), "release.html"
    )
    assert [one for one in page.links if one.startswith("gate.html#")] == ["gate.html#v7"] * 2
    assert "long ago" in page.text


def test_a_project_without_a_release_says_so() -> None:
    page = shown(made_desk(), "release.html")
    assert "nothing is released" in page.text
    assert page.facts == {}


def test_a_script_in_any_text_of_a_release_is_text() -> None:
    card = ReleaseCard.model_validate(hostile(released().model_dump(), but=("marks",)))
    window = {"days": [{"category": "bags", "date": DAY, "rows": 3, "is_tail": True}], "facts": [("a", "b")]}
    storage = StorageCard.model_validate(hostile({"name": "n", "files": 1, "bytes": 2, "note": "x"}))
    desk = made_desk(releases=(card,), window=WindowCard.model_validate(hostile(window)), storage=(storage,))
    page = shown(desk, "release.html")
    assert "script" not in page.tags
    assert page.text.count(SCRIPT) > 12
