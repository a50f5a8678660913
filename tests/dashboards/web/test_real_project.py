"""A real project, with pictures, incidents and releases: what is served is what its folder of pages holds."""

from __future__ import annotations

import re

import pytest

import funnelgate
from dashboards.page.desk import Desk
from dashboards.page.static import write_site
from dashboards.shelf import Books, Shelf
from dashboards.web.app import make_app
from dashboards.web.settings import WebSettings
from tests.dashboards.metrics.told import parsed
from tests.dashboards.page import world
from tests.dashboards.page.markup import Markup
from tests.pipeline.conftest import copy_of, three_days
from tests.pipeline.http_server import client_of

__all__ = ["copy_of", "three_days"]

_LIVE_ONLY = re.compile(r'<nav class="contents" aria-label="Other days">.*?</nav>|</?a\b[^>]*>')


@pytest.mark.slow
def test_every_live_page_of_a_project_is_the_page_of_its_folder(three_days, copy_of, tmp_path, monkeypatch):
    project = copy_of(three_days)
    monkeypatch.chdir(project.folder)
    root = funnelgate.Context(None)
    books = Books(root.store, root.topology, root.page_sources())
    write_site(Desk(*books, world.NOW), tmp_path / "out")
    shelf = Shelf(lambda: books, lambda: world.NOW)
    with client_of(make_app(shelf, WebSettings())) as client:
        for file in (tmp_path / "out").rglob("*.html"):
            path, text = file.relative_to(tmp_path / "out").as_posix(), file.read_text(encoding="utf-8")
            found = client.get(path).text
            assert _LIVE_ONLY.sub("", found) == _LIVE_ONLY.sub("", text), path
            assert Markup(found).facts == Markup(text).facts, path
        samples = parsed(client.get("/metrics").text)
    readable = {labels: value for (name, labels), value in samples.items() if name == "funnelgate_part_readable"}
    assert set(readable.values()) == {1}
    assert samples["funnelgate_release_number", ()] >= 1
