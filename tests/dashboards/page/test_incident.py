"""Incidents: a page says what the store holds, leads to the records and pictures, and to Kibana with filters set."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import reporting
from checks import cards as adapter
from checks.incident_store import write_step
from checks.incidents import Incident
from checks.lifecycle import step
from checks.result import Result, Status, status_of
from checks.run import Run, book_unchanged
from checks.run import _write as write_run
from dashboards.kibana.catalogue import build_all
from dashboards.kibana.esql import Names
from dashboards.page.cards import Cause, CheckDay, IncidentCard, Step
from dashboards.page.desk import Desk
from dashboards.page.links import Kibana, anchor, day_path, incident_path, leaves_path
from reporting.stores import open_store
from reporting.stores.sql import SqlStore
from reporting.testing import make_record
from tests.checks.broken import DAY as BROKEN_DAY
from tests.checks.broken import GRAPH, NOW, result
from tests.dashboards.page.desks import DAY, SCRIPT, hostile, html_of, made_desk, shown
from tests.dashboards.page.desks import NOW as MADE_AT

_ROWS = "SELECT episode, state, opened_at FROM incident"
NEXT_DAY = BROKEN_DAY + timedelta(days=1)
EPISODE = "9241236bc8-20261101T070000000000Z"
NEXT = DAY + timedelta(days=1)
KIBANA = Kibana("https://kibana.example/s/search", "shop.test")


def card(episode: str = EPISODE, **changes: object) -> IncidentCard:
    fields: dict[str, object] = {
        "episode": episode, "state": "firing", "severity": "page", "is_open": True, "check": "edges-agree",
        "kind": "reconcile", "instance": "download->quality", "task": "quality", "source": "download", "date": DAY,
        "planids": ("daily",), "value": 62.0, "expected": 85.0, "tolerance": 0.0, "unit": "pictures",
        "reason": "download handed on 85 and quality took in 62", "sentence": "100 % of 23: subinstance=0002",
        "repair": "funnelgate run --kind rerun --subinstances 0002",
        "causes": (Cause(where="subinstance=0002", values={"subinstance": ("0002",)}, missing=23, share=1.0),),
        "opened_at": MADE_AT, "updated_at": MADE_AT,
        "history": (Step(at=MADE_AT, kind="open", who="funnelgate", why="seen"),
                    Step(at=MADE_AT + timedelta(hours=1), kind="acknowledge", who="ann", why="on it")),
    }  # fmt: skip
    return IncidentCard.model_validate(fields | changes)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqlStore]:
    """A store in which a break has opened, was repaired by another plan, and a second one is open."""
    with open_store(f"sqlite:///{tmp_path}/books.db") as store:
        first = [
            result("crop", kind="reconcile", source="detect", causes=[{"subinstance": ["0003"]}]),
            result("download", kind="volume", status=Status.WARN, date=NEXT_DAY),  # else it would explain the other
        ]
        mended = [result("crop", Status.PASS, kind="reconcile", source="detect", planids=["repair"], data="new")]
        known: list[Incident] = []
        for number, results in enumerate((first, mended)):
            done = step(known, results, GRAPH, NOW + timedelta(hours=number), {})
            known = done.incidents
            with store.begin() as work:
                write_step(work, done)
        yield store


def test_a_card_says_what_the_store_holds(books: SqlStore, tmp_path: Path) -> None:
    found = [IncidentCard.model_validate(one) for one in adapter.incident_cards(books, BROKEN_DAY, NEXT_DAY)]
    with sqlite3.connect(tmp_path / "books.db") as raw:
        rows = {(*row[:2], datetime.fromisoformat(row[2])) for row in raw.execute(_ROWS)}
        actions = raw.execute("SELECT episode, kind, who, why FROM incident_action ORDER BY seq").fetchall()
    raw.close()
    assert {(one.episode, one.state, one.opened_at) for one in found} == rows
    assert [one.is_open for one in found] == sorted((one.is_open for one in found), reverse=True)
    for one in found:
        whole = adapter.incident_card(books, one.episode, {"Kibana": "https://k.example/?e={episode}"})
        told = IncidentCard.model_validate(whole)
        assert [(told.episode, line.kind, line.who, line.why) for line in told.history] == [
            row for row in actions if row[0] == one.episode
        ]
        assert told.links == (("Kibana", f"https://k.example/?e={one.episode}"),)
    (mended,) = [one for one in found if not one.is_open]
    assert (mended.task, mended.source, mended.value, mended.expected) == ("crop", "detect", 90, 100)
    assert [(one.where, one.values, one.missing) for one in mended.causes] == [
        ("subinstance=0003", {"subinstance": ("0003",)}, 10)
    ]


def test_only_what_is_open_is_among_the_open_ones_and_pages_come_first(books: SqlStore) -> None:
    with books.begin() as work:
        write_step(work, step([], [result("embed", data="x")], GRAPH, NOW + timedelta(days=1), {}))
    found = [IncidentCard.model_validate(one) for one in adapter.open_cards(books)]
    assert [(one.severity, one.task) for one in found] == [("page", "embed"), ("warn", "download")]


def test_an_unknown_or_shortened_name_is_no_incident(books: SqlStore) -> None:
    (one, *_) = adapter.open_cards(books)
    assert adapter.incident_card(books, one["episode"][:12], {}) is None
    assert adapter.incident_card(books, "none", {}) is None


def test_the_page_holds_the_figures_the_repair_and_the_timeline() -> None:
    page = shown(made_desk(incidents=[card()]), incident_path(EPISODE))
    facts = {name: float(value) for name, value in page.facts.items()}
    assert facts["incident.value"] == 62
    assert facts["incident.expected"] == 85
    assert facts["incident.cause.1.missing"] == 23
    assert facts["incident.cause.1.share"] == 1
    assert "funnelgate run --kind rerun --subinstances 0002" in page.text
    places = [page.text.index(words) for words in ("seen", "acknowledge", "on it")]
    assert places == sorted(places)


def test_the_page_leads_to_exactly_the_records_of_the_leaves_that_explain_the_break() -> None:
    page = shown(made_desk(incidents=[card()]), incident_path(EPISODE))
    records = {name: float(value) for name, value in page.facts.items() if name.startswith("record.")}
    assert records == {"record.download.all.0002.daily.items": 45, "record.quality.all.0002.daily.items": 22}
    to_records = [one for one in page.links if "-leaves.html#" in one]
    assert to_records == [
        f"../day/{DAY}-leaves.html#{anchor(task, 'all', '0002', 'daily')}" for task in ("download", "quality")
    ]


def test_without_a_localisation_all_records_of_both_ends_are_named() -> None:
    page = shown(made_desk(incidents=[card(causes=())]), incident_path(EPISODE))
    assert sum(name.startswith("record.") for name in page.facts) == 4


def test_the_page_leads_to_the_pictures_of_what_its_tasks_dropped() -> None:
    page = shown(made_desk(incidents=[card()]), incident_path(EPISODE))
    assert f"../day/{DAY}.html#{anchor('gallery', 'quality', 'blurred')}" in page.links


def test_what_is_known_to_have_no_picture_is_not_led_to() -> None:
    desk = made_desk(incidents=[card()])
    assert desk.galleries(DAY) == ()
    assert not any("gallery" in one for one in shown(desk, incident_path(EPISODE)).links)


def test_links_to_kibana_have_the_day_and_the_leaf_as_filters_and_need_its_address() -> None:
    assert not any("kibana" in one for one in shown(made_desk(incidents=[card()]), incident_path(EPISODE)).links)
    page = shown(made_desk(KIBANA, incidents=[card()]), incident_path(EPISODE))
    links = [one for one in page.links if one.startswith("https://kibana.example/s/search/app/dashboards#/view/")]
    funnel = unquote(urlsplit(next(one for one in links if "shop-test-funnel" in one)).fragment)
    assert f"from:'{DAY}T00:00:00.000Z'" in funnel
    assert f"to:'{DAY}T23:59:59.999Z'" in funnel
    assert "task:'quality'" in funnel
    assert "subinstance:'0002'" in funnel
    assert any("shop-test-logs" in one for one in links)


@pytest.mark.parametrize("prefix", ["funnelgate", "shop.test"])
def test_every_dashboard_and_filter_that_a_page_links_to_is_there_under_any_prefix(prefix: str) -> None:
    desk = made_desk(Kibana("https://kibana.example", prefix), incidents=[card(group={"category": "bags"})])
    name_a_model(desk)
    built = {one.id for one in build_all(Names(prefix, GRAPH))}
    found = set()
    for path in (incident_path(EPISODE), leaves_path(DAY), day_path(DAY), "index.html"):
        links = kibana_links(desk, path)
        assert links
        for one in links:
            board = one.split("/view/")[1].split("?")[0]
            assert board in built
            short = board.removeprefix(prefix.replace(".", "-") + "-")
            fields = (
                {f"funnelgate.{name}" for name in mapped("records")}
                if short == "logs"
                else mapped("incidents" if short == "incidents" else "records")
            )
            assert set(re.findall(r"match_phrase:\(([^:]+):", one)) <= fields
            found.add(short)
    assert found == {"funnel", "graph", "incidents", "logs"}


def test_the_range_of_a_link_to_a_log_is_that_of_the_work_not_of_the_business_day() -> None:
    desk = made_desk(KIBANA, incidents=[card()])
    name_a_model(desk)
    for path, first, last in (
        (incident_path(EPISODE), DAY, NEXT),
        (leaves_path(DAY), NEXT, NEXT + timedelta(days=1)),
    ):
        one = next(one for one in kibana_links(desk, path) if "shop-test-logs" in one)
        assert f"from:'{first}T00:00:00.000Z',to:'{last}T23:59:59.999Z'" in one
        assert f"funnelgate.date:'{DAY}'" in one


def name_a_model(desk: Desk) -> None:
    """Book a leaf with something to unfold, made on the day after its own and booked on the next."""
    begun = datetime(NEXT.year, NEXT.month, NEXT.day, 3, tzinfo=UTC)
    with desk.store.begin() as work:
        work.put_record(
            make_record(
                "quality",
                subinstance="0003",
                versions={"model": "m"},
                started_at=begun,
                finished_at=begun,
                reported_at=begun + timedelta(days=1),
            )
        )


def kibana_links(desk: Desk, path: str) -> list[str]:
    """Return where a page leads to in Kibana; that of all records leaves out end tags, as HTML allows."""
    found = re.findall(r'href="([^"]*/app/dashboards[^"]*)"', html_of(desk, path))
    return [unquote(unescape(one)) for one in found]


def mapped(kind: str) -> set[str]:
    """Return the fields of an index, from its own template."""
    template = Path(reporting.__file__).parent / "elastic" / "templates" / f"{kind}.json"
    return set(json.loads(template.read_text())["template"]["mappings"]["properties"])


def test_the_latest_run_of_a_day_is_told_with_what_did_not_pass(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/books.db") as store:
        assert adapter.check_day(store, BROKEN_DAY) is None
        first = booked(store, NOW, [result("crop"), result("embed", Status.PASS)])
        told = CheckDay.model_validate(adapter.check_day(store, BROKEN_DAY))
        assert told.counts == {"fail": 1, "pass": 1}
        assert [(one.task, one.status) for one in told.lines] == [("crop", "fail")]
        book_unchanged(store, first, NOW + timedelta(hours=1))
        again = CheckDay.model_validate(adapter.check_day(store, BROKEN_DAY))
        assert (again.run_id, again.lines) == (told.run_id, told.lines), "a look that changed nothing keeps the verdict"
        assert again.as_of > told.as_of
        booked(store, NOW + timedelta(hours=2), [result("crop", Status.PASS)])
        assert CheckDay.model_validate(adapter.check_day(store, BROKEN_DAY)).lines == ()


def booked(store: SqlStore, at: datetime, results: list[Result]) -> Run:
    """Write a run with these results."""
    run = Run(run_id=f"run-{at:%H}", date=BROKEN_DAY, as_of=at, config_hash="rules-1", status=status_of(results),
              results=tuple(results), started_at=at)  # fmt: skip
    with store.begin() as work:
        write_run(work, run, at, act=False)
    return run


def test_only_web_addresses_become_links() -> None:
    links = (("Chat", "https://chat.example/x"), ("runbook", "javascript:alert(1)"))
    page = shown(made_desk(incidents=[card(links=links)]), incident_path(EPISODE))
    assert "https://chat.example/x" in page.links
    assert not any("javascript" in one for one in page.links)
    assert "javascript:alert(1)" in page.text


def test_the_list_has_each_incident_once_under_what_it_is() -> None:
    cards = [
        card(),
        card("aaaaaaaaaa-20261101T070000000000Z", cause=EPISODE, state="pending"),
        card("bbbbbbbbbb-20261101T070000000000Z", is_open=False, state="resolved"),
    ]
    page = shown(made_desk(incidents=cards), "incidents.html")
    assert {name: int(value) for name, value in page.facts.items()} == {
        "incidents.open": 1,
        "incidents.explained": 1,
        "incidents.ended": 1,
    }
    assert sorted(one for one in page.links if one.startswith("incident/")) == sorted(
        incident_path(one.episode) for one in cards
    )


def test_an_incident_of_any_name_has_its_page() -> None:
    odd = card("Ünï/../code", cause=EPISODE, members=(EPISODE,))
    page = shown(made_desk(incidents=[odd, card()]), incident_path(odd.episode))
    assert page.links.count(f"../{incident_path(EPISODE)}") == 2


def test_a_script_in_any_text_of_an_incident_is_text() -> None:
    full = card(
        impact=({"check": "c", "instance": "i", "task": "t", "severity": "page", "sentence": "s", "episode": "e"},),
        holds=("merge",), members=("m",), group={"category": "bags"}, owner="o", acknowledged="by ann",
        note="n", closed_by="b", storm="st", cause="ca", links=(("runbook", "text"), ("Chat", "https://c.example/")),
    )  # fmt: skip
    made = IncidentCard.model_validate(hostile(full.model_dump(), but=("episode",)))
    made = made.model_copy(update={"episode": EPISODE})
    html = html_of(made_desk(KIBANA, incidents=[made]), incident_path(EPISODE))
    assert "<script" not in html
    page = shown(made_desk(KIBANA, incidents=[made]), incident_path(EPISODE))
    assert page.text.count(SCRIPT) > 20
    assert "script" not in shown(made_desk(incidents=[made]), "incidents.html").tags
