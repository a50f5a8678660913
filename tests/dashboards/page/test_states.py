"""What a page says of an empty store, of a plan at work, and of what came late or never."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dashboards.page.desk import Desk
from dashboards.page.render import render
from dashboards.page.routes import page_at, static_paths
from dashboards.page.static import write_site
from reporting.errors import UsageError
from reporting.stores.sql import SqlStore
from tests.dashboards.page import world
from tests.dashboards.page.markup import Markup
from tests.dashboards.page.no_sources import NoSources

DAY = world.NEWEST


@pytest.fixture
def store(tmp_path):
    with SqlStore.open(f"sqlite:///{tmp_path / 'books.db'}", ships=False) as opened:
        yield opened


def desk_of(store, now: datetime = world.NOW) -> Desk:
    return Desk(store, world.TOPOLOGY, NoSources(), now)


def markup_of(desk: Desk, path: str) -> Markup:
    page = page_at(desk, path)
    assert page is not None
    return Markup(render(page, desk.site()))


def text_of(desk: Desk, path: str) -> str:
    return re.sub(r"\s+", " ", markup_of(desk, path).text)


def test_an_empty_store_says_how_to_begin(store, tmp_path):
    write_site(desk_of(store), tmp_path / "out")
    text = Markup((tmp_path / "out" / "index.html").read_text(encoding="utf-8")).text
    assert "Nothing has run yet" in text
    assert "funnelgate run" in text


def test_a_plan_without_any_record_is_shown(store):
    with store.begin() as work:
        work.put_plan(world.daily(DAY, completed_at=None))
    assert "Nothing has been booked" in text_of(desk_of(store), f"day/{DAY}.html")


@pytest.mark.parametrize(("state", "says"), [
    ({"completed_at": None}, "Work is in progress; what has been booked so far closes."),
    ({}, "The books do not close"),
])  # fmt: skip
def test_missing_records_are_work_in_progress_while_the_plan_is_open(store, state, says):
    found = world.records(DAY, f"daily {DAY}", seed=3)
    world.put(store, world.daily(DAY, **state), found, missing=3)
    assert says in text_of(desk_of(store), f"day/{DAY}.html")


def test_a_missing_leaf_is_named_with_its_place_among_the_records(store):
    found = world.records(DAY, f"daily {DAY}", seed=3)
    world.put(store, world.daily(DAY), found, missing=1)
    desk = desk_of(store)
    page = markup_of(desk, f"day/{DAY}.html")
    assert page.facts["day.missing"][0] == "1"
    assert page.facts["late.count"][0] == "1"
    place = f"release/all/all/daily%20{DAY}"
    assert f"../day/{DAY}-leaves.html#{place}" in page.links
    assert place in markup_of(desk, f"day/{DAY}-leaves.html").ids


def test_late_is_what_came_after_its_deadline_but_not_what_was_asked_for_after_it(store):
    due = datetime(2026, 10, 27, 2, tzinfo=UTC)  # collect, 02:00 on the next morning
    found = world.records(DAY, f"daily {DAY}", seed=3)
    late = [one.model_copy(update={"reported_at": due + timedelta(seconds=1)}) for one in found]
    world.put(store, world.daily(DAY), late)
    assert [(one.leaf.task, one.state) for one in desk_of(store).day(DAY).late] == [("collect", "late")]
    day = DAY - timedelta(days=1)
    backfilled = world.daily(day, created_at=due, completed_at=due)
    world.put(store, backfilled, [
        one.model_copy(update={"reported_at": due}) for one in world.records(day, backfilled.planid, seed=3)
    ])  # fmt: skip
    assert desk_of(store).day(day).late == ()


def test_what_is_missing_is_not_late_before_its_deadline(store):
    world.put(store, world.daily(DAY, completed_at=None), world.records(DAY, f"daily {DAY}", seed=3), missing=99)
    before, after = (datetime(2026, 10, 27, hour, tzinfo=UTC) for hour in (1, 3))
    assert "collect" not in {one.leaf.task for one in desk_of(store, before).day(DAY).late}
    assert "collect" in {one.leaf.task for one in desk_of(store, after).day(DAY).late}


def test_the_broken_relation_is_marked_in_the_graph_and_named_in_words(made):
    text = (made.folder / "day" / f"{world.BEFORE}.html").read_text(encoding="utf-8")
    assert text.count('class="edge broken"') == 1
    assert "Broken: split to index." in Markup(text).text
    assert 'class="edge broken"' not in (made.folder / "day" / f"{DAY}.html").read_text(encoding="utf-8")


def test_a_path_that_names_nothing_has_no_page(made):
    for path in ("day/2026-13-45.html", "day/2020-01-01.html", "plans/none.html", "plans/none..none.html", "x.html",
                 "day/../index.html", "days/2020-01-01_2020-01-02.html", "day/2020-01-01-leaves.html"):  # fmt: skip
        assert page_at(made.desk, path) is None, path


def test_every_page_of_a_folder_can_be_made_and_no_two_have_one_name(made):
    paths = static_paths(made.desk)
    assert len(paths) == len(set(paths))
    assert {path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*.html")} == set(paths)


def test_a_folder_with_other_files_is_refused(made, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="holds other files"):
        write_site(made.desk, tmp_path)
    assert [path.name for path in Path(tmp_path).iterdir()] == ["thesis.txt"]
