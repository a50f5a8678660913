"""The pages as files: every text is text, every link leads somewhere, and nothing is asked of the network."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from dashboards.page.desk import Desk
from dashboards.page.static import LIST, write_site
from reporting.record import State, TaskFailure
from reporting.stores.sql import SqlStore
from reporting.testing import make_record
from tests.dashboards.page import world
from tests.dashboards.page.hostile import SCRIPT, HostileSources
from tests.dashboards.page.markup import Markup


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of a store and of sources whose every free text is markup."""
    folder = tmp_path_factory.mktemp("hostile")
    with SqlStore.open(f"sqlite:///{folder / 'books.db'}", ships=False) as store:
        day = world.NEWEST
        plan = world.daily(day, reason=SCRIPT, code_version=SCRIPT, config_hash=SCRIPT, supersedes=SCRIPT)
        found = world.records(day, plan.planid, seed=1)
        broken = make_record("split", date=day, planid=plan.planid, category="hats", subinstance="0002",
                             input=9, failed={SCRIPT: 2}, versions={SCRIPT: SCRIPT}, metrics={SCRIPT: 1.0},
                             error=TaskFailure(error_class=SCRIPT, message=SCRIPT))  # fmt: skip
        assert broken.state is State.FAILED
        world.put(store, plan, [one for one in found if one.key != broken.key] + [broken])
        write_site(Desk(store, world.TOPOLOGY, HostileSources(), world.NOW), folder / "out")
    return folder / "out"


def pages(folder: Path) -> dict[str, Markup]:
    return {
        path.relative_to(folder).as_posix(): Markup(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")
    }


def test_markup_in_any_text_renders_as_text(hostile):
    for path, page in pages(hostile).items():
        assert not {"script", "img", "iframe", "object", "form"} & (set(page.tags) - {"img"}), path
        assert not [name for _, name, _ in page.attributes if name.startswith("on")], path
        pictures = [value for tag, name, value in page.attributes if tag == "img" and name == "src"]
        assert all(value.startswith("data:image/") or value == SCRIPT for value in pictures), path
    for path in ("index.html", "day/2026-10-26.html", "day/2026-10-26-leaves.html"):
        assert SCRIPT in pages(hostile)[path].text, path


def test_no_link_leads_to_a_script(hostile):
    for path, page in pages(hostile).items():
        schemes = {urlsplit(link).scheme for link in page.links}
        assert schemes <= {"", "https"}, path


def test_every_link_leads_to_a_page_and_a_place_in_it(made):
    found = pages(made.folder)
    checked = 0
    for path, page in found.items():
        for link in page.links:
            parts = urlsplit(link)
            assert not parts.scheme, f"{path}: {link}"
            target = path if not parts.path else (made.folder / path).parent.joinpath(unquote(parts.path)).resolve()
            name = target if isinstance(target, str) else target.relative_to(made.folder.resolve()).as_posix()
            assert name in found, f"{path}: {link}"
            if parts.fragment:
                assert parts.fragment in found[name].ids, f"{path}: {link}"
            checked += 1
    assert checked > 200


def test_no_id_stands_twice_in_a_page(made, hostile):
    for folder in (made.folder, hostile):
        for path, page in pages(folder).items():
            assert len(page.ids) == len(set(page.ids)), path


def test_a_page_asks_nothing_of_the_network(made):
    for path in made.folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        page = Markup(text)
        loaded = [value for _, name, value in page.attributes if name in ("src", "srcset", "poster", "background")]
        loaded += [value for tag, name, value in page.attributes if tag == "link" and name == "href"]
        assert all(value.startswith("data:") for value in loaded), path
        assert not re.search(r"@import|url\((?!#)", text), path
        assert "default-src 'none'" in text, path


def test_a_page_can_be_read_aloud_and_by_keyboard(made):
    for path, page in pages(made.folder).items():
        assert ("html", "lang", "en") in page.attributes
        assert page.tags.count("h1") == 1, path
        assert page.tags.count("table") == page.tags.count("caption"), path
        assert "main" in page.ids
        assert any(tag == "a" and (name, value) == ("href", "#main") for tag, name, value in page.attributes)
        assert page.tags.count("svg") == sum(one == ("svg", "role", "img") for one in page.attributes), path


def test_a_second_run_writes_the_same_bytes_and_takes_away_what_is_not_asked_for(made, tmp_path):
    write_site(made.desk, tmp_path / "out")
    first = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.html")}
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    write_site(made.desk, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.html")} == first
    newest = Desk(made.store, world.TOPOLOGY, made.desk.sources, world.NOW, first=world.NEWEST)
    report = write_site(newest, tmp_path / "out")
    left = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.html")}
    assert "day/2026-10-26.html" in left
    assert "day/2026-10-25.html" not in left
    assert len(left) == report.pages
    assert (tmp_path / "out" / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_list_that_was_tampered_with_takes_nothing_away_outside(made, tmp_path):
    (tmp_path / "precious.html").write_text("mine", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LIST).write_text('["../precious.html", "index.html", 7]', encoding="utf-8")
    write_site(made.desk, tmp_path / "out")
    assert (tmp_path / "precious.html").exists()
