"""Every page in a real browser: read on a phone, by keyboard, in the dark and on paper, and it asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.page.desk import Desk
from dashboards.page.static import write_site
from reporting.testing import make_record
from tests.benches import many_days
from tests.benches.many_days import chain, fill
from tests.dashboards.page import world
from tests.dashboards.page.browser import Browser, browser
from tests.dashboards.page.hostile import HostileSources
from tests.dashboards.page.no_sources import NoSources

pytestmark = [pytest.mark.slow, pytest.mark.chromium]
PHONE, DESK = 390, 1440
PAPER = 703
"""CSS pixels between the margins of A4."""
READABLE = 4.5
"""Contrast of text that WCAG 2.2 asks for (1.4.3, level AA)."""

UNFOLD = "document.querySelectorAll('details').forEach(one => one.open = true);"
UNSEEN = """[...document.querySelectorAll("[data-fact]")].filter(one => !one.textContent.trim()
  || !one.getClientRects().length || !one.checkVisibility({opacityProperty: true, visibilityProperty: true}))
  .map(one => one.dataset.fact)"""
# What is wider than the window and not within a part that scrolls by itself.
OVERFLOWING = """({scroll: document.documentElement.scrollWidth, window: document.documentElement.clientWidth,
  wide: [...document.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right
    > document.documentElement.clientWidth + 1 && !one.closest(".scroll, svg"))
    .map(one => one.outerHTML.slice(0, 120))})"""
# Colours are drawn on one pixel: whatever way they are written, what comes out is red, green, blue.
FAINT = """(() => {
  const pen = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true}), known = {};
  const rgba = text => known[text] ??= (pen.clearRect(0, 0, 1, 1), pen.fillStyle = text, pen.fillRect(0, 0, 1, 1),
    [...pen.getImageData(0, 0, 1, 1).data].map(x => x / 255));
  const over = (top, under, alpha) => [0, 1, 2].map(i => top[i] * alpha + under[i] * (1 - alpha));
  const light = colour => colour.slice(0, 3).map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [.2126, .7152, .0722][i], 0);
  const found = {};
  for (const one of document.querySelectorAll("body *:not(svg *)")) {
    const words = [...one.childNodes].filter(node => node.nodeType === 3).map(node => node.data.trim()).join("");
    if (!words || !one.getClientRects().length || one.closest(".hidden, .skip, summary::marker")) continue;
    let ground = rgba(getComputedStyle(document.body).backgroundColor), opacity = 1;
    const above = [];
    for (let up = one; up; up = up.parentElement) above.unshift(up);
    for (const up of above) {
      const style = getComputedStyle(up), colour = rgba(style.backgroundColor);
      ground = over(colour, ground, colour[3]);
      opacity *= parseFloat(style.opacity);
    }
    const text = over(rgba(getComputedStyle(one).color), ground, opacity);
    const [a, b] = [light(text), light(ground)];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    const name = [one, one.parentElement].map(part => part.tagName + "." + part.className).join(" in ");
    if (ratio < LEAST && !(found[name] < ratio)) found[name] = Math.round(100 * ratio) / 100;
  }
  return found;
})()"""
GROUND = """getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number)"""
# Where the keyboard is, and whether it shows: an outline, drawn around something that can be seen.
HERE = """(() => { const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  return {number: [...document.querySelectorAll("*")].indexOf(one), tag: one.tagName,
    name: one.outerHTML.slice(0, 120), shows: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
    && box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight}; })()"""
REACHABLE = """[...document.querySelectorAll("a[href], summary")].filter(one => one.getClientRects().length)
  .map(one => [...document.querySelectorAll("*")].indexOf(one))"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def folder(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of page, and with every kind of card; their texts are markup, and one long word each."""
    found = tmp_path_factory.mktemp("full")
    write_site(Desk(made.store, world.TOPOLOGY, HostileSources(), world.NOW, first=world.DAYS[-2]), found / "out")
    return found / "out"


@pytest.fixture(params=["plain", "hostile"])
def pages(request: pytest.FixtureRequest, made: Any, folder: Path) -> list[Path]:
    found = sorted((made.folder if request.param == "plain" else folder).rglob("*.html"))
    assert len(found) > 10
    return found


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix().split("/")[0] for path in folder.rglob("*.html")}


def test_every_kind_of_page_is_looked_at(folder: Path) -> None:
    assert names(folder) == {"index.html", "day", "days", "plans", "incidents.html", "incident", "gate.html",
                             "release.html", "eviction.html"}  # fmt: skip


