"""Where people open the pages: what leads there from a gate's report and from a notice, and what does where none is."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from pydantic import ValidationError

import checks.sinks.opening
import funnelgate
from checks.sinks.message import addresses
from dashboards.page.links import address_from, incident_path, verdict_path
from dashboards.web.settings import WebSettings
from tests.checks.sinks.notice_factory import make_incident

EPISODE = "9241236bc8-20261123T164225802371Z"


def context(folder: Path, web: str, links: str = "{}") -> funnelgate.Context:
    (folder / "funnelgate.yaml").write_text(f"web: {web}\nchecks: {{links: {links}}}\n")
    return funnelgate.Context(folder / "funnelgate.yaml")


@pytest.mark.parametrize("home", ["page", "./the page/", "../elsewhere/pa ge"])
def test_a_report_in_the_lake_leads_to_a_folder_of_pages_wherever_both_lie(tmp_path: Path, home: str) -> None:
    project = tmp_path / "project"
    report = project / "lake" / "evaluate" / "2026-11-01" / "a b"
    report.mkdir(parents=True)
    found = context(project, f"{{address: {home}}}").page_address(report, verdict_path("verdict-a b-2026-11-01"))
    assert found is not None
    path, _, fragment = found.partition("#")
    assert not re.search(r"[ <>]", found)
    assert (report / unquote(path)).resolve() == (project / home / "gate.html").resolve()
    assert fragment == "verdict-a%20b-2026-11-01"  # as the page itself writes it: it is quoted in its id, too


@pytest.mark.parametrize("beside", [None, Path("/lake/evaluate")])
def test_an_address_is_the_same_from_everywhere(tmp_path: Path, beside: Path | None) -> None:
    root = context(tmp_path, "{address: 'https://pages.example/x/'}")
    assert root.page_address(beside, "gate.html#v") == "https://pages.example/x/gate.html#v"


def test_nothing_leads_anywhere_where_nothing_is_known() -> None:
    assert address_from(Path("/lake"), None, Path("/project"), "gate.html") is None
    assert address_from(None, "page", Path("/project"), "gate.html") is None, "a lake reached by URL"


@pytest.mark.parametrize("text", ["ftp://pages.example", "https://pages.example/{episode}", "page?x", "page#x"])
def test_what_cannot_be_the_address_of_all_pages_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=r"must begin with https://|without any of"):
        WebSettings(address=text)


@pytest.mark.parametrize(
    ("web", "links", "expected"),
    [
        ("{}", "{}", {}),
        ("{address: page}", "{}", {}),  # who reads a notice has no such folder
        ("{address: 'https://p.example/'}", "{}", {"page": f"https://p.example/{incident_path(EPISODE)}"}),
        ("{address: 'https://p.example'}", "{page: 'https://own.example/{episode}', k: 'https://k.example'}",
         {"page": f"https://own.example/{EPISODE}", "k": "https://k.example"}),
    ],
)  # fmt: skip
def test_a_notice_leads_to_the_page_of_its_incident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: str, links: str, expected: dict[str, str]
) -> None:
    given: list[dict[str, str]] = []

    def hear(_sinks: object, _folder: object, _environ: object, links: dict[str, str]) -> list[object]:
        given.append(links)
        return []

    monkeypatch.setattr(checks.sinks.opening, "open_sinks", hear)
    context(tmp_path, web, links).open_sinks()
    assert addresses(make_incident(episode=EPISODE), given[0]) == expected
