"""What is served is what a folder of pages holds: the same text and numbers, and never those of a moment ago."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from sqlalchemy import event

from dashboards.page.desk import Desk
from dashboards.page.render import render
from dashboards.page.routes import page_at, static_paths
from reporting.effective import leaf_of
from reporting.stores.sql import SqlStore
from reporting.testing import make_record
from tests.dashboards.page import world
from tests.dashboards.page.hostile import SCRIPT, HostileSources
from tests.dashboards.page.markup import Markup
from tests.dashboards.page.no_sources import NoSources
from tests.dashboards.web.served import live, shelf_of

_LINK = re.compile(r'<nav class="contents" aria-label="Other days">.*?</nav>|</?a\b[^>]*>')
NEWEST = f"day/{world.NEWEST}.html"


def facts(text: str) -> dict[str, str]:
    return {name: value for name, (value, _) in Markup(text).facts.items()}


def static_pages(file) -> dict[str, str]:
    """Return every page of a folder that has all days of the world."""
    with SqlStore.open(f"sqlite:///{file}", ships=False) as store:
        desk = Desk(store, world.TOPOLOGY, NoSources(), world.NOW, first=world.DAYS[0])
        site = desk.site()
        found = {}
        for path in static_paths(desk):
            page = page_at(desk, path)
            assert page is not None
            found[path] = render(page, site)
        return found


def test_every_live_page_is_the_static_page_but_for_links_to_pages_that_a_folder_leaves_out(client, world_file):
    static = static_pages(world_file)
    assert len(static) > 2 * len(world.DAYS) + 5
    for path, text in static.items():
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), path
        assert _LINK.sub("", answer.text) == _LINK.sub("", text), path
        assert set(Markup(text).links) <= set(Markup(answer.text).links), path
    assert client.get("/").text == client.get("/index.html").text


def test_live_links_lead_to_pages_that_are_there(client):
    seen, waiting = set(), ["/index.html"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        waiting += [str(answer.url.join(link).path) for link in Markup(answer.text).links if not link.startswith("#")]
    assert len(seen) > 3 * len(world.DAYS)


def test_a_page_reaches_for_nothing_outside_and_shows_markup_as_text(own_file):
    with live(own_file, HostileSources()) as client:
        for path in ("index.html", NEWEST, f"day/{world.NEWEST}-leaves.html", "incidents.html", "gate.html",
                     "release.html", "eviction.html", "incident/x.html", "nothing<script>.html"):  # fmt: skip
            page = Markup(client.get(path).text)
            assert not {"script", "iframe", "object", "form", "base"} & set(page.tags), path
            sources = [value for _, name, value in page.attributes if name in ("src", "srcset", "data", "poster")]
            assert all(value.startswith("data:") or value == SCRIPT for value in sources), path
            hrefs = [value for tag, name, value in page.attributes if name == "href" and tag != "a"]
            assert set(hrefs) == {"data:,"}, path
            assert {urlsplit(link).scheme for link in page.links} <= {"", "https"}, path


@pytest.mark.parametrize("path", [
    "nothing.html", "day/2026-10-01.html", "day/2026-02-31.html", "day/2026-10-26", "incident/none.html",
    "plans/nobody.html", "plans/a..b.html", "days/2020-01-01_2020-01-02.html", "../../etc/passwd", "eviction/x.html",
    "day/2026-10-26.html/", "index.html/x", "metrics/x",
])  # fmt: skip
def test_what_is_not_there_is_a_404_that_says_so(client, path):
    answer = client.get(f"/{path}")
    assert answer.status_code == 404
    assert "There is no such page" in Markup(answer.text).text


@pytest.mark.parametrize("path", ["%3Cscript%3Ealert(1)%3C/script%3E", "'\"><img src=x onerror=alert(1)>.html"])
def test_an_address_is_shown_as_text(client, path):
    answer = client.get(f"/{path}")
    page = Markup(answer.text)
    assert answer.status_code == 404
    assert not {"script", "img"} & set(page.tags)
    assert "alert(1)" in page.text


@pytest.mark.parametrize("path", ["a" * 601, "x%00y", "x%0D%0ASet-Cookie:%20a=b", "x%0Ay"])
def test_what_is_no_address_is_a_400(client, path):
    answer = client.get(f"/{path}")
    assert (answer.status_code, "set-cookie" in answer.headers) == (400, False)
    assert "This is no address" in answer.text


def test_what_is_booked_is_on_the_next_page(own_file):
    with live(own_file) as client, SqlStore.open(f"sqlite:///{own_file}", ships=False) as store:
        before = facts(client.get(NEWEST).text)
        index = facts(client.get("index.html").text)
        plan = f"daily {world.NEWEST}"
        again = make_record("collect", date=world.NEWEST, planid=plan, input=7, emit=2, reported_at=world.NOW)
        with store.begin() as work:
            work.put_record(again)
        after = facts(client.get(NEWEST).text)
        assert (before["funnel.collect.input"], after["funnel.collect.input"]) != ("7", "7")
        assert after["funnel.collect.input"] == "7"
        changed = facts(client.get("index.html").text)
        assert changed["day.unexplained"] != index["day.unexplained"]
        new = make_record("collect", date=world.NEWEST, planid="daily again", input=3, reported_at=world.NOW)
        with store.begin() as work:
            work.put_plan(world.daily(world.NEWEST).model_copy(
                update={"planid": "daily again", "promoted_at": world.NOW}))  # fmt: skip
            work.expect("daily again", [leaf_of(new.key)])
            work.put_record(new)
        assert facts(client.get(NEWEST).text)["funnel.collect.input"] == "3"


def test_requests_at_the_same_time_get_the_same_answers(own_file):
    with live(own_file) as client:
        paths = ["index.html", NEWEST, f"day/{world.BEFORE}.html", f"day/{world.NEWEST}-leaves.html", "gate.html"] * 6
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda path: (path, client.get(path)), paths))
        assert {answer.status_code for _, answer in found} == {200}
        assert len({(path, answer.text) for path, answer in found}) == 5


def test_reading_writes_nothing(own_file):
    with SqlStore.open(f"sqlite:///{own_file}", ships=False) as store, store.read() as watcher:
        before = watcher.exec_driver_sql("PRAGMA data_version").scalar_one()
        with live(own_file) as client:
            for path in ("index.html", NEWEST, "metrics", "healthz", "nothing"):
                client.get(path)
            assert {client.request(method, "/").status_code for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}
        assert watcher.exec_driver_sql("PRAGMA data_version").scalar_one() == before


def test_a_store_that_is_gone_is_said_and_another_in_its_place_is_read(own_file, tmp_path):
    aside = tmp_path / "aside.db"
    with live(own_file) as client:
        assert client.get(NEWEST).status_code == 200
        shutil.move(own_file, aside)
        for path in ("index.html", NEWEST, "metrics", "healthz"):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert f"{own_file}: the store is not there" in answer.text, path
        assert not own_file.exists(), "nothing is put in its place"
        SqlStore.open(f"sqlite:///{own_file}", ships=False).close()
        assert "Nothing has run yet" in client.get("index.html").text
        assert client.get(NEWEST).status_code == 404
        assert client.get("healthz").text == "ok\n"


def test_what_was_read_ahead_is_not_read_again_for_the_first_visitor(own_file):
    shelf, said = shelf_of(own_file), []
    shelf.warm().join()
    event.listen(shelf.serving().store.engine, "before_cursor_execute", lambda *call: said.append(call[2]))
    for path in ("index.html", NEWEST, f"days/{world.DAYS[0]}_{world.NEWEST}.html"):
        desk = shelf.serving().desk
        assert page_at(desk, path) is not None
        assert said
        assert not [one for one in said if "FROM record" in one or "FROM expected_leaf" in one], path
    shelf.serving().store.close()