def test_on_a_phone_nothing_moves_sideways_and_every_number_can_be_read(tab: Browser, pages: list[Path]) -> None:
    tab.look(PHONE)
    for page in pages:
        tab.open(page.as_uri())
        tab.ask(UNFOLD)
        found = tab.ask(OVERFLOWING)
        assert found["wide"] == [], page.name
        assert found["scroll"] <= found["window"], page.name
        assert tab.ask(UNSEEN) == [], page.name


def test_marks_far_out_in_a_wide_table_do_not_move_the_page_on_a_phone(tab: Browser, tmp_path: Path) -> None:
    """Words for screen readers are taken out of the flow: unless the table holds them, they widen the page itself."""
    graph = chain(30)
    with fill(tmp_path / "books.db", graph, categories=1, packages=1, days=4) as store:
        odd = make_record(graph.order[-1], date=many_days.DAY, planid=f"daily-{many_days.DAY}", attempt=2,
                          category="category-00", subinstance="0000", dropped={"bad": 9})  # fmt: skip
        with store.begin() as work:
            work.put_record(odd)
        write_site(Desk(store, graph, NoSources(), many_days.NOW), tmp_path / "out")
    tab.look(PHONE)
    tab.open((tmp_path / "out" / "index.html").as_uri())
    assert tab.ask("document.querySelectorAll('td.off .hidden').length") == 1
    found = tab.ask(OVERFLOWING)
    assert found["scroll"] <= found["window"]
    assert found["wide"] == []


def test_no_page_complains_or_asks_for_anything(tab: Browser, pages: list[Path]) -> None:
    tab.complaints.clear()
    tab.asked.clear()
    tab.look(DESK)
    for page in pages:
        tab.open(page.as_uri())
        tab.ask(UNFOLD)
    # Pictures whose address is markup are refused by the page's own policy before they leave the browser.
    assert [one for one in tab.complaints if "Loading the image" not in one] == []
    asked = [one for one in tab.asked if not one.startswith("data:") and "%3Cscript" not in one]
    assert asked == [page.as_uri() for page in pages]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_follow_the_readers_colours_and_every_word_stands_out(
    tab: Browser, pages: list[Path], dark: bool
) -> None:
    tab.look(DESK, dark=dark)
    for page in pages:
        tab.open(page.as_uri())
        tab.ask(UNFOLD)
        assert (sum(tab.ask(GROUND)) < 3 * 60) == dark, page.name
        assert tab.ask(FAINT.replace("LEAST", str(READABLE))) == {}, page.name


def test_on_paper_words_are_dark_on_white_and_nothing_is_cut_off(tab: Browser, pages: list[Path]) -> None:
    tab.look(DESK, dark=True, media="print")
    for page in pages:
        tab.open(page.as_uri())
        assert tab.ask(GROUND) == [255, 255, 255], page.name
        assert tab.ask(FAINT.replace("LEAST", str(READABLE))) == {}, page.name
        assert tab.ask("[...document.querySelectorAll('header nav')].every(one => !one.getClientRects().length)")
        # Folded parts are open on paper, and what scrolls on a screen does not hide anything.
        assert tab.ask(UNSEEN) == [], page.name
        cut = "[...document.querySelectorAll('.scroll')].filter(one => getComputedStyle(one).overflowX !== 'visible')"
        assert tab.ask(f"{cut}.length") == 0, page.name


def test_no_table_is_wider_than_a_sheet_of_paper(tab: Browser, pages: list[Path]) -> None:
    """Chromium shrinks a page that is too wide, to 80 % at most, and cuts the rest: a table of 20 tasks lost three."""
    tab.look(PAPER, media="print")
    for page in pages:
        tab.open(page.as_uri())
        found = tab.ask(OVERFLOWING)
        assert found["scroll"] <= PAPER / 0.8, page.name


@pytest.mark.parametrize("name", ["index.html", f"day/{world.NEWEST}.html", "gate.html", "incidents.html"])
def test_the_keyboard_reaches_every_link_and_shows_where_it_is(tab: Browser, folder: Path, name: str) -> None:
    tab.look(DESK)
    tab.open((folder / name).as_uri())
    wanted, reached = set(tab.ask(REACHABLE)), set()
    for _ in range(3 * len(wanted)):
        tab.press("Tab", 9)
        here = tab.ask(HERE)
        if here["number"] in reached or here["tag"] == "BODY":
            break
        assert here["shows"], here["name"]
        reached.add(here["number"])
    assert wanted - reached == set()
